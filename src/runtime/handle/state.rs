//! Where an actor is in its life, what a handled message took, how a shutdown went. Data only; `host`, `watchdog` and
//! `shutdown` produce it; what happened is in `event`, how all are in `health`. Easy to get wrong: a watcher sees the newest state,
//! not every one; whoever needs each step listens to the events.
use std::{sync::Arc, time::Duration};

use crate::handle::error::StopReason;

/// Where an actor is in its life, as seen through `Addr::watch`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
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

impl State {
    /// One word for metrics and health documents.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Restarting { .. } => "restarting",
            Self::Stalled { .. } => "stalled",
            Self::Stopping => "stopping",
            Self::Stopped { .. } => "stopped",
        }
    }
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

/// What `Runtime::shutdown` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Actors that finished their queue and stopped, in the order they did.
    pub drained: Vec<Arc<str>>,
    /// Messages accepted over the runtime's life that were never handled.
    pub dead_letters: u64,
    /// The same by reason: `stopped`, `overflow`, `expired`, `withdrawn`.
    pub dead_letters_by_reason: Vec<(&'static str, u64)>,
    /// Actors that did not stop in time and were ended.
    pub timed_out: Vec<Arc<str>>,
    /// Threads that did not end in time, by the names that other tools show.
    pub leaked_threads: Vec<String>,
    /// How often over the runtime's life the thread of the actors ended unasked (`Event::ThreadLost`).
    pub lost_threads: u64,
}

impl ShutdownReport {
    /// Whether everything stopped in time, and the actors' thread never ended unasked.
    pub fn clean(&self) -> bool {
        self.timed_out.is_empty() && self.leaked_threads.is_empty() && self.lost_threads == 0
    }
}
