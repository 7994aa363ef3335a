//! What the jobs' tests share: a store, the actors and two uploaded files, without HTTP.
use crate::store_support::{DEADLINE, TestStore, new_source};
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;
use tieout::actors::hub::{Mode, Options, Realtime};
use tieout::actors::jobs::{Jobs, Limits, MADE_BY};
use tieout::db::jobs::{self, Job, JobState, NewJob};
use tieout::db::results::{self, ResultItem, ResultStatus};
use tieout::db::{projects, sources};
use tieout::protocol::ids::{JobId, ProjectId, SourceId};
use tieout::reconcile::{ReadOptions, infer_rules, profile};
use tieout::runtime::Runtime;

/// A store with job actors over it.
pub(crate) struct TestJobs {
    pub kept: TestStore,
    pub runtime: Runtime,
    pub jobs: Jobs,
}

impl TestJobs {
    pub(crate) async fn new() -> Self {
        Self::over(TestStore::new().await).await
    }

    /// A process start on an existing store.
    pub(crate) async fn over(kept: TestStore) -> Self {
        Self::with(kept, Limits::default()).await
    }

    /// The same under these limits, but for the pause between looks.
    pub(crate) async fn with(kept: TestStore, limits: Limits) -> Self {
        let runtime = Runtime::builder().name("test").start().expect("threads");
        let realtime = Realtime::start(Mode::Off, &runtime, kept.store.clone(), Options::default()).await.expect("off");
        let limits = Limits { poll_interval: Duration::from_millis(50), ..limits };
        let jobs =
            Jobs::start(&runtime, kept.store.clone(), realtime, kept.dir.path(), limits).await.expect("a dispatcher");
        Self { kept, runtime, jobs }
    }

    /// Ends the process part; nothing may be left running.
    pub(crate) async fn stop(self) -> TestStore {
        assert!(self.jobs.stop(DEADLINE).await, "runners were left");
        let report = self.runtime.shutdown(DEADLINE).await;
        assert!(report.clean(), "{report:?}");
        self.kept
    }

    pub(crate) async fn wait(&self, id: JobId, what: &str, wanted: impl Fn(&Job) -> bool) -> Job {
        wait_job(&self.kept, id, what, wanted).await
    }
}

pub(crate) async fn wait_job(kept: &TestStore, id: JobId, what: &str, wanted: impl Fn(&Job) -> bool) -> Job {
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    let began = std::time::Instant::now();
    loop {
        tick.tick().await;
        let job = jobs::get(&kept.store, id).await.expect("the job is there");
        if wanted(&job) {
            return job;
        }
        assert!(began.elapsed() < DEADLINE * 6, "waited {:?} for the job to be {what}: {job:?}", began.elapsed());
        assert!(!job.state.is_terminal() || job.state == JobState::Completed, "ended instead of {what}: {job:?}");
    }
}

/// Stores a file as HTTP would.
pub(crate) async fn upload(kept: &TestStore, project: ProjectId, name: &str, content: &[u8]) -> SourceId {
    upload_as(kept, project, name, content, |_| ()).await
}

/// The same with another profile, as another version might have stored it.
pub(crate) async fn upload_as(
    kept: &TestStore,
    project: ProjectId,
    name: &str,
    content: &[u8],
    change: impl FnOnce(&mut Value),
) -> SourceId {
    let options = ReadOptions { name: name.into(), ..ReadOptions::default() };
    let seen = profile(content, &options).expect("a readable file");
    let mut columns = serde_json::to_value(&seen).expect("plain data");
    columns[sources::MADE_BY_KEY] = MADE_BY.into();
    change(&mut columns);
    let sha256 = tieout::uploads::Hashing::new(content).finish().expect("a slice can be read").sha256;
    let (filename, bytes) = (format!("{name}.csv"), content.len() as u64);
    let new = sources::NewSource { columns, filename, bytes, sha256, ..new_source(project, name) };
    let folder = kept.dir.path().join("uploads");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(new.id.to_string()), content).unwrap();
    sources::create(&kept.store, new).await.unwrap().value.source.id
}

/// Uploads two files and queues a job without rules of the user's, as HTTP would.
pub(crate) async fn queued(kept: &TestStore, left: &[u8], right: &[u8]) -> Job {
    let project = projects::create(&kept.store, "books").await.unwrap().value.id;
    let left_id = upload(kept, project, "left", left).await;
    let right_id = upload(kept, project, "right", right).await;
    queued_of(kept, project, (left_id, left), (right_id, right), |_| ()).await
}

/// Queues a job for two sources, which may be changed first.
pub(crate) async fn queued_of(
    kept: &TestStore,
    project: ProjectId,
    (left_id, left): (SourceId, &[u8]),
    (right_id, right): (SourceId, &[u8]),
    change: impl FnOnce(&mut NewJob),
) -> Job {
    let seen = |content: &[u8]| profile(content, &ReadOptions::default()).unwrap();
    let (left_seen, right_seen) = (seen(left), seen(right));
    let rules = infer_rules(&left_seen, &right_seen, left_seen.id_column(), right_seen.id_column());
    let mut new = NewJob {
        project_id: project,
        left: left_id,
        right: right_id,
        options: json!({"left_id": rules.left_id, "right_id": rules.right_id, "inferred": true}),
        rules: serde_json::to_value(&rules).unwrap(),
    };
    change(&mut new);
    let job = jobs::create(&kept.store, new).await.unwrap().value;
    jobs::enqueue(&kept.store, job.id).await.unwrap().value
}

/// All results of a job.
pub(crate) async fn all(kept: &TestStore, id: JobId) -> Vec<ResultItem> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = results::page(&kept.store, id, ResultStatus::All, after.as_deref(), 500).await.unwrap();
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            return items;
        }
    }
}

/// Two files whose rows agree but for one missing on either side.
pub(crate) fn files(rows: u32) -> (Vec<u8>, Vec<u8>) {
    let side = |prefix: &str, missing: u32| {
        let mut text = "id,date,amount,reference,name\n".to_owned();
        for row in (0..rows).filter(|row| *row != missing) {
            let (day, month) = (1 + row % 28, 1 + row / 28 % 12);
            let cents = u64::from(row) * 7_919 % 100_000;
            writeln!(
                text,
                "{prefix}{row},2025-{month:02}-{day:02},{}.{:02},INV-{:06},Customer {}",
                100 + cents / 100,
                cents % 100,
                u64::from(row) * 104_729 % 1_000_003,
                row * 31 % 977
            )
            .unwrap();
        }
        text.into_bytes()
    };
    (side("L", 3), side("R", 5))
}
