//! The janitor: an actor that has what nobody can see any more removed, a little at a time.
//!
//! Old events and idempotency keys, staged rows of dead attempts, rows of deleted projects, sources and jobs, files without a source. It
//! leaves SQL to `db::sweep`. The one thing easy to get wrong: an upload in progress has no row yet; only files older
//! than `grace` may be taken for orphans.
use crate::db::{Store, StoreError, events, publications, sources, sweep};
use crate::protocol::ids::SourceId;
use crate::runtime::{Addr, AskError, ChildSpec, Mailbox, Overflow, Runtime, StartError};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What is kept, and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// Pause between sweeps. Default 30 s.
    pub interval: Duration,
    /// Newest events kept per project. Default 100,000.
    pub events_per_project: u64,
    /// Events older than this go. Default 7 days.
    pub event_age: Duration,
    /// How long the answer to an `Idempotency-Key` is kept. Default 24 h.
    pub key_age: Duration,
    /// How long a deleted project's history stays readable, and how old a file without a source must be. Default 1 h.
    pub grace: Duration,
    /// Rows of one transaction: other writers wait for at most one batch. Default 1,000.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(30),
            events_per_project: 100_000,
            event_age: Duration::from_secs(7 * 24 * 3600),
            key_age: Duration::from_secs(24 * 3600),
            grace: Duration::from_secs(3600),
            batch: 1_000,
        }
    }
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows that nobody could see.
    pub rows: usize,
    /// Events past retention.
    pub events: usize,
    /// Files without a source.
    pub files: usize,
}

/// Why a sweep ended early; the next one goes on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SweepError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The upload directory could not be read or a file not be removed.
    #[error("{0}")]
    Files(String),
    /// The sweep's task is gone.
    #[error("the sweep was lost: {0}")]
    Lost(String),
}

/// Sweep now. Sweeps may overlap: each batch is a transaction of its own.
#[derive(Debug, Message)]
#[rtype(result = "Result<Swept, SweepError>")]
struct Sweep;

/// The handle on the janitor.
#[derive(Clone)]
pub struct Janitor {
    addr: Addr<Sweeper>,
    tasks: TaskTracker,
    closing: CancellationToken,
}

impl Janitor {
    /// Starts it; the first sweep comes one interval later.
    ///
    /// # Errors
    /// The actor could not start. Must be called from inside a tokio runtime.
    pub async fn start(
        runtime: &Runtime,
        store: Store,
        data_dir: impl Into<PathBuf>,
        options: Options,
    ) -> Result<Self, StartError> {
        let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
        let work = Arc::new(Work {
            store,
            uploads: data_dir.into().join("uploads"),
            options,
            tokio: Handle::current(),
            tasks: tasks.clone(),
            closing: closing.clone(),
        });
        let spec = ChildSpec::new("janitor", move |_| Sweeper { work: work.clone(), busy: false })
            // One waiting question is enough: they all ask the same.
            .mailbox(Mailbox::bounded(4).overflow(Overflow::Reject))
            .ask_timeout(Duration::from_secs(600));
        Ok(Self { addr: runtime.supervise(spec).await?, tasks, closing })
    }

    /// Sweeps now and says what went.
    ///
    /// # Errors
    /// [`SweepError`].
    pub async fn sweep(&self) -> Result<Swept, SweepError> {
        match self.addr.ask(Sweep).await {
            Ok(outcome) => outcome,
            Err(error) => Err(SweepError::Lost(lost(&error))),
        }
    }

