//! What a group is to be and where it is in its life: plain data. The handle is in `handle::group`, the group itself in `node`. Easy to get
//! wrong: in a group the group's intensity counts; an actor's own holds only if it was given.
use std::{sync::Arc, time::Duration};

use crate::handle::{
    error::StopReason,
    spec::{Backoff, OnExhausted, Policy},
};

/// Who is restarted when a member of a group fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strategy {
    /// That member alone.
    OneForOne,
    /// All members.
    OneForAll,
    /// That member and those that were started after it.
    RestForOne,
}

/// Where a group is in its life, as seen through `Group::watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupState {
    /// Its members run, or are restarted one by one.
    Running,
    /// Members are being stopped, or wait, or are being started, together.
    Restarting {
        /// Failures in a row.
        attempt: u32,
        /// The pause before they are started.
        retry_after: Duration,
    },
    /// It is down until the group above it starts it again.
    Waiting,
    /// It takes no new members and stops those it has.
    Stopping,
    /// It is gone, and its members with it.
    Stopped {
        /// Why.
        why: StopReason,
    },
}

/// A group's description, handed to `Runtime::group` or `Group::group`.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    pub(crate) name: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) policy: Policy,
}

impl GroupSpec {
    /// A group called `name` (unique among the living groups).
    pub fn new(name: impl Into<Arc<str>>, strategy: Strategy) -> Self {
        Self {
            name: name.into(),
            strategy,
            policy: Policy { on_exhausted: OnExhausted::Escalate, ..Policy::default() },
        }
    }

    /// At most `restarts` restarts within any `window`, whichever members fail; failed starts count. 5 in 30 s by default.
    /// A restart by the group above starts the count afresh.
    pub fn intensity(mut self, restarts: usize, window: Duration) -> Self {
        self.policy.max_failures = restarts;
        self.policy.window = window;
        self
    }

    /// The pause before members are started together. An actor that is restarted alone pauses as its own spec says.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// What happens past the intensity; `Escalate` by default: the group above restarts this group as its strategy says, and
    /// with none above the runtime is marked failed. `GiveUp` ends the members and leaves everything else alone.
    pub fn on_exhausted(mut self, on_exhausted: OnExhausted) -> Self {
        self.policy.on_exhausted = on_exhausted;
        self
    }
}
