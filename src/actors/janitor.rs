//! The janitor: an actor that has what nobody can see any more removed, a little at a time.
//!
//! Old events and idempotency keys, staged rows of dead attempts, rows of deleted projects, sources and jobs. It leaves SQL
//! to `db::sweep`, and files to `files`. The one thing easy to get wrong: the row of a deleted source goes after its file has
//! gone, or nobody knows any more that it was deleted.
mod files;

pub use files::{FileSweep, FileSweeper, Permission, UploadsState};

use crate::db::{Store, StoreError, events, publications, sweep};
use crate::runtime::{Addr, AskError, ChildSpec, Mailbox, Overflow, Runtime, StartError};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, ResponseActFuture, WrapFuture};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
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
    /// How long a file stays in the trash. Default 7 days.
    pub trash_age: Duration,
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
            trash_age: Duration::from_secs(7 * 24 * 3600),
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
    /// Files that went into the trash.
    pub files: usize,
    /// Files of the trash that went for good.
    pub trash: usize,
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
    uploads: watch::Receiver<UploadsState>,
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
        let (state, uploads) = watch::channel(UploadsState::Unchecked);
        let work = Arc::new(Work {
            store,
            data_dir: data_dir.into(),
            state,
            options,
            tokio: Handle::current(),
            tasks: tasks.clone(),
            closing: closing.clone(),
        });
        let first = work.clone();
        tasks.spawn(async move { first.look_once().await });
        let spec = ChildSpec::new("janitor", move |_| Sweeper { work: work.clone(), busy: false })
            // One waiting question is enough: they all ask the same.
            .mailbox(Mailbox::bounded(4).overflow(Overflow::Reject))
            .ask_timeout(Duration::from_secs(600));
        Ok(Self { addr: runtime.supervise(spec).await?, uploads, tasks, closing })
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

    /// Whether the folder of uploads is looked after, now and from now on.
    pub fn uploads(&self) -> watch::Receiver<UploadsState> {
        self.uploads.clone()
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
    data_dir: PathBuf,
    state: watch::Sender<UploadsState>,
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
                    let Swept { rows, events, files, trash } = swept;
                    log::info!("swept rows={rows} events={events} files={files} trash={trash}");
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
        let before = self.store.now_us();
        let files = FileSweeper::new(&self.store, &self.data_dir, &self.options, Permission::Few).sweep(before).await;
        // Rows of deleted sources wait for their files.
        let gone = if files.is_ok() { before } else { i64::MIN };
        while !self.closing.is_cancelled() {
            let went = sweep::batch_of(&self.store, batch, grace, gone).await?;
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
        let files = files?;
        (swept.files, swept.trash) = (files.moved, files.removed);
        self.say(files.state);
        Ok(swept)
    }

    /// Says at the start, rather than after the first interval, that the folder is another installation's.
    async fn look_once(&self) {
        let mut status = self.store.status();
        let ready = status.wait_for(crate::db::Status::is_ready);
        let Some(Ok(_)) = self.closing.run_until_cancelled(ready).await else { return };
        match FileSweeper::new(&self.store, &self.data_dir, &self.options, Permission::Look).look().await {
            Ok(state) => self.say(state),
            Err(error) => log::warn!("the folder of uploads cannot be looked at yet error={error}"),
        }
    }

    /// Publishes how it stands with the files, and logs a change.
    fn say(&self, state: UploadsState) {
        self.state.send_if_modified(|before| {
            if *before == state {
                return false;
            }
            match (&*before, &state) {
                (_, UploadsState::Held { reason }) => log::warn!("uploads are not swept reason={reason:?}"),
                (UploadsState::Held { .. }, _) => log::info!("uploads are swept again"),
                _ => {}
            }
            *before = state;
            true
        });
    }
}
