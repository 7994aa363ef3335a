//! Drains the host's queue into the actor, from inside the actor's own task, so that every kind of actix handler works
//! unchanged. What happens when a handler panics is left to `host`. Easy to get wrong: after each message the context may
//! be waiting (`AtomicResponse`, `ctx.wait`) and must get no other.
use std::{
    cell::Cell,
    panic::resume_unwind,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::{Context as TaskContext, Poll},
    time::Instant,
};

use actix::{Actor, ActorContext, ActorFuture, ActorState, AsyncContext, Context};

use crate::{
    host::{
        shared::{Next, Shared},
        snapshots,
    },
    mailbox::{envelope::Item, inbox::Hand},
    thread::home::Home,
};

/// Messages handled per poll of the actor's task. Below tokio's coop budget of 128, which the actor's own timers and
/// streams share: a pump that spent it all would starve them.
const BATCH: usize = 32;

/// Full batches in a row after which the whole thread comes first. A task that wakes itself goes to the `LocalSet`'s own queue, and
/// tokio looks at what other threads woke only every 31 turns: 31 batches is how long a neighbour would wait. A deferred wake comes after
/// the others' and a look at the reactor, which costs a system call: so not every batch.
const BATCHES_IN_A_ROW: u32 = 4;

pub(crate) struct Pump<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    home: Arc<Home>,
    epoch: u64,
    /// Set on the first poll, which comes after `started()` and what it waits for.
    ready: Rc<Cell<bool>>,
    hand: Option<Arc<Hand<A>>>,
    /// The next item of the hand.
    at: usize,
    spare: Vec<Item<A>>,
    /// It said that its actor takes no message at present.
    blocked: bool,
    /// Full batches since the thread came first.
    in_a_row: u32,
    /// Its actor has snapshots.
    recovers: bool,
}

impl<A: Actor<Context = Context<A>>> Pump<A> {
    pub(crate) fn new(shared: Arc<Shared<A>>, home: Arc<Home>, epoch: u64, ready: Rc<Cell<bool>>) -> Self {
        let recovers = shared.recovery().is_some();
        Self { shared, home, epoch, ready, hand: None, at: 0, spare: Vec::new(), blocked: false, in_a_row: 0, recovers }
    }

    /// There is more to do than one batch: asks for another turn.
    fn again(&mut self, cx: &mut TaskContext<'_>) {
        self.in_a_row += 1;
        if self.in_a_row < BATCHES_IN_A_ROW {
            cx.waker().wake_by_ref();
            return;
        }
        self.in_a_row = 0;
        // Its first poll hands the waker to the scheduler, to be woken when everything else had its turn; there is no second.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
    }

    /// Handles the next item of the hand; false when there is none.
    fn step(&mut self, actor: &mut A, ctx: &mut Context<A>) -> bool {
        let Some(hand) = &self.hand else { return false };
        let Some(item) = hand.begin(self.at) else { return false };
        self.run(item, actor, ctx);
        hand.end(self.at);
        self.at += 1;
        true
    }

    /// Handles a message of the control lane.
    fn step_urgent(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>) {
        self.run(item, actor, ctx);
        self.shared.end_urgent(self.epoch);
    }

    /// As many replies are under way as may be.
    fn is_full(&self) -> bool {
        self.shared.max_in_flight != usize::MAX && self.shared.replies.in_flight() >= self.shared.max_in_flight
    }

    /// Stops the instance in order, with a last snapshot.
    fn stop(&self, actor: &A, ctx: &mut Context<A>) {
        snapshots::take(&self.shared, self.epoch, actor);
        ctx.stop();
    }

    fn run(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>) {
        self.home.beat();
        if !self.shared.expire(item, self.shared.core.now()) {
            match item.times().sample {
                None => item.run(item, actor, ctx, &self.shared.replies),
                Some(sent) => {
                    let begun = Instant::now();
                    item.run(item, actor, ctx, &self.shared.replies);
                    self.shared.handled(item.message(), begun - sent, begun.elapsed());
                }
            }
            if self.recovers && ctx.state() == ActorState::Stopping {
                snapshots::take(&self.shared, self.epoch, actor); // the handler stopped it
            }
        }
    }

    /// Tells the wait-for graph.
    fn set_blocked(&mut self, blocked: bool) {
        if std::mem::replace(&mut self.blocked, blocked) == blocked {
            return;
        }
        match blocked {
            true => self.shared.core.waits.block(self.shared.id, &self.shared.name),
            false => self.shared.core.waits.unblock(self.shared.id),
        }
    }
}

/// Ends the turn of a fenced instance, from a handler that came back too late. A return would hand the turn to its timers, streams and,
/// had it stopped itself, to `stopping()` and `stopped()`; an unwind that calls no hook passes them all, and `incarnation` drops it.
fn leave() -> ! {
    resume_unwind(Box::new("fenced"))
}

impl<A: Actor<Context = Context<A>>> Drop for Pump<A> {
    fn drop(&mut self) {
        self.set_blocked(false);
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Pump<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut Context<A>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        if this.shared.fenced(this.epoch) {
            leave(); // from a `started()` that came back too late
        }
        if this.recovers && this.shared.held() && this.ready.get() {
            this.stop(actor, ctx);
            return Poll::Pending;
        }
        if !this.ready.replace(true) {
            this.shared.set_running(this.shared.restarts.load(Ordering::Relaxed));
        }
        let mut handled = 0;
        while handled < BATCH {
            if this.shared.fenced(this.epoch) {
                leave();
            }
            if ctx.waiting() {
                this.set_blocked(true);
                return Poll::Pending; // polled again by the context when the wait is over
            }
            this.set_blocked(false);
            // All but the last of a batch may be control messages.
            if handled + 1 < BATCH
                && let Some(item) = this.shared.take_urgent(this.epoch)
            {
                this.step_urgent(&item, actor, ctx);
                handled += 1;
                continue;
            }
            if this.is_full() {
                // The reply that makes room wakes the host.
                let Some(item) = this.shared.next_urgent(this.epoch, cx) else { return Poll::Pending };
                this.step_urgent(&item, actor, ctx);
                handled += 1;
                continue;
            }
            if this.step(actor, ctx) {
                handled += 1;
                continue;
            }
            // Let go first: the inbox reuses a hand that nobody else holds.
            this.hand = None;
            this.at = 0;
            match this.shared.next(this.epoch, &mut this.spare, cx) {
                Next::Hand(hand) => this.hand = Some(hand),
                Next::Urgent(item) => {
                    this.step_urgent(&item, actor, ctx);
                    handled += 1;
                }
                Next::Empty => return Poll::Pending,
                Next::Fenced => leave(),
                Next::Closed if this.shared.replies.in_flight() == 0 => {
                    this.stop(actor, ctx);
                    return Poll::Ready(());
                }
                Next::Closed => return Poll::Pending, // the last reply wakes the host
            }
        }
        this.set_blocked(ctx.waiting());
        this.again(cx);
        Poll::Pending
    }
}
