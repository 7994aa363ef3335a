//! The files of sources: none is lost to a wrong, an old or an empty database, and none is used that has changed.
//! Leaves backups to the outer door. Easy to get wrong: a test whose files are young proves nothing, for those never go.
use crate::jobs_support::{TestJobs, files, queued, upload, wait_job};
use crate::store_support::{DEADLINE, TestStore};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tieout::actors::janitor::{self, FileSweep, FileSweeper, Janitor, Permission, UploadsState};
use tieout::db::jobs::{self, Job, JobState};
use tieout::db::{projects, sources};
use tieout::protocol::ids::{JobId, SourceId};

/// A store with a folder of uploads, and no actor.
struct Files {
    kept: TestStore,
    options: janitor::Options,
}

impl Files {
    async fn new() -> Self {
        let kept = TestStore::new().await;
        fs::create_dir(kept.dir.path().join("uploads")).unwrap();
        Self { kept, options: janitor::Options::default() }
    }

    fn folder(&self) -> PathBuf {
        self.kept.dir.path().join("uploads")
    }

    /// Files as a database that is not here left them, two hours ago.
    fn strays(&self, count: usize) -> BTreeSet<String> {
        let names: BTreeSet<String> = (0..count).map(|_| SourceId::generate().to_string()).collect();
        names.iter().for_each(|name| old_file(&self.folder().join(name)));
        names
    }

    /// A source of this database with its file, uploaded two hours ago.
    async fn source(&self, name: &str) -> SourceId {
        let project = projects::create(&self.kept.store, name).await.unwrap().value.id;
        let id = upload(&self.kept, project, name, files(3).0.as_slice()).await;
        age(&self.folder().join(id.to_string()));
        id
    }

    async fn sweep(&self, permission: Permission) -> FileSweep {
        let (store, data) = (&self.kept.store, self.kept.dir.path());
        FileSweeper::new(store, data, &self.options, permission).sweep(store.now_us()).await.unwrap()
    }

    /// Names of uploads in the folder.
    fn there(&self) -> BTreeSet<String> {
        names(&self.folder())
    }

