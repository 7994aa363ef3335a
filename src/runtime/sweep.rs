//! The sweep of one actor's deadlines, once per tick of the watchdog: what replaces a timer per ask. Easy to get wrong: it runs
//! beside a pump that may be stuck in the hand, so it fails envelopes and never removes them from there; user values are dropped
//! outside of the lock.
use std::sync::atomic::Ordering;

use actix::{Actor, Context};

use super::{core::lock, dead::DeadReason, envelope::Failure, inbox::Item, shared::Shared};

impl<A: Actor<Context = Context<A>>> Shared<A> {
    /// An ask with a long deadline of its own was accepted.
    pub(crate) fn has_own_deadline(&self, deadline: u64) {
        // Deadlines mostly come in order, so this is a load; one missed beside a sweep is seen by the sweep's own second look.
        if deadline < self.own_deadline.load(Ordering::SeqCst) {
            self.own_deadline.fetch_min(deadline, Ordering::SeqCst);
        }
    }

    /// Expires what has a deadline of its own and waits, when the earliest of these deadlines has come.
    fn sweep_own(&self, now: u64) {
        if self.own_deadline.load(Ordering::SeqCst) > now {
            return;
        }
        // Before the look: an ask that comes beside it says so again.
        self.own_deadline.store(u64::MAX, Ordering::SeqCst);
        let mut late = Vec::new();
        let mut next = u64::MAX;
        let mut inbox = lock(&self.inbox);
        inbox.uncover(&self.tx);
        for item in inbox.front.iter().chain(inbox.hand.look().1) {
            match item.times() {
                times if times.expired(now) => late.push(item.clone()),
                times => next = next.min(times.deadline),
            }
        }
        drop(inbox);
        self.own_deadline.fetch_min(next, Ordering::SeqCst);
        for item in late {
            self.expire(&item, now);
        }
    }

    /// Fails an envelope that is past its deadline; whether it is.
    pub(crate) fn expire(&self, item: &Item<A>, now: u64) -> bool {
        let times = item.times();
        if !times.expired(now) {
            return false;
        }
        if item.fail(&Failure::Expired { ran_for: times.age(now) }) {
            self.core.dead_letter(&self.name, item.message(), DeadReason::Expired);
        }
        true
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
        let in_flight: Vec<_> = lock(&self.in_flight).values().filter(|i| i.times().expired(now)).cloned().collect();
        for item in &in_flight {
            self.expire(item, now);
        }
        self.sweep_own(now);
        loop {
            let mut inbox = lock(&self.inbox);
            if inbox.oldest.saturating_add(self.ask_limit) > now {
                return;
            }
            let Some(item) = inbox.take_normal() else {
                inbox.oldest = now;
                return;
            };
            inbox.oldest = item.times().sent;
            if !item.times().expired(now) {
                inbox.put_back(item, &self.tx);
                return;
            }
            drop(inbox);
            self.expire(&item, now);
        }
    }
}
