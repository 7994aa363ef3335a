//! The runner: a temporary actor per job that owns the one task doing the work, and the end of that work.
//!
//! The work itself is `run`, on a blocking thread. The one thing easy to get wrong: however the work ends, a panic
//! included, the row must say so before the job leaves the board.
use super::board::{Flight, Halt};
use super::dispatcher::{Dispatcher, Look};
use super::handle::Shared;
use super::run::{self, Run, Stop};
use crate::db::StoreError;
use crate::db::jobs::{self, Ending, Job};
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Running, WrapFuture};
use std::sync::Arc;

/// Owns the task of one job.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    flight: Arc<Flight>,
    job: Arc<Job>,
}

impl Runner {
    pub(crate) fn new(shared: Arc<Shared>, flight: Arc<Flight>, job: Arc<Job>) -> Self {
        Self { shared, flight, job }
    }
}

impl Actor for Runner {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let (shared, flight, job) = (self.shared.clone(), self.flight.clone(), self.job.clone());
        let work = self.shared.tasks.spawn_on(drive(shared, flight, job), &self.shared.tokio);
        ctx.spawn(work.into_actor(self).map(|outcome, runner, ctx| {
            if let Err(lost) = outcome {
                log::error!("a job's task was lost job={} error={lost}", runner.flight.job);
            }
            ctx.stop();
        }));
    }

    /// The runtime shuts down, or the work is over: then halting it does nothing.
    fn stopping(&mut self, _: &mut Self::Context) -> Running {
        self.flight.halt(Halt::Shutdown);
        Running::Stop
    }
}

async fn drive(shared: Arc<Shared>, flight: Arc<Flight>, job: Arc<Job>) {
    let run = Run::new(shared.clone(), flight.clone(), job);
    let outcome = match tokio::task::spawn_blocking(move || run::execute(run)).await {
        Ok(outcome) => outcome,
        Err(lost) => Err(Stop::Failed(format!("internal error: {}", panic_text(lost)))),
    };
    settle(&shared, &flight, outcome).await;
    if let Some(dispatcher) = shared.runtime.lookup::<Dispatcher>("job-dispatcher")
        && let Err(error) = dispatcher.try_tell(Look)
    {
        log::debug!("a nudge to the job dispatcher was lost error={error}");
    }
}

/// Writes how a run ended, then takes it off the board. A published run has written that already.
pub(crate) async fn settle(shared: &Shared, flight: &Flight, outcome: Result<(), Stop>) {
    let ending = match outcome {
        Ok(()) | Err(Stop::Halted(Halt::Lost)) => None,
        Err(Stop::Halted(Halt::Cancel)) => Some(Ending::Cancelled),
        Err(Stop::Halted(Halt::Shutdown)) => Some(Ending::Requeued),
        Err(Stop::Failed(error)) => Some(Ending::Failed { error }),
        Err(Stop::NotHere(error)) => {
            shared.looks.lock().await.step_back();
            Some(Ending::GivenBack { error })
        }
    };
    if let Some(ending) = ending {
        let word = format!("{ending:?}");
        let written =
            run::patiently(shared, None, || jobs::finish(&shared.store, flight.job, flight.fence, ending.clone()));
        match written.await {
            Ok(done) => {
                log::info!("job ended job={} ending={word}", flight.job);
                if let Some(event) = done.event {
                    shared.realtime.publish(event);
                }
            }
            Err(StoreError::Fenced) => log::info!("job ended elsewhere job={}", flight.job),
            // The row still says that it runs: the next look takes it for abandoned and queues it again.
            Err(error) => log::error!("cannot write a job's end job={} ending={word} error={error}", flight.job),
        }
    }
    shared.board.remove(flight);
}

fn panic_text(lost: tokio::task::JoinError) -> String {
    if !lost.is_panic() {
        return "the run was dropped".into();
    }
    let payload = lost.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".into())
}
