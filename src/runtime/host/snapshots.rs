//! Takes an actor's snapshots in its own turn, on a schedule, and makes its instances from the last. Keeping it is `recovery`'s. Easy to get
//! wrong: a panic may have torn the state, so none is taken after one.
use std::{
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context as TaskContext, Poll, ready},
};

use actix::{Actor, ActorFuture, Context};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::{
    handle::spec::{Maker, Making},
    host::{recovery::Recovery, shared::Shared},
    sync::primitives::lock,
};

/// Takes the snapshots, from inside the actor's own task.
pub(crate) struct Snapshots<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    epoch: u64,
    due: Interval,
}

impl<A: Actor<Context = Context<A>>> Snapshots<A> {
    /// For the instance of `epoch`, if its actor recovers.
    pub(crate) fn new(shared: &Arc<Shared<A>>, epoch: u64) -> Option<Self> {
        let recovery = shared.recovery()?;
        let mut due = tokio::time::interval_at(Instant::now() + recovery.every, recovery.every);
        // After a stall one snapshot is as good as many.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self { shared: shared.clone(), epoch, due })
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Snapshots<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, _: &mut Context<A>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            ready!(this.due.poll_tick(cx));
            if !take(&this.shared, this.epoch, actor) {
                return Poll::Ready(());
            }
        }
    }
}

/// Takes a snapshot, in the actor's turn; false if there is none to take, or the instance of `epoch` was fenced.
pub(crate) fn take<A: Actor<Context = Context<A>>>(shared: &Shared<A>, epoch: u64, actor: &A) -> bool {
    let Some(recovery) = shared.recovery() else { return false };
    recovery.taking.store(true, Ordering::Release);
    let taken = (recovery.take)(actor);
    recovery.taking.store(false, Ordering::Release);
    let mut slot = lock(&recovery.slot);
    // Looked at under the lock: what a successor has been lent is not replaced by what its zombie took.
    if shared.fenced(epoch) {
        return false;
    }
    let before = slot.kept.replace((taken, Instant::now()));
    slot.failed.clear();
    drop(slot);
    drop(before);
    true
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn recovery(&self) -> Option<&Recovery<A>> {
        match &self.maker {
            Maker::Fresh(_) | Maker::Later(_) => None,
            Maker::Recovering(recovery) => Some(recovery),
        }
    }

    /// A new instance, or why there is none; a future that makes one is polled by the instance's own task.
    pub(crate) fn make(&self, ctx: &mut Context<A>) -> Made<A> {
        match &self.maker {
            Maker::Fresh(factory) => factory(ctx).map_or_else(Made::Failed, Made::Now),
            Maker::Later(factory) => Made::Later(factory()),
            Maker::Recovering(recovery) => {
                recovery.taking.store(false, Ordering::Release);
                Made::Now(recovery.build(ctx))
            }
        }
    }
}

/// What a factory comes to.
pub(crate) enum Made<A> {
    Now(A),
    Later(Making<A>),
    Failed(String),
}
