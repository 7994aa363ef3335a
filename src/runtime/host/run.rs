//! Runs an actor's instances one after another on its thread: decides by policy what the end of one means, pauses, starts
//! the next. One instance is in `incarnation`, what outlives it in `shared`, who else is restarted with it in `tree::node`. Easy to
//! get wrong: a host that was fenced (its actor moved) must leave without a trace; its successor owns queue and state.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, Context};
use tokio::time::Instant;

use crate::{
    handle::{
        error::{StartError, StopReason},
        event::{Event, RestartReason},
        spec::{OnExhausted, Restart},
        state::State,
    },
    host::{
        incarnation::{End, Fault, Incarnation},
        phase::{Life, Wish},
        shared::Shared,
    },
    sync::primitives::lock,
    thread::home::Home,
    tree::{node::Follow, policy::Verdict},
};

const RESTARTING: State = State::Restarting { attempt: 0, retry_after: Duration::ZERO };

/// Starts hosting on `home`; false when that has ended.
pub(crate) fn launch<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>, epoch: u64, home: &Arc<Home>) -> bool {
    let (shared, home2) = (shared.clone(), home.clone());
    home.arbiter().spawn_fn(move || {
        actix_rt::spawn(host(shared, epoch, home2));
    })
}

/// Ends the actor if its task is dropped, with its thread; unless that was lost, and the watchdog moves the actor to another.
struct EndGuard<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    home: Arc<Home>,
    epoch: u64,
}

impl<A: Actor<Context = Context<A>>> Drop for EndGuard<A> {
    fn drop(&mut self) {
        let moves = self.home.is_lost() && !std::thread::panicking();
        if !moves && !self.shared.fenced(self.epoch) {
            self.shared.finish(StopReason::ThreadLost);
        }
    }
}

async fn host<A: Actor<Context = Context<A>>>(shared: Arc<Shared<A>>, epoch: u64, home: Arc<Home>) {
    let _guard = EndGuard { shared: shared.clone(), home: home.clone(), epoch };
    while cleared(&shared, epoch).await {
        shared.replies.begin();
        shared.set_life(epoch, Life::Starting);
        let (fault, started) = match Incarnation::new(shared.clone(), home.clone(), epoch).await {
            End::Fenced => return,
            End::Held => {
                // It may have come up while it was told not to.
                shared.state.send_if_modified(|s| {
                    *s == State::Running && {
                        *s = RESTARTING;
                        true
                    }
                });
                continue;
            }
            End::Ended { fault, started } => (fault, started),
        };
        if !started && let Some(first) = shared.first(epoch) {
            let e = start_error(&shared, fault);
            // The name is free before the caller hears of it.
            shared.finish(StopReason::StartFailed(e.to_string()));
            // Nobody listens any more when the start had timed out.
            let _ = first.send(Err(e));
            return;
        }
        if !started {
            judge_snapshot(&shared);
        }
        let stopping = matches!(*shared.wish.borrow(), Wish::Drain | Wish::End);
        if let Some(why) = last(&shared, &fault, stopping) {
            return shared.finish(why);
        }
        let reason = match fault {
            _ if !started => RestartReason::StartFailed,
            Fault::Stopped => RestartReason::StoppedItself,
            Fault::Panicked(_) | Fault::StartTimedOut | Fault::Failed(_) => RestartReason::Panicked,
        };
        if !again(&shared, epoch, reason, &Arc::from(describe(&shared, fault))).await {
            return;
        }
    }
}

/// Waits while the group holds the actor; false when it is not to be started at all.
async fn cleared<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>, epoch: u64) -> bool {
    if *shared.wish.borrow() != Wish::Hold {
        return !shared.fenced(epoch);
    }
    // A failure stays to be seen until the group has answered it.
    if !matches!(*shared.life.borrow(), Life::Failed(_)) {
        shared.set_life(epoch, Life::Down);
    }
    let mut wish = shared.wish.subscribe();
    // The sender is in `shared`.
    let wish = wish.wait_for(|w| *w != Wish::Hold).await.map_or(Wish::End, |w| *w);
    if shared.fenced(epoch) {
        return false;
    }
    if wish != Wish::Live {
        shared.finish(StopReason::Requested);
    }
    wish == Wish::Live
}

