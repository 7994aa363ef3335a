//! The dispatcher: an actor that decides when to look at the queue, and the look itself.
//!
//! The look runs on tokio, as it waits for the store; the actor only starts one at a time. The one thing easy to get
//! wrong: renewing, recovering and claiming must happen in one sequence, or a job claimed a moment ago looks abandoned; and
//! a lapsed lease says that somebody is dead only while the store could have been told otherwise.
use super::board::{Flight, Halt};
use super::handle::Shared;
use super::parts;
use super::runner::{self, Runner};
use crate::db::jobs::{self, Job, Lease};
use crate::db::{Status, StoreError};
use crate::protocol::ids::JobId;
use crate::runtime::{ChildSpec, Restart};
use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Look at the queue now.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Look;

/// Decides when to look.
pub(crate) struct Dispatcher {
    shared: Arc<Shared>,
    looking: bool,
    again: bool,
}

impl Dispatcher {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, looking: false, again: false }
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        // It does not stop itself: it would be started again until its restarts are used up, while a run takes its time to end.
        if self.shared.closing.is_cancelled() {
            return;
        }
        if self.looking {
            self.again = true;
            return;
        }
        self.looking = true;
        let shared = self.shared.clone();
        let look = self.shared.tasks.spawn_on(async move { look(&shared).await }, &self.shared.tokio);
        ctx.spawn(look.into_actor(self).map(|outcome, dispatcher, ctx| {
            dispatcher.looking = false;
            if let Err(lost) = outcome {
                log::error!("a look at the job queue was lost error={lost}");
            }
            if std::mem::take(&mut dispatcher.again) {
                dispatcher.look(ctx);
            }
        }));
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.look(ctx);
        ctx.run_interval(self.shared.limits.poll_interval, |dispatcher, ctx| {
            if !dispatcher.looking {
                dispatcher.look(ctx);
            }
        });
    }
}

impl Handler<Look> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: Look, ctx: &mut Self::Context) {
        self.look(ctx);
    }
}

/// What the looks of a process remember.
pub(crate) struct Looks {
    status: watch::Receiver<Status>,
    /// Since when the store has been ready, as far as the looks saw.
    ready: Option<Instant>,
    latest: Option<Instant>,
    renewed: Option<Instant>,
    /// Attempts of others' jobs that this process has helped with, the latest last.
    helped: VecDeque<(JobId, i64)>,
    helping: Option<JoinHandle<()>>,
    /// Until when others are given the chance to take a job that this process could not run.
    stepped_back: Option<Instant>,
}

impl Looks {
    pub(super) fn new(status: watch::Receiver<Status>) -> Self {
        Self {
            status,
            ready: None,
            latest: None,
            renewed: None,
            helped: VecDeque::new(),
            helping: None,
            stepped_back: None,
        }
    }

    /// Whether every process that lives has had the time to renew its leases: not when the store comes back from an outage
    /// or this process from a long sleep, for then all leases have lapsed and nobody is dead.
    fn settled(&mut self, lease: Duration) -> bool {
        let now = Instant::now();
        let slept = self.latest.replace(now).is_some_and(|latest| now - latest > lease);
        if slept || self.status.has_changed().unwrap_or(true) {
            self.ready = None;
        }
        if !self.status.borrow_and_update().is_ready() {
            self.ready = None;
            return false;
        }
        now - *self.ready.get_or_insert(now) >= SETTLED
    }

    /// Claims nothing for a while.
    pub(super) fn step_back(&mut self) {
        self.stepped_back = Some(Instant::now() + STEP_BACK);
    }

    fn claims(&self) -> bool {
        self.stepped_back.is_none_or(|until| until <= Instant::now())
    }
}

/// How long the store must have been ready until the leases of others say who is dead. Others are back within a second or
/// two of it (the supervisor's longest pause is 1 s), and renew at their first look.
const SETTLED: Duration = Duration::from_secs(4);
/// How long a process that could not run a job leaves the queue to others: they look at it several times meanwhile.
const STEP_BACK: Duration = Duration::from_secs(2);
/// Attempts that are remembered as helped with.
const REMEMBERED: usize = 64;

async fn look(shared: &Arc<Shared>) {
    // Busy when the dispatcher was restarted in mid-look: that look does the work of this one.
    let Ok(mut looks) = shared.looks.try_lock() else { return };
    let settled = looks.settled(shared.limits.lease);
    // First, and whatever comes of the rest: else others take what runs here.
    let alive = shared.board.all();
    said(shared, "renew leases", renew(shared, &mut looks, &alive).await);
    said(shared, "take abandoned jobs back", recover(shared, settled, &alive).await);
    if looks.claims() {
        said(shared, "claim a job", claim(shared).await);
        said(shared, "help with a job", help(shared, &mut looks).await);
    }
}

