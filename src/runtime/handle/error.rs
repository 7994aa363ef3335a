//! What a caller can be told: errors named by whether a retry is safe. Variants that carry the message back were never
//! delivered; the others may have run. How an error comes about is left to `envelope` and `host`. Easy to get wrong:
//! a variant that gives the message back must never be used once a handler has seen it.
use std::{fmt, sync::Arc, time::Duration};

/// A caught panic: whose, in which message, what it said and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PanicInfo {
    /// Name of the actor.
    pub actor: Arc<str>,
    /// Type of the message being handled; `None` in a factory, `started()`, a timer or a spawned future.
    pub message: Option<&'static str>,
    /// The panic's text.
    pub text: String,
    /// `file:line:column` of the panic.
    pub location: Option<String>,
}

impl fmt::Display for PanicInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "actor {} panicked", self.actor)?;
        if let Some(m) = self.message {
            write!(f, " in {m}")?;
        }
        if let Some(l) = &self.location {
            write!(f, " at {l}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// Why an actor is gone for good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It stopped itself (`ctx.stop()`) and its restart policy does not bring it back.
    Finished,
    /// `Addr::stop` or `Runtime::shutdown` asked for it.
    Requested,
    /// It did not drain within its deadline and was ended.
    TimedOut,
    /// It panicked and its restart policy does not bring it back.
    Panicked(PanicInfo),
    /// Its factory or `started()` failed.
    StartFailed(String),
    /// It failed more often than its restart intensity allows.
    Exhausted(String),
    /// No thread hosts actors any more (see `Event::ThreadLost`), or the runtime was dropped without `shutdown`.
    ThreadLost,
    /// The sender itself runs on a thread that was given up by the watchdog; its late effects are refused.
    Fenced,
    /// It is `Temporary`, and its group (named here) was restarted around it.
    GroupRestarted(Arc<str>),
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("it finished"),
            Self::Requested => f.write_str("it was asked to stop"),
            Self::TimedOut => f.write_str("it did not stop in time and was ended"),
            Self::Panicked(p) => write!(f, "{p}"),
            Self::StartFailed(e) => write!(f, "it failed to start: {e}"),
            Self::Exhausted(e) => write!(f, "it used up its restarts: {e}"),
            Self::ThreadLost => f.write_str("its thread ended, and there is no other"),
            Self::Fenced => f.write_str("the sending thread was given up by the watchdog"),
            Self::GroupRestarted(group) => write!(f, "its group {group} was restarted and it is temporary"),
        }
    }
}

/// Why a message that a handler has seen gets no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AbortReason {
    /// The actor panicked while this reply was still being computed.
    ActorPanicked(PanicInfo),
    /// The handler dropped its reply, or the future that computes it was dropped.
    ReplyDropped,
    /// The actor ended before the reply was ready.
    ActorStopped(StopReason),
    /// The actor was stuck and was moved to a fresh thread.
    Rehomed {
        /// How long the handler had been running.
        ran_for: Duration,
    },
    /// The actor was restarted with its group while this reply was still being computed.
    GroupRestarted(Arc<str>),
    /// The actor's thread ended unasked while this reply was still being computed; the actor was rebuilt on another.
    ThreadLost,
}

impl fmt::Display for AbortReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActorPanicked(p) => write!(f, "{p}"),
            Self::ReplyDropped => f.write_str("the reply was dropped"),
            Self::ActorStopped(why) => write!(f, "the actor stopped: {why}"),
            Self::Rehomed { ran_for } => write!(f, "the handler was stuck for {ran_for:?}; the actor was moved"),
            Self::GroupRestarted(cause) => write!(f, "the actor was restarted with its group: {cause}"),
            Self::ThreadLost => f.write_str("the actor's thread ended; the actor was rebuilt on another"),
        }
    }
}