    /// Names of uploads in the trash of any day.
    fn trash(&self) -> BTreeSet<String> {
        let days = fs::read_dir(self.folder().join(".trash")).into_iter().flatten();
        days.flat_map(|day| names(&day.unwrap().path())).collect()
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

fn age(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(7_200);
    fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

fn old_file(path: &Path) {
    fs::write(path, "id,amount\n1,5\n").unwrap();
    age(path);
}

fn held(swept: &FileSweep) -> &str {
    match &swept.state {
        UploadsState::Held { reason } => reason,
        state => panic!("should be held and is {state:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_over_the_files_of_another_one_removes_none_and_says_so() {
    let files = Files::new().await;
    let before = files.strays(3);
    for permission in [Permission::Few, Permission::Few, Permission::All] {
        let swept = files.sweep(permission).await;
        assert!(held(&swept).contains("another installation") && held(&swept).contains("sweep --adopt"), "{swept:?}");
        assert_eq!((swept.moved, files.there()), (0, before.clone()), "{permission:?}");
    }
    // Sources of its own, however many, do not make the other files its own.
    for n in 0..5 {
        files.source(&format!("p{n}")).await;
        assert!(held(&files.sweep(Permission::Few).await).contains("another installation"));
    }
    // The database that knows them all is back.
    let project = projects::create(&files.kept.store, "again").await.unwrap().value.id;
    for (n, name) in before.iter().enumerate() {
        let new = crate::store_support::new_source(project, &n.to_string());
        sources::create(&files.kept.store, sources::NewSource { id: name.parse().unwrap(), ..new }).await.unwrap();
    }
    let swept = files.sweep(Permission::Few).await;
    assert_eq!((swept.state, swept.moved, files.there().len()), (UploadsState::Swept, 0, 8));
    files.kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_installations_over_one_folder_remove_nothing_of_each_other_until_one_adopts_it() {
    let (ours, theirs) = (Files::new().await, Files::new().await);
    fs::remove_dir(theirs.folder()).unwrap();
    let own = ours.source("books").await;
    assert_eq!(ours.sweep(Permission::Few).await.state, UploadsState::Swept);
    // What the second one sees under its own path is the first one's folder.
    fs::rename(ours.folder(), theirs.folder()).unwrap();
    let foreign = theirs.source("other books").await;
    assert!(held(&theirs.sweep(Permission::Few).await).contains("another installation"));
    fs::rename(theirs.folder(), ours.folder()).unwrap();
    let swept = ours.sweep(Permission::Few).await;
    assert!(held(&swept).contains("another installation"), "the first one learns of the second: {swept:?}");
    assert_eq!(ours.there(), BTreeSet::from([own.to_string(), foreign.to_string()]));
    let sweeper = FileSweeper::new(&ours.kept.store, ours.kept.dir.path(), &ours.options, Permission::Look);
    assert_eq!(sweeper.adopt().await.unwrap().len(), 1);
    assert_eq!(ours.sweep(Permission::Few).await.moved, 1);
    assert_eq!(ours.trash(), BTreeSet::from([foreign.to_string()]));
    ours.kept.store.stop().await;
    theirs.kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_files_at_once_go_only_when_somebody_has_confirmed_it() {
    let files = Files::new().await;
    let mut known = BTreeSet::new();
    for n in 0..12 {
        known.insert(files.source(&format!("p{n}")).await.to_string());
    }
    assert_eq!(files.sweep(Permission::Few).await.state, UploadsState::Swept);
    let strays = files.strays(11);
    let swept = files.sweep(Permission::Few).await;
    assert!(held(&swept).starts_with("11 of 23 files have no source"), "{swept:?}");
    assert_eq!((swept.moved, files.there().len()), (0, 23));
    let looked = files.sweep(Permission::Look).await;
    let listed: BTreeSet<String> = looked.strays.iter().map(ToString::to_string).collect();
    assert_eq!((looked.moved, &listed), (0, &strays));
    assert_eq!(files.sweep(Permission::All).await.moved, 11);
    assert_eq!((files.there(), files.trash()), (known, strays));
    assert_eq!(files.sweep(Permission::Few).await.state, UploadsState::Swept);
    files.kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_trash_is_put_back_when_its_source_is_there_again_and_goes_for_good_in_the_end() {
    let mut files = Files::new().await;
    files.source("books").await;
    files.sweep(Permission::Few).await;
    let stray = files.strays(1);
    assert_eq!(files.sweep(Permission::Few).await.moved, 1);
    assert_eq!(files.trash(), stray);
    // The database that knows it is back.
    let id: SourceId = stray.first().unwrap().parse().unwrap();
    let project = projects::create(&files.kept.store, "again").await.unwrap().value.id;
    let new = sources::NewSource { id, ..crate::store_support::new_source(project, "again") };
    sources::create(&files.kept.store, new).await.unwrap();
    assert_eq!(files.sweep(Permission::Few).await.put_back, 1);
    assert!(files.trash().is_empty() && files.there().contains(&id.to_string()));
    // Somebody deletes it: that is no riddle, and it goes through the trash too.
    sources::delete(&files.kept.store, id).await.unwrap();
    assert_eq!(files.sweep(Permission::Few).await.moved, 1);
    assert_eq!(
        (files.trash(), files.sweep(Permission::Few).await.removed),
        (stray.clone(), 0),
        "younger than trash_age"
    );
    files.options.trash_age = Duration::ZERO;
    assert_eq!(files.sweep(Permission::Few).await.removed, 1);
    assert!(files.trash().is_empty() && !files.there().contains(&id.to_string()));
    files.kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_files_with_a_name_of_ours_go_and_no_link_is_followed() {
    let files = Files::new().await;
    files.source("books").await;
    files.sweep(Permission::Few).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join(SourceId::generate().to_string());
    old_file(&target);
    let folder = files.folder();
    let kept =
        ["IMPORTANT-notes.txt".to_owned(), "half-written.part".into(), SourceId::generate().to_string().to_uppercase()];
    kept.iter().for_each(|name| old_file(&folder.join(name)));
    let link = SourceId::generate().to_string();
    std::os::unix::fs::symlink(&target, folder.join(&link)).unwrap();
    fs::create_dir(folder.join(SourceId::generate().to_string())).unwrap();
    let gone = [SourceId::generate().to_string(), format!("{}.part", SourceId::generate())];
    gone.iter().for_each(|name| old_file(&folder.join(name)));
    let before = files.there();
    assert_eq!(files.sweep(Permission::Few).await.moved, 2);
    assert_eq!(before.difference(&files.there()).cloned().collect::<BTreeSet<_>>(), BTreeSet::from(gone));
    assert!(target.exists() && folder.join(&link).is_symlink());
    // The folder itself is a link now.
    let moved = elsewhere.path().join("uploads");
    fs::rename(&folder, &moved).unwrap();
    std::os::unix::fs::symlink(&moved, &folder).unwrap();
    files.strays(1);
    let swept = files.sweep(Permission::All).await;
    assert!(held(&swept).contains("symbolic link"), "{swept:?}");
    assert_eq!(swept.moved, 0);
    files.kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_come_and_go_while_the_folder_is_listed_disturb_no_sweep() {
    let files = Files::new().await;
    files.source("books").await;
    let (folder, stop) = (files.folder(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let stopped = stop.clone();
    let busy = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            let part = folder.join(format!("{}.part", SourceId::generate()));
            fs::write(&part, "x").unwrap();
            fs::remove_file(&part).unwrap();
        }
    });
    for _ in 0..200 {
        assert_eq!(files.sweep(Permission::Few).await.state, UploadsState::Swept);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    busy.join().unwrap();
    files.kept.store.stop().await;
}

async fn ended(kept: &TestStore, id: JobId) -> Job {
    let deadline = tokio::time::Instant::now() + DEADLINE * 3;
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    loop {
        tick.tick().await;
        let job = jobs::get(&kept.store, id).await.unwrap();
        if job.state.is_terminal() {
            return job;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited for the job to end: {job:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_since_its_upload_fails_its_job_at_any_byte_and_its_true_bytes_repair_it() {
    let up = TestJobs::new().await;
    let (left, right) = files(50);
    let job = queued(&up.kept, &left, &right).await;
    let path = up.kept.dir.path().join("uploads").join(job.right_source_id.to_string());
    let digit = right.iter().rposition(u8::is_ascii_digit).unwrap();
    let flipped = |at: usize| {
        let mut bytes = right.clone();
        bytes[at] ^= 1;
        bytes
    };
    // A digit; the header, without whose column the rules make no sense; a quote that is never closed; the end.
    let quoted = {
        let mut bytes = right.clone();
        bytes[40] = b'"';
        bytes
    };
    let longer = [right.as_slice(), b"R9,2025-01-01,1.00,INV-1,X\n".as_slice()].concat();
    for changed in [flipped(digit), flipped(0), quoted, right[..right.len() - 3].to_vec(), longer, Vec::new()] {
        fs::write(&path, &changed).unwrap();
        if jobs::get(&up.kept.store, job.id).await.unwrap().state.is_terminal() {
            jobs::enqueue(&up.kept.store, job.id).await.unwrap();
        }
        up.jobs.nudge();
        let failed = ended(&up.kept, job.id).await;
        let error = failed.error.unwrap_or_else(|| panic!("{} bytes were taken: {:?}", changed.len(), failed.counts));
        assert!(error.contains("right.csv") && error.contains("is no longer the file that was uploaded"), "{error}");
    }
    assert_eq!(sources::get(&up.kept.store, job.right_source_id).await.unwrap().rows, None, "nothing of it was stored");
    fs::write(&path, &right).unwrap();
    jobs::enqueue(&up.kept.store, job.id).await.unwrap();
    up.jobs.nudge();
    let done = wait_job(&up.kept, job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!((done.error, done.counts.unwrap().discrepancy), (None, 0));
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_became_a_link_or_a_pipe_is_not_read() {
    let up = TestJobs::new().await;
    let (left, right) = files(50);
    let job = queued(&up.kept, &left, &right).await;
    let path = up.kept.dir.path().join("uploads").join(job.left_source_id.to_string());
    let secret = up.kept.dir.path().join("secret");
    fs::write(&secret, "root:x:0:0\n").unwrap();
    let pipe = up.kept.dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for round in 0..2 {
        fs::remove_file(&path).unwrap();
        if round == 0 {
            std::os::unix::fs::symlink(&secret, &path).unwrap();
        } else {
            fs::rename(&pipe, &path).unwrap();
            jobs::enqueue(&up.kept.store, job.id).await.unwrap();
        }
        up.jobs.nudge();
        let error = ended(&up.kept, job.id).await.error.unwrap();
        assert!(error.contains("is no longer the file that was uploaded") && !error.contains("root"), "{error}");
    }
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_janitor_publishes_why_it_holds_back() {
    let up = TestJobs::new().await;
    let folder = up.kept.dir.path().join("uploads");
    fs::create_dir(&folder).unwrap();
    old_file(&folder.join(SourceId::generate().to_string()));
    let options = janitor::Options::default();
    let janitor = Janitor::start(&up.runtime, up.kept.store.clone(), up.kept.dir.path(), options).await.unwrap();
    let state = janitor.uploads();
    assert_eq!(janitor.sweep().await.unwrap().files, 0);
    assert!(matches!(&*state.borrow(), UploadsState::Held { reason } if reason.contains("another installation")));
    janitor.stop().await;
    up.stop().await.store.stop().await;
}
