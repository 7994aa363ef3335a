//! What can be seen of an actor and of the runtime from outside: states, lifecycle events, health, the shutdown report.
//! Data only; `host`, `watchdog` and `shutdown` produce it. Easy to get wrong: events may be missed by a slow
//! listener (bounded broadcast), states may not (watch).
use std::{sync::Arc, time::Duration};

use super::error::{PanicInfo, StopReason};

/// Where an actor is in its life, as seen through `Addr::watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Factory and `started()` are under way for the first time.
    Starting,
    /// It takes messages.
    Running,
    /// It failed; its queue waits.
    Restarting {
        /// Failures in a row.
        attempt: u32,
        /// The pause before the next start.
        retry_after: Duration,
    },
    /// The watchdog found it stuck.
    Stalled {
        /// How long the handler has been running, when last looked at.
        since: Duration,
    },
    /// It takes no new messages and finishes its queue.
    Stopping,
    /// It is gone.
    Stopped {
        /// Why.
        why: StopReason,
    },
}

/// A handler that does not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The actor, or `(task)` for a future outside of any actor.
    pub actor: Arc<str>,
    /// The message type, or what else it was doing.
    pub message: &'static str,
    /// For how long.
    pub for_: Duration,
}

/// What happened, as sent through `Runtime::events` and `Hooks::event`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An actor takes messages (again).
    Started {
        /// Its name.
        actor: Arc<str>,
        /// How often it was restarted before.
        restarts: u64,
    },
    /// An actor panicked.
    Panicked(PanicInfo),
    /// An actor will be started again.
    Restarting {
        /// Its name.
        actor: Arc<str>,
        /// Failures in a row.
        attempt: u32,
        /// After this pause.
        retry_after: Duration,
    },
    /// An actor is gone.
    Stopped {
        /// Its name.
        actor: Arc<str>,
        /// Why.
        why: StopReason,
    },
    /// An actor used up its restarts and its policy is `Escalate` or `StopProcess`.
    Escalated {
        /// Its name.
        actor: Arc<str>,
    },
    /// A handler is stuck.
    Stalled(Stall),
    /// A stuck handler returned.
    Recovered(Stall),
    /// All actors of a stuck thread were rebuilt on a fresh one.
    Rehomed {
        /// What was stuck.
        stall: Stall,
        /// How many actors moved.
        actors: usize,
    },
    /// A message was accepted but will never be handled.
    DeadLetter {
        /// Its addressee.
        actor: Arc<str>,
        /// Its type.
        message: &'static str,
        /// Why: `stopped`, `overflow`, `expired`, `withdrawn`.
        reason: &'static str,
    },
}

/// A message that was handled, as told to `Builder::on_handled`.
#[derive(Debug, Clone)]
pub struct Handled {
    /// Its addressee.
    pub actor: Arc<str>,
    /// Its type.
    pub message: &'static str,
    /// From the send to the handler.
    pub queue_time: Duration,
    /// In the handler; of an asynchronous one, until it returned its future.
    pub handle_time: Duration,
    /// How many messages this one stands for.
    pub weight: u32,
}

/// One actor's health.
#[derive(Debug, Clone)]
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
}

/// The runtime's health; a snapshot without I/O.
#[derive(Debug, Clone)]
pub struct Health {
    /// Whether the thread that hosts the actors is there.
    pub thread_alive: bool,
    /// The stuck handler, if any.
    pub stalled: Option<Stall>,
    /// The actor whose exhaustion was escalated, if any.
    pub failed: Option<Arc<str>>,
    /// Threads given up by the watchdog and not yet ended.
    pub leaked_threads: usize,
    /// Every living actor, in start order.
    pub actors: Vec<ActorHealth>,
}

impl Health {
    /// Whether every actor is running, none is stuck, and the thread lives.
    pub fn ok(&self) -> bool {
        self.thread_alive
            && self.stalled.is_none()
            && self.failed.is_none()
            && self.actors.iter().all(|a| a.state == State::Running)
    }
}

/// What `Runtime::shutdown` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Actors that finished their queue and stopped, in the order they did.
    pub drained: Vec<Arc<str>>,
    /// Messages accepted over the runtime's life that were never handled.
    pub dead_letters: u64,
    /// Actors that did not stop in time and were ended.
    pub timed_out: Vec<Arc<str>>,
    /// Threads that did not end in time.
    pub leaked_threads: Vec<String>,
}

impl ShutdownReport {
    /// Whether everything stopped in time.
    pub fn clean(&self) -> bool {
        self.timed_out.is_empty() && self.leaked_threads.is_empty()
    }
}