/// Why an ask got no reply.
#[non_exhaustive]
pub enum AskError<M> {
    /// Never delivered: the mailbox was full (also: pushed out by a newer message under `Overflow::DropOldest`).
    MailboxFull(M),
    /// Never delivered: the actor is being restarted and the caller did not want to wait, or it was moved or restarted at the moment the
    /// message was about to be handled.
    Restarting {
        /// The message.
        msg: M,
        /// When the next start is due.
        retry_after: Duration,
    },
    /// Never delivered: the actor is stuck in a handler.
    Stalled {
        /// The message.
        msg: M,
        /// For how long.
        since: Duration,
    },
    /// Never delivered: the actor is draining before its stop.
    Stopping(M),
    /// Never delivered: the actor is gone.
    Stopped {
        /// The message.
        msg: M,
        /// Why it is gone.
        why: StopReason,
    },
    /// Never delivered: the deadline passed while the message waited.
    TimedOutInQueue(M),
    /// Never delivered: an actor that asks itself would wait for itself.
    SelfAsk(M),
    /// Never delivered: the actors of this circle would wait for each other for ever.
    Cycle {
        /// The message.
        msg: M,
        /// Who would wait for whom; the first is also the last.
        actors: Vec<Arc<str>>,
    },
    /// May have run: the deadline passed while the handler worked on it.
    TimedOutRunning {
        /// How long the ask had been under way.
        ran_for: Duration,
    },
    /// May have run: the handler panicked on this message.
    Panicked(PanicInfo),
    /// May have run: the reply will not come.
    Aborted(AbortReason),
}

impl<M> AskError<M> {
    /// Whether sending the same message again can help; true only for what was never delivered and may pass.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::MailboxFull(_) | Self::Restarting { .. } | Self::Stalled { .. } | Self::TimedOutInQueue(_))
    }

    /// The message, when it was never delivered.
    pub fn into_message(self) -> Option<M> {
        match self {
            Self::MailboxFull(m) | Self::Stopping(m) | Self::TimedOutInQueue(m) | Self::SelfAsk(m) => Some(m),
            Self::Restarting { msg, .. } | Self::Stalled { msg, .. } => Some(msg),
            Self::Stopped { msg, .. } | Self::Cycle { msg, .. } => Some(msg),
            Self::TimedOutRunning { .. } | Self::Panicked(_) | Self::Aborted(_) => None,
        }
    }

    /// The same error without the message, to be kept, sent or boxed whatever the message is: `AskError<M>` is `Sync` only if `M` is,
    /// which `?` into `Box<dyn Error + Send + Sync>` asks for.
    pub fn without_message(self) -> AskError<()> {
        match self {
            Self::MailboxFull(_) => AskError::MailboxFull(()),
            Self::Restarting { retry_after, .. } => AskError::Restarting { msg: (), retry_after },
            Self::Stalled { since, .. } => AskError::Stalled { msg: (), since },
            Self::Stopping(_) => AskError::Stopping(()),
            Self::Stopped { why, .. } => AskError::Stopped { msg: (), why },
            Self::TimedOutInQueue(_) => AskError::TimedOutInQueue(()),
            Self::SelfAsk(_) => AskError::SelfAsk(()),
            Self::Cycle { actors, .. } => AskError::Cycle { msg: (), actors },
            Self::TimedOutRunning { ran_for } => AskError::TimedOutRunning { ran_for },
            Self::Panicked(info) => AskError::Panicked(info),
            Self::Aborted(why) => AskError::Aborted(why),
        }
    }

    /// One word for metrics and problem documents.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MailboxFull(_) => "mailbox_full",
            Self::Restarting { .. } => "restarting",
            Self::Stalled { .. } => "stalled",
            Self::Stopping(_) => "stopping",
            Self::Stopped { .. } => "stopped",
            Self::TimedOutInQueue(_) => "timed_out_in_queue",
            Self::SelfAsk(_) => "self_ask",
            Self::Cycle { .. } => "cycle",
            Self::TimedOutRunning { .. } => "timed_out_running",
            Self::Panicked(_) => "panicked",
            Self::Aborted(_) => "aborted",
        }
    }
}

