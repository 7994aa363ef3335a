//! An actor of any type, as registry, watchdog and shutdown see it: looked at, swept, drained, ended, moved. What handles
//! and host do is in `shared`. Easy to get wrong: these are called by threads that must not wait for a handler, so none of them may
//! take a lock that user code runs under.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, Context};
use tokio::sync::watch;

use super::{
    core::lock,
    envelope::Failure,
    error::{AbortReason, StopReason},
    home::Home,
    host,
    shared::{Shared, Wish},
    state::{ActorHealth, State},
};

/// An actor of any type, as registry, watchdog and shutdown see it.
pub(crate) trait Hosted: Send + Sync {
    fn id(&self) -> u64;
    fn name(&self) -> &Arc<str>;
    fn health(&self) -> ActorHealth;
    fn stop_limit(&self) -> Duration;
    fn watch(&self) -> watch::Receiver<State>;
    /// The type of the message being handled.
    fn running(&self) -> Option<&'static str>;
    fn stalled(&self, since: Option<Duration>);
    /// Fails what is past its deadline.
    fn sweep(&self, now: u64);
    /// Takes no more messages, finishes those it has, stops.
    fn drain(&self);
    /// Ends now.
    fn end(&self, why: StopReason);
    /// Rebuilds it on `home`, with the same queue; the present instance is fenced.
    fn rehome(self: Arc<Self>, home: &Arc<Home>, ran_for: Duration);
}

impl<A: Actor<Context = Context<A>>> Hosted for Shared<A> {
    fn id(&self) -> u64 {
        self.id
    }

    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn health(&self) -> ActorHealth {
        ActorHealth {
            name: self.name.clone(),
            state: self.state.borrow().clone(),
            mailbox_depth: self.tx.max_capacity() - self.tx.capacity() + lock(&self.inbox).taken(),
            replies_in_flight: self.replies_in_flight(),
            restarts: self.restarts.load(Ordering::Relaxed),
        }
    }

    fn stop_limit(&self) -> Duration {
        self.limits.stop
    }

    fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn running(&self) -> Option<&'static str> {
        lock(&self.inbox).hand.look().0.map(|item| item.message())
    }

    fn stalled(&self, since: Option<Duration>) {
        match since {
            None => self.unstall(),
            Some(since) => {
                self.state.send_if_modified(|s| {
                    let may = matches!(s, State::Running | State::Stalled { .. } | State::Starting);
                    if may {
                        *s = State::Stalled { since };
                    }
                    may
                });
            }
        }
    }

    fn sweep(&self, now: u64) {
        if self.ended.load(Ordering::Acquire) {
            return self.throw_away(&self.stop_reason());
        }
        let hand = lock(&self.inbox).hand.clone();
        let (running, waiting) = hand.look();
        for item in running.into_iter().chain(waiting) {
            self.expire(item, now);
        }
        let in_flight: Vec<_> = lock(&self.in_flight).values().filter(|i| i.times().expired(now)).cloned().collect();
        for item in &in_flight {
            self.expire(item, now);
        }
        loop {
            let mut inbox = lock(&self.inbox);
            if inbox.oldest.saturating_add(self.ask_limit) > now {
                return;
            }
            let Some(item) = inbox.try_take() else {
                inbox.oldest = now;
                return;
            };
            inbox.oldest = item.times().sent;
            if !item.times().expired(now) {
                inbox.put_back(item);
                return;
            }
            drop(inbox);
            self.expire(&item, now);
        }
    }

    fn drain(&self) {
        // The wish comes before the close: a pump that finds its queue closed asks for the wish.
        self.wish.send_if_modified(|w| *w == Wish::Live && std::mem::replace(w, Wish::Drain) == Wish::Live);
        self.state.send_if_modified(|s| {
            let may = !matches!(s, State::Stopped { .. });
            if may {
                *s = State::Stopping;
            }
            may
        });
        lock(&self.inbox).rx.close();
        self.waker.wake();
    }

    fn end(&self, why: StopReason) {
        self.wish.send_replace(Wish::End);
        self.finish(why);
    }

    fn rehome(self: Arc<Self>, home: &Arc<Home>, ran_for: Duration) {
        let (epoch, reclaimed) = self.raise_epoch();
        let replies: Vec<_> = lock(&self.in_flight).drain().collect();
        for item in reclaimed.running.into_iter().chain(replies.into_iter().map(|(_, item)| item)) {
            item.fail(&Failure::Aborted(AbortReason::Rehomed { ran_for }));
        }
        self.waker.wake();
        self.restarts.fetch_add(1, Ordering::Relaxed);
        if self.wish.borrow().eq(&Wish::Live) {
            self.set_state(State::Restarting { attempt: 1, retry_after: Duration::ZERO });
        }
        host::launch(self, epoch, home, None);
    }
}