    /// Ends after the batch that is under way, and waits for it; call it before the store is stopped.
    pub async fn stop(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn lost(error: &AskError<Sweep>) -> String {
    error.to_string()
}

struct Work {
    store: Store,
    uploads: PathBuf,
    options: Options,
    tokio: Handle,
    tasks: TaskTracker,
    closing: CancellationToken,
}

/// The actor: decides when, never touches the store or a file itself.
struct Sweeper {
    work: Arc<Work>,
    busy: bool,
}

impl Actor for Sweeper {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(self.work.options.interval, |sweeper, ctx| {
            if sweeper.busy || sweeper.work.closing.is_cancelled() {
                return;
            }
            let swept = sweeper.sweep().map(|outcome, sweeper, _| match outcome {
                Ok(swept) if swept != Swept::default() => {
                    log::info!("swept rows={} events={} files={}", swept.rows, swept.events, swept.files);
                }
                Ok(_) => {}
                // The store says by itself that it is away; one that is there and refuses says nothing.
                Err(SweepError::Store(error @ StoreError::Unavailable { .. })) => {
                    if sweeper.work.store.status().borrow().is_ready() {
                        log::warn!("a sweep ended early, the next one goes on error={error}");
                    }
                }
                Err(error) => log::error!("a sweep ended early error={error}"),
            });
            ctx.spawn(swept);
        });
    }
}

impl Sweeper {
    fn sweep(&mut self) -> ResponseActFuture<Self, Result<Swept, SweepError>> {
        self.busy = true;
        let work = self.work.clone();
        let task = self.work.tasks.spawn_on(async move { work.sweep().await }, &self.work.tokio);
        Box::pin(task.into_actor(self).map(|outcome, sweeper, _| {
            sweeper.busy = false;
            outcome.unwrap_or_else(|lost| Err(SweepError::Lost(lost.to_string())))
        }))
    }
}

impl Handler<Sweep> for Sweeper {
    type Result = ResponseActFuture<Self, Result<Swept, SweepError>>;

    fn handle(&mut self, _: Sweep, _: &mut Self::Context) -> Self::Result {
        self.sweep()
    }
}

impl Work {
    async fn sweep(&self) -> Result<Swept, SweepError> {
        let mut swept = Swept::default();
        let Options { batch, grace, events_per_project, event_age, key_age, .. } = self.options;
        while !self.closing.is_cancelled() {
            let went = sweep::batch(&self.store, batch, grace).await?;
            swept.rows += went;
            if went == 0 {
                break;
            }
        }
        while !self.closing.is_cancelled() {
            let went = events::trim(&self.store, events_per_project, event_age, batch).await?;
            swept.events += went;
            if went == 0 {
                break;
            }
        }
        while !self.closing.is_cancelled() {
            let went = publications::trim(&self.store, key_age, batch).await?;
            swept.rows += went;
            if went == 0 {
                break;
            }
        }
        swept.files = self.files().await?;
        Ok(swept)
    }

    /// Removes files that are old and have no source row.
    async fn files(&self) -> Result<usize, SweepError> {
        let failed = |error: std::io::Error| SweepError::Files(format!("{}: {error}", self.uploads.display()));
        let mut listing = match tokio::fs::read_dir(&self.uploads).await {
            Ok(listing) => listing,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed(error)),
        };
        // Files carry the time of this machine or of a file server, and either clock may be wrong: old is what is old by both.
        let store_now = SystemTime::UNIX_EPOCH + Duration::from_micros(self.store.now_us().unsigned_abs());
        let now = SystemTime::now().min(store_now);
        let newest = now.checked_sub(self.options.grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let mut removed = 0;
        let mut old = Vec::new();
        loop {
            let entry = listing.next_entry().await.map_err(failed)?;
            let more = entry.is_some();
            if let Some(entry) = entry {
                let metadata = entry.metadata().await.map_err(failed)?;
                if metadata.is_file() && metadata.modified().map_err(failed)? < newest {
                    old.push(entry.path());
                }
            }
            if old.len() >= self.options.batch || (!more && !old.is_empty()) {
                removed += self.orphans(std::mem::take(&mut old)).await?;
            }
            if !more || self.closing.is_cancelled() {
                return Ok(removed);
            }
        }
    }

    async fn orphans(&self, paths: Vec<PathBuf>) -> Result<usize, SweepError> {
        // A name that is no id is a half-written upload's; its writer gave up long ago.
        let id = |path: &PathBuf| path.file_name()?.to_str()?.parse::<SourceId>().ok();
        let ids = paths.iter().filter_map(id).collect();
        let unknown = sources::unknown(&self.store, ids).await?;
        let mut removed = 0;
        for path in paths {
            if id(&path).is_none_or(|id| unknown.contains(&id)) {
                match tokio::fs::remove_file(&path).await {
                    Ok(()) => removed += 1,
                    // Another sweep was faster.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => {
                        return Err(SweepError::Files(format!("cannot remove {}: {error}", path.display())));
                    }
                }
            }
        }
        Ok(removed)
    }
}
