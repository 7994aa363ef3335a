//! How all are, at one moment and without waiting for any: actors, groups, threads. Data only; `system` gathers it. Easy to
//! get wrong: an actor that gave up is gone from here; what it left is in the events and, if it was escalated, in `failed`.
use std::{sync::Arc, time::Duration};

use crate::{
    handle::state::{Stall, State},
    tree::group_spec::{GroupState, Strategy},
};

/// One actor's health.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ActorHealth {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is in its life.
    pub state: State,
    /// Waiting messages.
    pub mailbox_depth: usize,
    /// Handled messages whose asynchronous reply is not there yet.
    pub replies_in_flight: usize,
    /// Restarts since it was first started.
    pub restarts: u64,
    /// The group it belongs to.
    pub group: Option<Arc<str>>,
    /// How old its last snapshot is, if it has one.
    pub snapshot_age: Option<Duration>,
}

/// One group's health.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GroupHealth {
    /// Its name.
    pub name: Arc<str>,
    /// The group it belongs to.
    pub group: Option<Arc<str>>,
    /// Who is restarted when a member fails.
    pub strategy: Strategy,
    /// Where it is in its life.
    pub state: GroupState,
    /// Names of its actors and groups, in start order.
    pub members: Vec<Arc<str>>,
    /// How often members were restarted together.
    pub restarts: u64,
    /// Failures that count towards its intensity now.
    pub recent_failures: usize,
}

/// What ended in the runtime's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeFailure {
    /// The actor or group that used up its restarts with no group above it.
    pub name: Arc<str>,
    /// Why: the last failure, and the intensity it exceeded.
    pub cause: Arc<str>,
}

/// The runtime's health; a snapshot without I/O.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Health {
    /// Whether every thread that hosts actors is there.
    pub thread_alive: bool,
    /// The stuck handler, if any; of several threads' the first.
    pub stalled: Option<Stall>,
    /// What was escalated to the runtime, if anything was. It stays.
    pub failed: Option<RuntimeFailure>,
    /// Threads given up by the watchdog and not yet ended.
    pub leaked_threads: usize,
    /// How often a thread that hosts actors ended unasked (`Event::ThreadLost`).
    pub lost_threads: u64,
    /// For how long the watchdog has not come by, if that is longer than two seconds: user code that it called (a callback, a message's
    /// destructor) holds it up. Default deadlines wait until another takes over (`Event::WatchdogReplaced`); at most four are given up.
    pub watchdog_late: Option<Duration>,
    /// Panics of user code outside of any actor's turn, each reported as `Event::StrayPanic`.
    pub stray_panics: u64,
    /// Every living actor, in start order.
    pub actors: Vec<ActorHealth>,
    /// Every living group, in start order: with `ActorHealth::group` and `GroupHealth::group`, the tree.
    pub groups: Vec<GroupHealth>,
}

impl Health {
    /// Whether every actor and group is running, none is stuck, the watchdog comes by, and the thread lives.
    pub fn ok(&self) -> bool {
        self.thread_alive
            && self.stalled.is_none()
            && self.watchdog_late.is_none()
            && self.failed.is_none()
            && self.actors.iter().all(|a| a.state == State::Running)
            && self.groups.iter().all(|g| g.state == GroupState::Running)
    }
}
