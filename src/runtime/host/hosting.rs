//! How an actor of one type does what is asked of any: see `hosted`. What handles and host do is in `shared`.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::{Actor, Context};
use tokio::sync::watch;

use crate::{
    handle::{
        error::{AbortReason, StopReason},
        event::{Event, RestartReason},
        health::ActorHealth,
        spec::Restart,
        state::State,
    },
    host::{
        hosted::{Hosted, SNAPSHOT},
        phase::{Life, Wish},
        recovery::Recovery,
        run,
        shared::Shared,
    },
    sync::{close::Queue as _, primitives::lock},
    thread::home::{Home, Move},
};

impl<A: Actor<Context = Context<A>>> Hosted for Shared<A> {
    fn id(&self) -> u64 {
        self.id
    }

    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn slot(&self) -> usize {
        self.slot
    }

    fn health(&self) -> ActorHealth {
        ActorHealth {
            name: self.name.clone(),
            state: self.state.borrow().clone(),
            mailbox_depth: self.depth(),
            replies_in_flight: self.replies.in_flight(),
            restarts: self.restarts.load(Ordering::Relaxed),
            group: self.parent.as_ref().map(|group| group.name.clone()),
            snapshot_age: self.recovery().and_then(Recovery::age),
        }
    }

    fn start_limit(&self) -> Duration {
        self.limits.start
    }

    fn stop_limit(&self) -> Duration {
        self.limits.stop
    }

    fn restart(&self) -> Restart {
        self.policy.restart
    }

    fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn life(&self) -> watch::Receiver<Life> {
        self.life.subscribe()
    }

    fn hold(&self, attempt: u32, retry_after: Duration, cause: &Arc<str>) {
        let first = *self.wish.borrow() == Wish::Live && matches!(*self.life.borrow(), Life::Up | Life::Starting);
        if first {
            // Before the order, on which replies are dropped.
            self.replies.note_loss(AbortReason::GroupRestarted(cause.clone()));
        }
        self.order(|wish| if wish == Wish::Live { Wish::Hold } else { wish });
        if !self.held() {
            return; // on its way out
        }
        if first {
            self.restarts.fetch_add(1, Ordering::Relaxed);
            let reason = RestartReason::Group;
            self.core.emit(&Event::Restarting { actor: self.name.clone(), reason, attempt, retry_after });
        }
        self.set_restarting(attempt, retry_after);
    }

    fn park(&self, epoch: u64, cause: &Arc<str>) {
        self.order(|wish| if wish == Wish::Live { Wish::Hold } else { wish });
        self.set_life(epoch, Life::Failed(cause.clone()));
    }

    fn release(&self) {
        self.life.send_if_modified(|life| {
            let may = *life != Life::Gone;
            if may {
                *life = Life::Starting;
            }
            may
        });
        self.order(|wish| if wish == Wish::Hold { Wish::Live } else { wish });
    }

    fn running(&self) -> Option<&'static str> {
        if self.recovery().is_some_and(Recovery::taking) {
            return Some(SNAPSHOT);
        }
        let inbox = lock(&self.inbox);
        inbox.urgent.as_ref().or(inbox.hand.look().0).map(|item| item.message())
    }

    fn stalled(&self, since: Option<Duration>) {
        match since {
            None => self.unstall(),
            Some(since) => {
                self.state.send_if_modified(|s| {
                    match s {
                        State::Running => self.stalled_in_start.store(false, Ordering::Relaxed),
                        State::Starting => self.stalled_in_start.store(true, Ordering::Relaxed),
                        State::Stalled { .. } => {}
                        _ => return false,
                    }
                    *s = State::Stalled { since };
                    true
                });
            }
        }
    }

    fn sweep(&self, now: u64) {
        self.sweep_all(now);
    }

    fn busy(&self) -> bool {
        self.to_be_swept()
    }

    fn leaves(&self) -> bool {
        self.listed.leave(|| self.to_be_swept())
    }

    fn drain(&self) {
        // The wish comes before the close: a pump that finds its queue closed asks for the wish.
        self.order(|wish| if wish == Wish::End { wish } else { Wish::Drain });
        self.state.send_if_modified(|s| {
            let may = !matches!(s, State::Stopped { .. });
            if may {
                *s = State::Stopping;
            }
            may
        });
        lock(&self.inbox).close();
        self.replies.waker.wake();
    }

    fn end(&self, why: StopReason) {
        // In this order: a host that hears of the wish first would name another reason.
        self.finish(why);
        self.order(|_| Wish::End);
    }

    fn rehome(self: Arc<Self>, home: &Arc<Home>, why: Move) {
        if !self.launched.load(Ordering::Acquire) {
            return; // its group has not let it in yet; it will be launched on the present home
        }
        let (abort, reason) = match why {
            Move::Stuck(ran_for) => (AbortReason::Rehomed { ran_for }, RestartReason::Rehomed),
            Move::Lost => (AbortReason::ThreadLost, RestartReason::ThreadLost),
        };
        let (epoch, reclaimed) = self.raise_epoch();
        self.abort_under_way(reclaimed, abort);
        self.replies.waker.wake();
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.set_life(epoch, Life::Down);
        if self.wish.borrow().eq(&Wish::Live) {
            let (attempt, retry_after) = (1, Duration::ZERO);
            self.set_state(State::Restarting { attempt, retry_after });
            self.core.emit(&Event::Restarting { actor: self.name.clone(), reason, attempt, retry_after });
        }
        if !run::launch(&self, epoch, home) && home.is_told() {
            self.finish(StopReason::ThreadLost);
        }
    }
}
