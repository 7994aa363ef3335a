//! The store's handle: options, status, start and stop.
//!
//! Starting returns at once and never touches the database: a supervisor task does, for as long as the store lives.
//! It leaves SQL to the file of each noun. The one thing easy to get wrong: never make a caller wait for a database
//! that is known to be away; it gets [`StoreError::Unavailable`] with the reason at once.
use super::clock::Clock;
use super::error::StoreError;
use super::migrate::{Extra, Plan, Wanted};
use super::pool::{BulkTurn, Checked, Db, Lane};
use super::postgres::{self, Address, BadAddress, Connector};
use super::sqlite::opener;
use super::trouble::Trouble;
use super::{meters, supervisor};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a stop waits for running calls: as long as one may wait for a lock, and a transaction is short otherwise.
const STOP_GRACE: Duration = Duration::from_secs(6);

/// Which engine, and where.
#[derive(Debug, Clone)]
pub enum Place {
    /// A file for this process alone; its directory is created when missing.
    Sqlite(PathBuf),
    /// A server that replicas share.
    Postgres(Box<Address>),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(address) => address.fmt(f),
        }
    }
}

/// Where the store is and its bounds.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which engine, and where.
    pub place: Place,
    /// Connections: on SQLite those for reading, beside the one for writing; default 4. On PostgreSQL those for all but
    /// rows in bulk, which have up to 4 more, and a probe; default 10.
    pub connections: u32,
    /// Time between probes of a healthy database. Default 1 s.
    pub probe_interval: Duration,
    /// How long PostgreSQL may work on one statement, migrations apart; past it [`StoreError::Unavailable`]. Default 20 s,
    /// less than a request may take, so that its answer can name the cause.
    pub statement_timeout: Duration,
    /// Bring an older schema up to date when opening; else an older one is a [`Status::MigrationFailed`]. Default yes.
    pub migrate: bool,
    /// Keep every other process from a SQLite file while this one has it. A command that only reads beside a server does not.
    /// Default yes.
    pub alone: bool,
    /// Jobs queued or running at once in the whole installation; past it [`StoreError::LimitExceeded`]. Default 100.
    pub open_jobs: u64,
    /// Sources of one project. Default 1,000.
    pub sources_per_project: u64,
    /// Jobs of one project, finished ones included. Default 10,000.
    pub jobs_per_project: u64,
    /// Projects of the installation. Default 10,000.
    pub projects: u64,
    pub(crate) extra_migrations: Vec<Extra>,
}

impl Options {
    /// The defaults on a SQLite file.
    pub fn sqlite(path: impl Into<PathBuf>) -> Self {
        Self {
            place: Place::Sqlite(path.into()),
            connections: 4,
            probe_interval: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(20),
            migrate: true,
            alone: true,
            open_jobs: 100,
            sources_per_project: 1_000,
            jobs_per_project: 10_000,
            projects: 10_000,
            extra_migrations: Vec::new(),
        }
    }

    /// The defaults on a PostgreSQL server.
    pub fn postgres(address: Address) -> Self {
        Self { place: Place::Postgres(Box::new(address)), connections: 10, ..Self::sqlite("") }
    }

    /// Adds a migration behind the embedded ones. For tests of what a failing or a future one does.
    #[doc(hidden)]
    pub fn with_extra_migration(mut self, name: &str, up: &str) -> Self {
        self.extra_migrations.push(Extra { name: name.into(), up: up.into() });
        self
    }

    pub(crate) fn plan(&self, wanted: Wanted) -> Plan {
        Plan { wanted, served: false, extra: self.extra_migrations.clone() }
    }

    /// What opens the database, for a process of this name.
    pub(crate) fn opener(&self, process: &str) -> Result<supervisor::Opener, StartError> {
        if self.connections == 0 {
            return Err(StartError::NoConnections);
        }
        Ok(match &self.place {
            Place::Sqlite(path) if path.file_name().is_none() => return Err(StartError::BadPath(path.clone())),
            Place::Sqlite(path) => {
                supervisor::Opener::Sqlite(opener::Opener::new(path.clone(), self.connections, self.alone))
            }
            Place::Postgres(address) => {
                let connector = Connector::new((**address).clone(), self.statement_timeout, process)?;
                supervisor::Opener::Postgres(Box::new(postgres::Opener::new(
                    connector,
                    self.connections,
                    self.statement_timeout,
                )))
            }
        })
    }
}

