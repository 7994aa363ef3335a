//! What happened in the runtime, as its listeners are told. Data only; `host`, the group files and `watchdog` produce it. Easy
//! to get wrong: a slow listener may miss events (bounded broadcast, which says how many); for the present use `health`.
use std::{fmt, sync::Arc, time::Duration};

use crate::handle::{
    error::{PanicInfo, StopReason},
    state::Stall,
};

/// Why an instance is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestartReason {
    /// It panicked.
    Panicked,
    /// It stopped itself and is `Permanent`.
    StoppedItself,
    /// Its factory or `started()` failed or took too long.
    StartFailed,
    /// A member of its group failed.
    Group,
    /// Its thread was stuck.
    Rehomed,
    /// Its thread ended unasked.
    ThreadLost,
}

impl RestartReason {
    /// One word for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Panicked => "panicked",
            Self::StoppedItself => "stopped_itself",
            Self::StartFailed => "start_failed",
            Self::Group => "group",
            Self::Rehomed => "rehomed",
            Self::ThreadLost => "thread_lost",
        }
    }
}

impl fmt::Display for RestartReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// What happened, as sent through `Runtime::events` and `Builder::on_event`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// An actor takes messages, for the first time.
    Started {
        /// Its name.
        actor: Arc<str>,
    },
    /// An actor panicked.
    Panicked(PanicInfo),
    /// An actor will be started again.
    Restarting {
        /// Its name.
        actor: Arc<str>,
        /// Why.
        reason: RestartReason,
        /// Failures in a row.
        attempt: u32,
        /// After this pause.
        retry_after: Duration,
    },
    /// An actor takes messages again.
    Restarted {
        /// Its name.
        actor: Arc<str>,
        /// How often it was restarted by now.
        restarts: u64,
    },
    /// An actor is gone.
    Stopped {
        /// Its name.
        actor: Arc<str>,
        /// Why.
        why: StopReason,
    },
    /// A group will be restarted, as far as its strategy says: these members stop now and start again after the pause.
    GroupRestarting {
        /// Its name.
        group: Arc<str>,
        /// The member that failed, and why.
        cause: Arc<str>,
        /// Failures in a row.
        attempt: u32,
        /// After this pause.
        retry_after: Duration,
    },
    /// The members take messages again.
    GroupRestarted {
        /// The group.
        group: Arc<str>,
        /// How often it was restarted by now.
        restarts: u64,
        /// How many actors of it (and of the groups in it) were started.
        actors: usize,
    },
    /// A group is gone, and its members with it.
    GroupStopped {
        /// Its name.
        group: Arc<str>,
        /// Why.
        why: StopReason,
    },
    /// An actor or a group used up its restarts and its policy is `Escalate` or `StopProcess`.
    Escalated {
        /// Its name.
        child: Arc<str>,
        /// The group that fails with it; without one the runtime is marked failed.
        to: Option<Arc<str>>,
        /// Why.
        cause: Arc<str>,
    },
    /// Too many starts failed on an actor's last snapshot; the next goes without.
    SnapshotDiscarded {
        /// Its name.
        actor: Arc<str>,
        /// How many.
        failed_starts: usize,
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
    /// A stuck handler stays where it is although the policy says to move: no thread to be had. Its actors move after all when a
    /// thread given up before comes to its end while the handler is still stuck.
    NotRehomed {
        /// What is stuck.
        stall: Stall,
        /// Threads given up before; at the bound (`Builder::max_leaked_threads`) no other is.
        leaked_threads: usize,
    },
    /// The thread that hosts the actors ended unasked: a handler stopped its Arbiter or the System. All were rebuilt on a fresh one.
    /// Past the default intensity (5 in 30 s), or without a fresh one, the runtime fails instead: `Escalated`, with its name.
    ThreadLost {
        /// How many actors were rebuilt.
        actors: usize,
    },
    /// User code that the watchdog called (a callback, a message's destructor) held it up, and another watchdog took over. Sent to
    /// `Runtime::events` alone: the callback may be what holds it up.
    WatchdogReplaced {
        /// For how long by then.
        held_up: Duration,
    },
    /// User code panicked outside of any actor's turn: a callback, a message's destructor, a waker. The runtime goes on.
    StrayPanic {
        /// The callback's name, or the type of the message.
        place: &'static str,
        /// The panic's text, with the place if it was on a thread of the runtime.
        text: String,
    },
    /// An ask was refused because these actors would wait for each other; the first is also the last.
    AskCycle {
        /// Who would wait for whom.
        actors: Vec<Arc<str>>,
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
