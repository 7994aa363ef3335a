//! The dispatcher: an actor that decides when to look at the queue, and the look itself.
//!
//! The look runs on tokio, as it waits for the store; the actor only starts one at a time. The one thing easy to get
//! wrong: recovering, claiming and renewing must happen in one sequence, or a job claimed a moment ago looks abandoned.
use super::board::{Flight, Halt};
use super::handle::Shared;
use super::runner::{self, Runner};
use crate::db::StoreError;
use crate::db::jobs::{self, Job, Lease};
use crate::runtime::{ChildSpec, Restart};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use std::sync::Arc;

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
        if self.shared.closing.is_cancelled() {
            ctx.stop();
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

async fn look(shared: &Arc<Shared>) {
    // Busy when the dispatcher was restarted in mid-look: that look does the work of this one.
    let Ok(_turn) = shared.looking.try_acquire() else { return };
    match look_once(shared).await {
        Ok(()) => {}
        // The store says by itself that it is away; the next poll finds out whether it is back.
        Err(StoreError::Unavailable { .. }) => {}
        Err(error) => log::error!("cannot look at the job queue error={error}"),
    }
}

async fn look_once(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let alive = shared.board.all();
    let ids = alive.iter().map(|flight| flight.job).collect();
    for event in jobs::recover_abandoned(&shared.store, &shared.owner, ids).await? {
        log::warn!("an abandoned job was taken back project={} offset={}", event.project_id, event.off);
        shared.realtime.publish(event);
    }
    renew(shared, &alive).await?;
    while shared.board.len() < shared.limits.max_running && !shared.closing.is_cancelled() {
        let Some(claimed) = jobs::claim_next(&shared.store, &shared.owner, shared.limits.lease).await? else { break };
        if let Some(event) = claimed.event {
            shared.realtime.publish(event);
        }
        launch(shared, claimed.value).await;
    }
    Ok(())
}

/// Keeps the leases, and learns which jobs are to stop: cancelled or deleted through another process or another door.
async fn renew(shared: &Shared, alive: &[Arc<Flight>]) -> Result<(), StoreError> {
    if alive.is_empty() {
        return Ok(());
    }
    let held = alive.iter().map(|flight| (flight.job, flight.fence)).collect();
    for (id, lease) in jobs::renew(&shared.store, &shared.owner, held, shared.limits.lease).await? {
        let Some(flight) = alive.iter().find(|flight| flight.job == id) else { continue };
        match lease {
            Lease::Held => {}
            Lease::CancelRequested => flight.halt(Halt::Cancel),
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
    }
}