/// The options cannot work, whatever the database does.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The path is empty or names a directory root.
    #[error("{0:?} is not a database file name")]
    BadPath(PathBuf),
    /// The address of a PostgreSQL, or the root certificates that it names.
    #[error(transparent)]
    BadAddress(#[from] BadAddress),
    /// A pool needs a connection.
    #[error("the number of database connections must be at least 1")]
    NoConnections,
    /// The store's tasks live on a tokio runtime; start it from inside one.
    #[error("the store must be started from inside a tokio runtime")]
    NoRuntime,
}

/// What the store is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The first connection is being made.
    Connecting,
    /// Connected; the schema is being brought up to date.
    Migrating,
    /// Serving.
    Ready,
    /// Not serving; retried with backoff.
    Down {
        /// The cause, readable alone.
        reason: String,
    },
    /// The database is newer than the binary, or older and nobody may change it; looked at again with backoff.
    Mismatched {
        /// What is to be done, readable alone.
        reason: String,
    },
    /// A migration failed and was rolled back; retried with backoff.
    MigrationFailed {
        /// Its name.
        migration: String,
        /// The cause, readable alone.
        reason: String,
    },
    /// [`Store::stop`] was called.
    Stopped,
}

impl Status {
    /// Whether calls are served.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready)
    }

    /// Whether an attempt to open the database has failed.
    pub fn failed(&self) -> bool {
        matches!(self, Self::Down { .. } | Self::Mismatched { .. } | Self::MigrationFailed { .. })
    }

    /// Why calls are not served, in one sentence; `None` when they are.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Ready => None,
            Self::Connecting => Some("the database is being connected".into()),
            Self::Migrating => Some("the schema is being brought up to date".into()),
            Self::Down { reason } | Self::Mismatched { reason } => Some(reason.clone()),
            Self::MigrationFailed { migration, reason } => Some(format!("migration {migration} failed: {reason}")),
            Self::Stopped => Some("the store is stopped".into()),
        }
    }
}