/// Why this end is the last, if the policy or whoever stops it says so.
fn last<A: Actor<Context = Context<A>>>(shared: &Shared<A>, fault: &Fault, stopping: bool) -> Option<StopReason> {
    let restart = shared.policy.restart;
    match fault {
        Fault::Stopped if stopping => Some(StopReason::Requested),
        Fault::Stopped if restart != Restart::Permanent => Some(StopReason::Finished),
        Fault::Panicked(info) if stopping || restart == Restart::Temporary => Some(StopReason::Panicked(info.clone())),
        Fault::Failed(cause) if stopping || restart == Restart::Temporary => {
            Some(StopReason::StartFailed(cause.clone()))
        }
        Fault::StartTimedOut if stopping || restart == Restart::Temporary => {
            Some(StopReason::StartFailed(format!("it took longer than {:?}", shared.limits.start)))
        }
        _ => None,
    }
}

fn start_error<A: Actor<Context = Context<A>>>(shared: &Shared<A>, fault: Fault) -> StartError {
    let name = shared.name.clone();
    match fault {
        Fault::Panicked(info) => StartError::Panicked(info),
        Fault::Failed(cause) => StartError::Failed { name, cause },
        Fault::Stopped => StartError::StoppedItself(name),
        Fault::StartTimedOut => StartError::TimedOut { name, after: shared.limits.start },
    }
}

fn describe<A: Actor<Context = Context<A>>>(shared: &Shared<A>, fault: Fault) -> String {
    match fault {
        Fault::Stopped => format!("actor {} stopped itself", shared.name),
        Fault::Failed(cause) => format!("start of actor {} failed: {cause}", shared.name),
        Fault::Panicked(info) => info.to_string(),
        Fault::StartTimedOut => format!("start of actor {} took longer than {:?}", shared.name, shared.limits.start),
    }
}

/// A start failed: was it the snapshot's fault?
fn judge_snapshot<A: Actor<Context = Context<A>>>(shared: &Shared<A>) {
    if let Some(failed_starts) = shared.recovery().and_then(|r| r.start_failed(shared.policy.window)) {
        log::error!("an actor's snapshot is given up actor={} failed_starts={failed_starts}", shared.name);
        shared.core.emit(&Event::SnapshotDiscarded { actor: shared.name.clone(), failed_starts });
    }
}

/// After a failure: waits out the backoff, or leaves it to the group; false when the actor is not to be started again.
async fn again<A: Actor<Context = Context<A>>>(
    shared: &Arc<Shared<A>>,
    epoch: u64,
    reason: RestartReason,
    cause: &Arc<str>,
) -> bool {
    let (verdict, attempt) = {
        let mut ledger = lock(&shared.ledger);
        (ledger.failed(&shared.policy, Instant::now().into_std(), fastrand::f64()), ledger.attempt())
    };
    let Verdict::RestartIn(retry_after) = verdict else { return exhausted(shared, epoch, cause) };
    shared.restarts.fetch_add(1, Ordering::Relaxed);
    shared.set_restarting(attempt, retry_after);
    shared.core.emit(&Event::Restarting { actor: shared.name.clone(), reason, attempt, retry_after });
    if let Some(group) = &shared.parent
        && group.actor_failed(&**shared, epoch, cause) == Follow::Wait
    {
        return true;
    }
    shared.set_life(epoch, Life::Down);
    pause(shared, epoch, retry_after).await
}

async fn pause<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>, epoch: u64, retry_after: Duration) -> bool {
    let mut wish = shared.wish.subscribe();
    tokio::select! {
        () = tokio::time::sleep(retry_after) => return !shared.fenced(epoch),
        _ = wish.wait_for(|w| *w != Wish::Live) => {}
    }
    if shared.fenced(epoch) {
        return false;
    }
    let held = *shared.wish.borrow() == Wish::Hold;
    if !held {
        shared.finish(StopReason::Requested);
    }
    held
}

/// Its own intensity is used up; true when its group will have the last word.
fn exhausted<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>, epoch: u64, cause: &Arc<str>) -> bool {
    let (n, window) = (shared.policy.max_failures, shared.policy.window);
    let why: Arc<str> = format!("more than {n} restarts in {window:?}; the last because {cause}").into();
    let on_exhausted = shared.policy.on_exhausted;
    if let Some(group) = &shared.parent
        && on_exhausted == OnExhausted::Escalate
    {
        group.exhausted_by(&**shared, epoch, &why);
        return true;
    }
    shared.finish(StopReason::Exhausted(why.to_string()));
    shared.core.exhausted(&shared.name, on_exhausted, &why);
    false
}
