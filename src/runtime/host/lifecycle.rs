//! Where an actor stands and what is wished of it, as written by whoever changes that: host, group, watchdog, stop. Deciding is theirs;
//! the end is in `shared`. Easy to get wrong: several write at once, so every change looks at what is there under the channel's own lock.
use std::{sync::atomic::Ordering, time::Duration};

use actix::{Actor, Context};

use crate::{
    handle::{error::StopReason, event::Event, state::State},
    host::{
        phase::{Life, Wish},
        shared::{FirstStart, Shared},
    },
    sync::primitives::lock,
};

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Changes the wish; whether it changed.
    pub(crate) fn order(&self, change: impl FnOnce(Wish) -> Wish) -> bool {
        let changed = self.wish.send_if_modified(|wish| {
            let new = change(*wish);
            self.held.store(new == Wish::Hold, Ordering::Release);
            std::mem::replace(wish, new) != new
        });
        self.replies.waker.wake();
        changed
    }

    /// Notes whether there is an instance, unless the caller was fenced.
    pub(crate) fn set_life(&self, epoch: u64, life: Life) {
        self.life.send_if_modified(|l| {
            let may = !self.fenced(epoch) && *l != Life::Gone;
            if may {
                *l = life;
            }
            may
        });
    }

    /// Answers whoever awaits the first start.
    pub(crate) fn first(&self, epoch: u64) -> Option<FirstStart> {
        if self.fenced(epoch) { None } else { lock(&self.first).take() }
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Down, to be started again, unless it is on its way out.
    pub(crate) fn set_restarting(&self, attempt: u32, retry_after: Duration) {
        self.state.send_if_modified(|s| {
            let may = !matches!(s, State::Stopping | State::Stopped { .. });
            if may {
                *s = State::Restarting { attempt, retry_after };
            }
            may
        });
    }

    pub(crate) fn set_running(&self, restarts: u64) {
        let changed = self.state.send_if_modified(|s| match s {
            State::Starting | State::Restarting { .. } | State::Stalled { .. } => {
                *s = State::Running;
                true
            }
            _ => false,
        });
        if changed {
            let actor = self.name.clone();
            self.core.emit(&if restarts == 0 {
                Event::Started { actor }
            } else {
                Event::Restarted { actor, restarts }
            });
        }
    }

    pub(crate) fn stop_reason(&self) -> StopReason {
        match &*self.state.borrow() {
            State::Stopped { why } => why.clone(),
            _ => StopReason::Requested,
        }
    }

    /// `State::Stalled` is only left behind when the handler, or the start, returns.
    pub(crate) fn unstall(&self) {
        self.state.send_if_modified(|s| {
            let was = matches!(s, State::Stalled { .. });
            if was {
                let starting = self.stalled_in_start.load(Ordering::Relaxed);
                *s = if starting { State::Starting } else { State::Running };
            }
            was
        });
    }
}