/// The handle: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    options: Options,
    clock: Arc<Clock>,
    process: String,
    runtime: Handle,
    live: watch::Receiver<Option<Arc<Db>>>,
    status: watch::Receiver<Status>,
    suspect: Arc<Notify>,
    reopen: Arc<Notify>,
    trouble: Arc<Trouble>,
    tasks: TaskTracker,
    closing: CancellationToken,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Starts the supervisor and returns at once, whatever state the database is in.
    ///
    /// # Errors
    /// Only for options that can never work; an absent or broken database is a [`Status`].
    pub fn start(options: Options) -> Result<Self, StartError> {
        let process = uuid::Uuid::now_v7().to_string();
        let opener = options.opener(&process)?;
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        let (status_sender, status) = watch::channel(Status::Connecting);
        let (live_sender, live) = watch::channel(None);
        let (suspect, clock) = (Arc::new(Notify::new()), opener.clock());
        let (reopen, trouble) = (Arc::new(Notify::new()), Arc::new(Trouble::default()));
        let closing = CancellationToken::new();
        let supervisor = supervisor::Supervisor {
            opener,
            place: options.place.to_string(),
            plan: options.plan(if options.migrate { Wanted::Up } else { Wanted::Complete }),
            probe_interval: options.probe_interval,
            status: status_sender,
            live: live_sender,
            suspect: suspect.clone(),
            reopen: reopen.clone(),
            trouble: trouble.clone(),
            closing: closing.clone(),
            told: None,
        };
        let task = runtime.spawn(supervisor.run());
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                clock,
                process,
                runtime,
                live,
                status,
                suspect,
                reopen,
                trouble,
                tasks: TaskTracker::new(),
                closing,
                supervisor: Mutex::new(Some(task)),
            }),
        })
    }

    /// What the store is doing, now and from now on. Reading it costs no I/O.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.inner.status.clone()
    }

    /// Why no write works although calls are served, while that is so: a full disk, a missing right, damage. Costs no I/O.
    pub fn refuses_writes(&self) -> Option<String> {
        self.inner.trouble.reason()
    }

    /// Waits until calls are served; `false` when `within` passed first.
    pub async fn ready_within(&self, within: Duration) -> bool {
        let mut status = self.status();
        matches!(tokio::time::timeout(within, status.wait_for(Status::is_ready)).await, Ok(Ok(_)))
    }

    /// Refuses new calls, lets running transactions and migrations end, closes the database and releases the lock beside it.
    /// What a server has not answered after some seconds is given up; whether it was committed is then not known.
    pub async fn stop(&self) {
        self.stop_within(STOP_GRACE).await;
    }

    /// The same, with less time than usual for calls that are not answered.
    pub async fn stop_within(&self, grace: Duration) {
        let db = self.inner.live.borrow().clone();
        self.inner.tasks.close();
        self.inner.closing.cancel();
        if tokio::time::timeout(grace.min(STOP_GRACE), self.inner.tasks.wait()).await.is_err() {
            log::warn!("calls are given up: they were not answered after a stop calls={}", self.inner.tasks.len());
            if let Some(db) = db {
                db.close();
            }
            self.inner.tasks.wait().await;
        }
        let task = self.inner.supervisor.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(task) = task
            && let Err(lost) = task.await
        {
            log::error!("the store's supervisor was lost error={lost}");
        }
    }

    /// Gives up every call that waits for an answer, and opens the database anew.
    pub fn reopen(&self) {
        self.inner.reopen.notify_one();
    }

    /// The bounds it was started with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// This process start, as it shows in leases and in the list of connections that a server has.
    pub fn process(&self) -> &str {
        &self.inner.process
    }

    /// Whether no other process can be writing: then any lease that is not ours is a dead process's.
    pub(crate) fn exclusive(&self) -> bool {
        // A SQLite file is locked for one process.
        matches!(self.inner.options.place, Place::Sqlite(_))
    }

    /// The installation's time, microseconds since the epoch: on PostgreSQL the server's, once it was asked, also while it is
    /// away.
    pub fn now_us(&self) -> i64 {
        self.inner.clock.now_us()
    }

    /// A connection when it is the caller's turn; at once an error while the database is away.
    pub(crate) async fn checkout(&self, lane: Lane) -> Result<Checked, StoreError> {
        let db = self.live()?;
        self.while_live(db.checkout(lane)).await
    }

    /// As [`Store::checkout`], for rows in bulk.
    pub(crate) async fn checkout_bulk(&self) -> Result<BulkTurn, StoreError> {
        let db = self.live()?;
        self.while_live(db.checkout_bulk()).await
    }

    fn live(&self) -> Result<Arc<Db>, StoreError> {
        self.inner.live.borrow().clone().ok_or_else(|| self.why_not())
    }

    /// Waits for a connection only while there is a database to have one of.
    async fn while_live<T>(&self, turn: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let mut live = self.inner.live.clone();
        tokio::select! {
            taken = turn => taken,
            _ = live.wait_for(Option::is_none) => Err(self.why_not()),
        }
    }

    /// Waits for `call` until its database is `lost`: what hangs on a server that stopped answering is given up when the
    /// supervisor says that it is away. Whether a change that was given up was committed is not known.
    pub(crate) async fn unless_lost<T>(
        &self,
        lost: CancellationToken,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        tokio::select! {
            done = call => done,
            () = lost.cancelled() => Err(self.why_not()),
        }
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    /// Cancelled when the store is being stopped.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.inner.closing.clone()
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.inner.tasks.spawn_on(task, &self.inner.runtime)
    }

    pub(crate) fn trouble(&self) -> &Trouble {
        &self.inner.trouble
    }

    /// A call met an outage: probe now rather than at the next tick.
    pub(crate) fn suspect(&self) {
        self.inner.suspect.notify_one();
    }

    fn why_not(&self) -> StoreError {
        meters::refused("away");
        let reason = self.inner.status.borrow().reason();
        StoreError::unavailable(reason.unwrap_or_else(|| "the database was just lost".into()))
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("place", &self.inner.options.place).finish_non_exhaustive()
    }
}
