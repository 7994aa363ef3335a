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
use std::time::Duration;

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
    let mut work = tokio::task::spawn_blocking(move || run::execute(run));
    let ended = tokio::select! {
        ended = &mut work => Some(ended),
        () = overdue(&flight) => None,
    };
    match ended {
        Some(ended) => settle(&shared, &flight, outcome(ended)).await,
        None => {
            let why = flight.halted().unwrap_or(Halt::Cancel);
            settle(&shared, &flight, Err(Stop::Halted(why))).await;
            // From here on the store refuses what it writes. Its place on the board and the memory it holds are free when it is
            // out, for until then it computes.
            if let Err(error) = work.await {
                log::error!("a job's work was lost after its end job={} error={error}", flight.job);
            }
        }
    }
    shared.board.remove(&flight);
    if let Some(dispatcher) = shared.runtime.lookup::<Dispatcher>("job-dispatcher")
        && let Err(error) = dispatcher.try_tell(Look)
    {
        log::debug!("a nudge to the job dispatcher was lost error={error}");
    }
}

/// How long a user's wish waits for the work to stop by itself: the promise is 200 ms until the row says so, and some steps
/// of the engine on large files take longer without a look at the flag.
const OVERDUE: Duration = Duration::from_millis(50);

/// Waits until the work should have stopped by a user's wish.
async fn overdue(flight: &Flight) {
    flight.stopping().await;
    match flight.halted() {
        Some(Halt::Cancel | Halt::Pause) => tokio::time::sleep(OVERDUE).await,
        // Nobody waits for these, and the next attempt must not begin beside the work of this one.
        _ => std::future::pending().await,
    }
}

fn outcome(ended: Result<Result<(), Stop>, tokio::task::JoinError>) -> Result<(), Stop> {
    ended.unwrap_or_else(|lost| Err(Stop::Failed(format!("internal error: {}", panic_text(lost)))))
}

/// Writes how a run ended; whoever calls takes it off the board. A published run has written that already.
pub(crate) async fn settle(shared: &Shared, flight: &Flight, outcome: Result<(), Stop>) {
    let ending = match outcome {
        Ok(()) | Err(Stop::Halted(Halt::Lost)) => None,
        Err(Stop::Halted(Halt::Cancel)) => Some(Ending::Cancelled),
        Err(Stop::Halted(Halt::Pause)) => Some(Ending::Paused),
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
}

fn panic_text(lost: tokio::task::JoinError) -> String {
    if !lost.is_panic() {
        return "the run was dropped".into();
    }
    let payload = lost.into_panic();
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a text".into())
}
