//! The handle on jobs: start, nudge, pause, cancel, ask for progress, stop.
//!
//! It leaves rows to `db::jobs`: whoever changes one nudges here afterwards. The one thing easy to get wrong:
//! stopping must come before the store is stopped, since runners put their jobs back into the queue.
use super::board::{Board, Halt, JobProgress};
use super::dispatcher::{DISPATCHER, Dispatcher, Look, Looks};
use crate::actors::hub::Realtime;
use crate::db::Store;
use crate::protocol::ids::JobId;
use crate::reconcile::ReadLimits;
use crate::runtime::{Addr, ChildSpec, Mailbox, OnExhausted, Overflow, Runtime, StartError};
use crate::uploads::Folder;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Bounds of job running.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Jobs running at once in this process; each uses every core. Default 1.
    pub max_running: usize,
    /// How often the queue is looked at without a nudge. Default 500 ms.
    pub poll_interval: Duration,
    /// How long a claim holds without renewal, on a store that several processes share; it is renewed three times in
    /// that time. Default 15 s.
    pub lease: Duration,
    /// How long a run waits for a store that is away before it gives up its attempt. Default 5 min.
    pub store_patience: Duration,
    /// Bounds of the files that are read.
    pub read: ReadLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_running: 1,
            poll_interval: Duration::from_millis(500),
            lease: Duration::from_secs(15),
            store_patience: Duration::from_secs(300),
            read: ReadLimits::default(),
        }
    }
}

/// Why jobs could not be started.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// Database futures and CPU work need a tokio runtime; start from inside one.
    #[error("jobs must be started from inside a tokio runtime")]
    NoRuntime,
    /// The dispatcher did not start.
    #[error("cannot start the job dispatcher: {0}")]
    Dispatcher(#[from] StartError),
}

/// Nudges that may wait; past it a nudge is dropped, as a waiting one does its work.
const MAX_NUDGES: usize = 4;

/// What the dispatcher, the runners and the handle share.
pub(crate) struct Shared {
    pub store: Store,
    pub realtime: Realtime,
    pub runtime: Runtime,
    pub uploads: Folder,
    pub limits: Limits,
    pub board: Board,
    /// Where database futures and blocking work run: never the arbiter thread.
    pub tokio: Handle,
    pub tasks: TaskTracker,
    pub closing: CancellationToken,
    /// Nothing more is claimed; what runs goes on.
    pub draining: CancellationToken,
    /// One look at the queue at a time, also across a restart of the dispatcher; and what the looks remember.
    pub looks: Mutex<Looks>,
}

/// The handle: cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct Jobs {
    shared: Arc<Shared>,
    dispatcher: Addr<Dispatcher>,
}

impl Jobs {
    /// Starts the dispatcher; jobs that a dead process left running go back to the queue as soon as the store is ready.
    ///
    /// # Errors
    /// [`JobsError`]; an absent store is not one.
    pub async fn start(
        runtime: &Runtime,
        store: Store,
        realtime: Realtime,
        data_dir: impl Into<PathBuf>,
        limits: Limits,
    ) -> Result<Self, JobsError> {
        let looks = Mutex::new(Looks::new(store.status()));
        let shared = Arc::new(Shared {
            store,
            realtime,
            runtime: runtime.clone(),
            uploads: Folder::of(&data_dir.into()),
            limits,
            board: Board::default(),
            tokio: Handle::try_current().map_err(|_| JobsError::NoRuntime)?,
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            draining: CancellationToken::new(),
            looks,
        });
        let own = shared.clone();
        let spec = ChildSpec::new(DISPATCHER, move |_| Dispatcher::new(own.clone()))
            .mailbox(Mailbox::bounded(MAX_NUDGES).overflow(Overflow::DropNewest))
            // Without it jobs stay queued for ever: better a process that ends, says why and is started again.
            .on_exhausted(OnExhausted::Escalate);
        let dispatcher = runtime.supervise(spec).await?;
        Ok(Self { shared, dispatcher })
    }

    /// Says that a job was queued. Losing it costs one poll interval.
    pub fn nudge(&self) {
        if let Err(error) = self.dispatcher.try_tell(Look) {
            log::debug!("a nudge to the job dispatcher was lost error={error}");
        }
    }

    /// Makes this attempt of a job stop within 200 ms; `false` when this process does not run it. The row's state is the
    /// business of `db::jobs::request_cancel`, called before, whose answer has the attempt: a wish that comes late must not
    /// meet the next one.
    pub fn cancel(&self, job: JobId, attempt: i64) -> bool {
        self.halt(job, attempt, Halt::Cancel)
    }

    /// The same for a job that is to stand still, after `db::jobs::request_pause`.
    pub fn pause(&self, job: JobId, attempt: i64) -> bool {
        self.halt(job, attempt, Halt::Pause)
    }

    fn halt(&self, job: JobId, attempt: i64, why: Halt) -> bool {
        let flight = self.shared.board.attempt(job, attempt);
        if let Some(flight) = &flight {
            flight.halt(why);
        }
        flight.is_some()
    }

    /// How far a job is, while this process runs it.
    pub fn progress(&self, job: JobId) -> Option<JobProgress> {
        self.shared.board.get(job).map(|flight| flight.progress())
    }

    /// Attempts at jobs that this process runs now.
    pub fn running(&self) -> usize {
        self.shared.board.len()
    }

    /// Leaves the queue to others from now on; running jobs go on and keep their leases until [`Jobs::stop`].
    pub fn claim_nothing(&self) {
        self.shared.draining.cancel();
    }

    /// Claims nothing more, puts running jobs back into the queue and waits for their runners; `false` when some
    /// were still busy after `within` (their jobs are requeued by the next start).
    pub async fn stop(&self, within: Duration) -> bool {
        self.shared.draining.cancel();
        self.shared.closing.cancel();
        for flight in self.shared.board.all() {
            flight.halt(Halt::Shutdown);
        }
        self.shared.tasks.close();
        let drained = tokio::time::timeout(within, self.shared.tasks.wait()).await.is_ok();
        if !drained {
            log::warn!("job runners were still busy at shutdown jobs={}", self.running());
        }
        drained
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("running", &self.running()).finish_non_exhaustive()
    }
}