impl<M> AskError<M> {
    /// The text, with this for the message's type.
    pub(crate) fn say(&self, f: &mut fmt::Formatter<'_>, message: &str) -> fmt::Result {
        match self {
            Self::MailboxFull(_) => write!(f, "{message} was not delivered: the mailbox is full"),
            Self::Restarting { retry_after, .. } => {
                write!(f, "{message} was not delivered: the actor restarts in {retry_after:?}")
            }
            Self::Stalled { since, .. } => {
                write!(f, "{message} was not delivered: the actor has been stuck for {since:?}")
            }
            Self::Stopping(_) => write!(f, "{message} was not delivered: the actor is stopping"),
            Self::Stopped { why, .. } => write!(f, "{message} was not delivered: the actor is gone: {why}"),
            Self::TimedOutInQueue(_) => write!(f, "{message} was not delivered before its deadline"),
            Self::SelfAsk(_) => write!(f, "{message} was not delivered: an actor must not ask itself"),
            Self::Cycle { actors, .. } => {
                write!(f, "{message} was not delivered: {} would wait for each other", actors.join(" -> "))
            }
            Self::TimedOutRunning { ran_for } => write!(f, "{message} got no reply within {ran_for:?}"),
            Self::Panicked(p) => write!(f, "{p}"),
            Self::Aborted(why) => write!(f, "{message} got no reply: {why}"),
        }
    }
}

impl<M> fmt::Display for AskError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without its message, an error does not say which it was.
        let message = if std::any::type_name::<M>() == "()" { "the message" } else { std::any::type_name::<M>() };
        self.say(f, message)
    }
}

impl<M> fmt::Debug for AskError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AskError::{}({self})", self.code())
    }
}

impl<M> std::error::Error for AskError<M> {}

/// Why `supervise` returned no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The factory or `started()` panicked.
    #[error("start of actor {} failed: {}", .0.actor, .0)]
    Panicked(PanicInfo),
    /// The factory returned an error.
    #[error("actor {name} was not started: {cause}")]
    Failed {
        /// Its name.
        name: Arc<str>,
        /// The error's text, and that of its sources.
        cause: String,
    },
    /// The actor stopped itself in its factory or `started()`.
    #[error("actor {0} stopped itself while starting")]
    StoppedItself(Arc<str>),
    /// The start took longer than `start_timeout`.
    #[error("start of actor {name} took longer than {after:?}")]
    TimedOut {
        /// Its name.
        name: Arc<str>,
        /// The limit.
        after: Duration,
    },
    /// An actor (or for a group: a group) of this name is alive.
    #[error("the name {0} is taken by another that is alive")]
    NameTaken(Arc<str>),
    /// The runtime is shutting down.
    #[error("actor {0} was not started: the runtime is shutting down")]
    ShuttingDown(Arc<str>),
    /// Its group is stopping or gone.
    #[error("{name} was not started: its group {group} has stopped")]
    GroupStopped {
        /// Its name.
        name: Arc<str>,
        /// The group's.
        group: Arc<str>,
    },
    /// It was ended while it was starting.
    #[error("actor {name} was not started: {why}")]
    Stopped {
        /// Its name.
        name: Arc<str>,
        /// Why.
        why: StopReason,
    },
    /// The caller runs on a thread that was given up by the watchdog; its late effects are refused.
    #[error("{0} was not started: the calling thread was given up by the watchdog")]
    Fenced(Arc<str>),
}

/// Why `Addr::stop` did not see an orderly end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StopError {
    /// It ran into its deadline; the actor was ended without finishing its queue.
    #[error("actor {name} did not stop within {within:?} and was ended")]
    TimedOut {
        /// Its name.
        name: Arc<str>,
        /// The limit.
        within: Duration,
    },
    /// The caller is an instance whose thread was given up; nothing was stopped.
    #[error("actor {0} was not stopped: whoever asked for it was replaced")]
    Fenced(Arc<str>),
}
