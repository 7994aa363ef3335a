//! How an actor's snapshots are taken and used, and the last one. When one is taken is in `snapshots`, what a user says in
//! `handle::recover`. Easy to get wrong: a snapshot may itself be what makes starts fail, so that it is given up after a few.
use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix::{Actor, Context};
use tokio::time::Instant;

use crate::sync::primitives::lock;

pub(crate) type Kept = Arc<dyn Any + Send + Sync>;

#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) kept: Option<(Kept, Instant)>,
    /// When starts from it failed.
    pub(crate) failed: VecDeque<Instant>,
}

/// How an actor is snapshot and rebuilt, and its last snapshot.
pub(crate) struct Recovery<A: Actor<Context = Context<A>>> {
    pub(crate) every: Duration,
    pub(crate) tries: usize,
    pub(crate) take: Box<dyn Fn(&A) -> Kept + Send + Sync>,
    #[allow(clippy::type_complexity)] // named here, used here
    pub(crate) build: Box<dyn Fn(&mut Context<A>, Option<&(dyn Any + Send + Sync)>) -> A + Send + Sync>,
    pub(crate) slot: Mutex<Slot>,
    pub(crate) taking: AtomicBool,
}

impl<A: Actor<Context = Context<A>>> Recovery<A> {
    /// A new instance, and whether it was made from a snapshot.
    pub(crate) fn build(&self, ctx: &mut Context<A>) -> A {
        let kept = self.last();
        (self.build)(ctx, kept.as_deref())
    }

    /// The last snapshot.
    pub(crate) fn last(&self) -> Option<Kept> {
        lock(&self.slot).kept.as_ref().map(|(kept, _)| kept.clone())
    }

    /// The last snapshot's age.
    pub(crate) fn age(&self) -> Option<Duration> {
        lock(&self.slot).kept.as_ref().map(|(_, at)| at.elapsed())
    }

    /// Whether `Recover::snapshot` is running.
    pub(crate) fn taking(&self) -> bool {
        self.taking.load(Ordering::Acquire)
    }

    /// A start failed; the number of those that did if the snapshot is given up for it.
    pub(crate) fn start_failed(&self, window: Duration) -> Option<usize> {
        let now = Instant::now();
        let mut slot = lock(&self.slot);
        slot.kept.as_ref()?;
        slot.failed.push_back(now);
        while slot.failed.front().is_some_and(|t| now.duration_since(*t) >= window) {
            slot.failed.pop_front();
        }
        let failed = slot.failed.len();
        if failed < self.tries {
            return None;
        }
        slot.failed.clear();
        let kept = slot.kept.take();
        drop(slot);
        // A user's value: its destructor may panic, and this is no actor's turn.
        if catch_unwind(AssertUnwindSafe(|| drop(kept))).is_err() {
            log::error!("a destructor panicked while a snapshot was dropped");
        }
        Some(failed)
    }

    /// It runs: what failed before was not the snapshot.
    pub(crate) fn started(&self) {
        lock(&self.slot).failed.clear();
    }
}
