//! The sweep of one actor's deadlines, once per tick of the watchdog: what replaces a timer per ask. When the queue is to be looked
//! at is in `due`. Easy to get wrong: it runs beside a pump that may be stuck in the hand, so it fails envelopes and never removes them
//! from there; user values are dropped outside of the lock, and guarded.
use actix::{Actor, Context};

use crate::{
    host::shared::Shared,
    mailbox::{
        dead::DeadReason,
        envelope::{Failure, Item},
    },
    sync::primitives::lock,
};

/// A queue that holds something is looked at this often, in coarse milliseconds, though no deadline is known: the last resort for one
/// that slipped in beside a look. A look costs a step for each message that waits.
const LOOK_AGAIN: u64 = 1_000;

impl<A: Actor<Context = Context<A>>> Shared<A> {
    /// Fails an envelope that is past its deadline; whether it is.
    pub(crate) fn expire(&self, item: &Item<A>, now: u64) -> bool {
        let times = item.times();
        let late = times.expired(now);
        if late {
            self.kill(item.clone(), &Failure::Expired { ran_for: times.age(now) }, DeadReason::Expired);
        }
        late
    }

    /// Fails everything that is past its deadline, wherever it is.
    pub(crate) fn sweep_all(&self, now: u64) {
        if self.end.has_begun() {
            return self.throw_away(&self.stop_reason());
        }
        let (hand, urgent) = {
            let inbox = lock(&self.inbox);
            (inbox.hand.clone(), inbox.urgent.clone())
        };
        let (running, waiting) = hand.look();
        for item in urgent.iter().chain(running).chain(waiting) {
            self.expire(item, now);
        }
        self.expire_all(self.replies.take_late(now), now);
        self.sweep_queue(now);
    }

    /// Whether anything here has to be looked at again: what waits or is being handled, and replies under way that have a deadline. After
    /// the end nothing has: who sends past it lists the actor for one more look.
    pub(crate) fn to_be_swept(&self) -> bool {
        // In this order: a message that is handled meanwhile is among the replies before it leaves the hand.
        !self.end.has_begun() && (lock(&self.inbox).holds_any(&self.tx) || self.replies.have_deadline())
    }

    /// Takes what is past its deadline out of the queue, wherever in it.
    fn sweep_queue(&self, now: u64) {
        let waits = || self.tx.capacity() < self.tx.max_capacity();
        if !self.due.take(now, waits) {
            return;
        }
        let (late, next) = lock(&self.inbox).take_expired(now, &self.tx);
        if let Some(next) = next {
            self.due.note(next.min(now.saturating_add(LOOK_AGAIN)));
        }
        self.expire_all(late, now);
    }

    /// Fails what is in no queue any more.
    fn expire_all(&self, late: Vec<Item<A>>, now: u64) {
        let expired = |item: &Item<A>| Failure::Expired { ran_for: item.times().age(now) };
        self.kill_all(late, expired, DeadReason::Expired);
    }
}
