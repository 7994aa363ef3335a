//! Runs an actor's instances one after another on its thread: decides by policy what the end of one means, pauses, starts
//! the next. One instance is in `incarnation`, what outlives it in `shared`. Easy to get wrong: a host that was fenced (its actor
//! moved) must leave without a trace; its successor owns queue and state.
use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, PoisonError, atomic::Ordering},
};

use actix::{Actor, Context};
use tokio::sync::oneshot;

use super::{
    error::{StartError, StopReason},
    home::{self, Home},
    incarnation::{End, Incarnation},
    policy::Verdict,
    shared::{Shared, Wish},
    spec::{OnExhausted, Restart},
    state::{Event, State},
};

/// Whoever awaits the first start.
pub(crate) type FirstStart = Option<oneshot::Sender<Result<(), StartError>>>;

/// Starts hosting on `home`.
pub(crate) fn launch<A: Actor<Context = Context<A>>>(
    shared: Arc<Shared<A>>,
    epoch: u64,
    home: &Arc<Home>,
    first: FirstStart,
) {
    let (shared2, home2) = (shared.clone(), home.clone());
    let sent = home.arbiter().spawn_fn(move || {
        actix_rt::spawn(host(shared2, epoch, home2, first));
    });
    if !sent {
        shared.finish(StopReason::ThreadLost);
    }
}

/// Ends the actor if its task is dropped, e.g. with its thread.
struct EndGuard<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    epoch: u64,
}

impl<A: Actor<Context = Context<A>>> Drop for EndGuard<A> {
    fn drop(&mut self) {
        if !self.shared.fenced(self.epoch) {
            self.shared.finish(StopReason::ThreadLost);
        }
    }
}

async fn host<A: Actor<Context = Context<A>>>(
    shared: Arc<Shared<A>>,
    epoch: u64,
    home: Arc<Home>,
    mut first: FirstStart,
) {
    let _guard = EndGuard { shared: shared.clone(), epoch };
    loop {
        let ready = Rc::new(Cell::new(false));
        let end = Incarnation {
            shared: shared.clone(),
            home: home.clone(),
            epoch,
            ready: ready.clone(),
            first: first.take(),
            live: None,
        }
        .await;
        let stopping = *shared.wish.borrow() != Wish::Live;
        let failure = match end {
            End::Fenced => return,
            End::FailedFirstStart(first, e) => {
                // The name is free before the caller hears of it.
                shared.finish(StopReason::StartFailed(e.to_string()));
                // Nobody listens any more when the start had timed out.
                let _ = first.send(Err(e));
                return;
            }
            End::Stopped if stopping => return shared.finish(StopReason::Requested),
            End::Panicked(info) if stopping || shared.policy.restart == Restart::Temporary => {
                return shared.finish(StopReason::Panicked(info));
            }
            End::Stopped if shared.policy.restart != Restart::Permanent => return shared.finish(StopReason::Finished),
            End::Stopped => "it stopped itself".to_owned(),
            End::Panicked(info) => info.to_string(),
        };
        if !pause(&shared, epoch, failure).await {
            return;
        }
    }
}

/// Waits out the backoff; false when the actor is not to be started again.
async fn pause<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>, epoch: u64, failure: String) -> bool {
    let (verdict, attempt) = {
        let mut ledger = shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        (ledger.failed(&shared.policy, tokio::time::Instant::now().into_std(), rand::random()), ledger.attempt())
    };
    let Verdict::RestartIn(retry_after) = verdict else {
        let (n, window) = (shared.policy.max_failures, shared.policy.window);
        shared
            .finish(StopReason::Exhausted(format!("more than {n} restarts in {window:?}; the last because {failure}")));
        shared.core.exhausted(&shared.name, shared.policy.on_exhausted);
        return false;
    };
    shared.restarts.fetch_add(1, Ordering::Relaxed);
    shared.set_state(State::Restarting { attempt, retry_after });
    shared.core.emit(&Event::Restarting { actor: shared.name.clone(), attempt, retry_after });
    let mut wish = shared.wish.subscribe();
    tokio::select! {
        () = tokio::time::sleep(retry_after) => !shared.fenced(epoch),
        _ = wish.wait_for(|w| *w != Wish::Live) => {
            if !shared.fenced(epoch) {
                shared.finish(StopReason::Requested);
            }
            false
        }
    }
}

/// What exhaustion means beyond the actor itself.
pub(crate) fn is_fatal(on_exhausted: OnExhausted) -> bool {
    on_exhausted == OnExhausted::StopProcess
}

/// Whether the caller runs inside the actor `id`'s own turn.
pub(crate) fn inside(id: u64) -> bool {
    home::current_actor() == id
}