/// Logs what went wrong. That the store is away it says by itself, a moment later at times; the next look finds out whether it
/// is back.
fn said(shared: &Shared, what: &str, outcome: Result<(), StoreError>) {
    match outcome {
        Ok(()) => {}
        Err(StoreError::Unavailable { .. }) if !shared.store.status().borrow().is_ready() => {}
        Err(StoreError::Unavailable { reason, .. }) => log::warn!("the job dispatcher cannot {what} for now: {reason}"),
        Err(error) => log::error!("the job dispatcher cannot {what} error={error}"),
    }
}

async fn recover(shared: &Shared, settled: bool, alive: &[Arc<Flight>]) -> Result<(), StoreError> {
    let (store, owner) = (&shared.store, shared.store.process());
    let ids = alive.iter().map(|flight| flight.job).collect();
    // Nobody else can be alive on an exclusive store, whatever it went through.
    let others = settled || store.exclusive();
    for dead in jobs::abandoned(store, owner, ids, others).await? {
        let (job, attempt) = (dead.id, dead.attempt);
        match jobs::take_back(store, owner, dead).await {
            Ok(None) => {}
            Ok(Some(event)) => {
                log::warn!("an abandoned job was taken back job={job} attempt={attempt}");
                shared.realtime.publish(event);
            }
            // One job that cannot be taken back must not keep the others.
            Err(error) => said(shared, &format!("take job {job} back"), Err(error)),
        }
    }
    Ok(())
}

async fn claim(shared: &Arc<Shared>) -> Result<(), StoreError> {
    while shared.board.len() < shared.limits.max_running && !shared.draining.is_cancelled() {
        let claimed = jobs::claim_next(&shared.store, shared.store.process(), shared.limits.lease).await?;
        let Some(claimed) = claimed else { break };
        if let Some(event) = claimed.event {
            shared.realtime.publish(event);
        }
        launch(shared, claimed.value).await;
    }
    Ok(())
}

/// Helps another process's job when there is nothing else to do, one at a time and each attempt once.
async fn help(shared: &Arc<Shared>, looks: &mut Looks) -> Result<(), StoreError> {
    let idle = shared.board.len() == 0 && looks.helping.as_ref().is_none_or(JoinHandle::is_finished);
    if shared.store.exclusive() || shared.draining.is_cancelled() || !idle {
        return Ok(());
    }
    if let Some(job) = parts::wanting(shared, looks.helped.make_contiguous()).await? {
        looks.helped.push_back((job.id, job.attempt));
        if looks.helped.len() > REMEMBERED {
            looks.helped.pop_front();
        }
        log::info!("helping with a job job={} attempt={}", job.id, job.attempt);
        looks.helping = Some(shared.tasks.spawn_on(parts::help(shared.clone(), job), &shared.tokio));
    }
    Ok(())
}

/// Keeps the leases, and learns which jobs are to stop: cancelled or deleted through another process or another door.
/// Leases are lengthened three times in their length; the question costs a read at every look.
async fn renew(shared: &Shared, looks: &mut Looks, alive: &[Arc<Flight>]) -> Result<(), StoreError> {
    if alive.is_empty() {
        return Ok(());
    }
    let (store, lease) = (&shared.store, shared.limits.lease);
    let held = alive.iter().map(|flight| (flight.job, flight.fence)).collect();
    let asked = Instant::now();
    let leases = if looks.renewed.is_some_and(|renewed| asked - renewed < lease / 3) {
        jobs::leases(store, held).await?
    } else {
        let leases = jobs::renew(store, store.process(), held, lease).await?;
        looks.renewed = Some(asked);
        leases
    };
    for (id, fence, lease) in leases {
        let own = |flight: &&Arc<Flight>| (flight.job, flight.fence) == (id, fence);
        let Some(flight) = alive.iter().find(own) else { continue };
        match lease {
            Lease::Held => {}
            Lease::CancelRequested => flight.halt(Halt::Cancel),
            Lease::PauseRequested => flight.halt(Halt::Pause),
            // A run that just ended looks lost too; halting what has ended does nothing.
            Lease::Lost => flight.halt(Halt::Lost),
        }
    }
    Ok(())
}

/// The dispatcher's name in the runtime.
pub(super) const DISPATCHER: &str = "job-dispatcher";

/// Puts a claimed job on the board and starts its runner.
async fn launch(shared: &Arc<Shared>, job: Job) {
    let flight = Arc::new(Flight::new(job.id, job.attempt));
    shared.board.add(flight.clone());
    log::info!("job started job={} project={} attempt={}", job.id, job.project_id, job.attempt);
    let name = format!("job-{}-{}", job.id, job.attempt);
    let (own, own_flight, job) = (shared.clone(), flight.clone(), Arc::new(job));
    let factory = move |_: &mut Context<Runner>| Runner::new(own.clone(), own_flight.clone(), job.clone());
    let started = shared.runtime.supervise(ChildSpec::new(name, factory).restart(Restart::Temporary)).await;
    if let Err(error) = started {
        log::error!("cannot start a job's runner job={} error={error}", flight.job);
        flight.halt(Halt::Shutdown);
        runner::settle(shared, &flight, Err(super::run::Stop::Halted(Halt::Shutdown))).await;
        shared.board.remove(&flight);
    }
}
