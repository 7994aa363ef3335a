//! What the store's tests share: a store in a private directory, and rows to begin with.
use crate::support::database_url;
use crate::support::postgres::connect;
use diesel::connection::SimpleConnection;
use diesel::{Connection, SqliteConnection};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tieout::db::{DurableEvent, Options, Status, Store, jobs, projects, sources};
use tieout::protocol::ids::{JobId, ProjectId, SourceId};

/// How long a condition may take before the test says what it waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A store in a directory of its own.
pub(crate) struct TestStore {
    pub store: Store,
    pub dir: tempfile::TempDir,
    url: Option<String>,
}

impl TestStore {
    /// A ready store on the engine that the tests are run on; its options may be changed first.
    pub(crate) async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = database_url();
        let options = match &url {
            Some(url) => Options::postgres(url.parse().expect("an address")),
            None => Options::sqlite(database(&dir)),
        };
        Self { url, ..Self::open(change(options), dir).await }
    }

    /// A ready store in a file, for what only a file can do.
    pub(crate) async fn sqlite(change: impl FnOnce(Options) -> Options) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let options = change(Options::sqlite(database(&dir)));
        Self::open(options, dir).await
    }

    /// A ready store on this PostgreSQL database, which others may share.
    pub(crate) async fn at(url: &str, change: impl FnOnce(Options) -> Options) -> Self {
        let options = change(Options::postgres(url.parse().expect("an address")));
        let opened = Self::open(options, tempfile::tempdir().expect("a temporary directory")).await;
        Self { url: Some(url.into()), ..opened }
    }

    async fn open(options: Options, dir: tempfile::TempDir) -> Self {
        let store = Store::start(options).expect("options are good");
        wait_status(&store, "ready", Status::is_ready).await;
        Self { store, dir, url: None }
    }

    /// Runs statements beside the store, as a process of another version might.
    pub(crate) async fn sql(&self, statements: &str) {
        match &self.url {
            Some(url) => {
                let (client, _task) = connect(url).await;
                client.batch_execute(statements).await.expect("the statements are good");
            }
            None => {
                let path = database(&self.dir);
                let mut file = SqliteConnection::establish(path.to_str().expect("a readable path")).expect("a file");
                file.batch_execute("PRAGMA busy_timeout = 5000").expect("a pragma");
                file.batch_execute(statements).expect("the statements are good");
            }
        }
    }

    pub(crate) async fn new() -> Self {
        Self::with(|options| options).await
    }

    /// Two sources of a new project.
    pub(crate) async fn project(&self) -> (ProjectId, SourceId, SourceId) {
        let project = projects::create(&self.store, "books").await.expect("a project").value.id;
        let mut ids = Vec::new();
        for name in ["bank", "ledger"] {
            let made = sources::create(&self.store, new_source(project, name)).await.expect("a source").value;
            ids.push(made.source.id);
        }
        (project, ids[0], ids[1])
    }

    /// A queued job of a new project.
    pub(crate) async fn queued_job(&self) -> jobs::Job {
        let (project, left, right) = self.project().await;
        self.queued_job_of(project, left, right).await
    }

    pub(crate) async fn queued_job_of(&self, project: ProjectId, left: SourceId, right: SourceId) -> jobs::Job {
        let job = jobs::create(&self.store, new_job(project, left, right)).await.expect("a job").value;
        jobs::enqueue(&self.store, job.id).await.expect("queued").value
    }
}

/// Takes back what looks abandoned, as a dispatcher does.
pub(crate) async fn recover(store: &Store, owner: &str, alive: Vec<JobId>) -> Vec<DurableEvent> {
    let mut events = Vec::new();
    for dead in jobs::abandoned(store, owner, alive, true).await.expect("the store answers") {
        events.extend(jobs::take_back(store, owner, dead).await.expect("the store answers"));
    }
    events
}

pub(crate) fn new_source(project_id: ProjectId, name: &str) -> sources::NewSource {
    sources::NewSource {
        id: SourceId::generate(),
        project_id,
        name: name.into(),
        filename: format!("{name}.csv"),
        format: "csv".into(),
        bytes: 10,
        sha256: format!("hash of {name}"),
        columns: serde_json::json!({"columns": [{"name": "id"}, {"name": "amount"}]}),
    }
}

pub(crate) fn new_job(project_id: ProjectId, left: SourceId, right: SourceId) -> jobs::NewJob {
    let options = serde_json::json!({"left_id": "id", "right_id": "id"});
    jobs::NewJob { project_id, left, right, rules: serde_json::json!({}), options }
}

/// Waits until the status is as `wanted` and returns it.
pub(crate) async fn wait_status(store: &Store, what: &str, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut status = store.status();
    let outcome = tokio::time::timeout(DEADLINE, status.wait_for(|now| wanted(now))).await;
    match outcome {
        Ok(Ok(found)) => found.clone(),
        _ => panic!("waited {DEADLINE:?} for the store to be {what}; it is {:?}", store.status().borrow().clone()),
    }
}

pub(crate) fn database(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("tieout.sqlite")
}

/// `tieout` with these words on a database, a file of `dir` or the one at `url`: its exit code and what it printed.
pub(crate) fn command(words: &[&str], dir: &Path, url: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tieout"))
        .args(words)
        .arg("--data-dir")
        .arg(dir)
        .env("TIEOUT_DATABASE_URL", url)
        .env("TIEOUT_LOG", "error")
        .output()
        .expect("the binary starts");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text.into_owned())
}
