//! Drains the host's queue into the actor, from inside the actor's own task, so that every kind of actix handler works
//! unchanged. What happens when a handler panics is left to `host`. Easy to get wrong: after each message the context may
//! be waiting (`AtomicResponse`, `ctx.wait`) and must get no other.
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, ActorContext, ActorFuture, AsyncContext, Context};

use super::{
    envelope::Failure,
    home::Home,
    shared::{Next, Shared},
};

/// Messages handled per poll of the actor's task. Below tokio's coop budget of 128, which the actor's own timers and
/// streams share: a pump that spent it all would starve them.
const BATCH: usize = 32;

pub(crate) struct Pump<A: Actor<Context = Context<A>>> {
    pub(crate) shared: Arc<Shared<A>>,
    pub(crate) home: Arc<Home>,
    pub(crate) epoch: u64,
    /// Set on the first poll, which comes after `started()` and what it waits for.
    pub(crate) ready: std::rc::Rc<std::cell::Cell<bool>>,
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut Context<A>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &*self;
        if !this.ready.replace(true) {
            this.shared.set_running(this.shared.restarts.load(std::sync::atomic::Ordering::Relaxed));
        }
        for _ in 0..BATCH {
            if ctx.waiting() {
                // Polled again by the context when the wait is over.
                this.shared.pause(this.epoch);
                return Poll::Pending;
            }
            match this.shared.next(this.epoch, cx) {
                Next::Item(item) => {
                    let (times, now) = (item.times(), this.shared.core.now());
                    this.home.beat();
                    if times.expired(now) {
                        if item.fail(&Failure::Expired { ran_for: times.age(now) }) {
                            this.shared.core.dead_letter(&this.shared.name, item.message(), "expired");
                        }
                    } else {
                        item.run(actor, ctx, &this.shared);
                    }
                }
                Next::Empty => return Poll::Pending,
                Next::Fenced => return Poll::Ready(()),
                Next::Closed => {
                    if this.shared.replies_in_flight() == 0 {
                        ctx.stop();
                        return Poll::Ready(());
                    }
                    return Poll::Pending; // the last reply wakes the host
                }
            }
        }
        this.shared.pause(this.epoch);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
