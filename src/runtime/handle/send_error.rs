//! Why a tell was not accepted: what an ask can meet at the mailbox's door, and with the same words. What an ask can meet later is in
//! `error`. Easy to get wrong: every variant gives the message back, so a new one that can't belongs to `AskError`.
use std::{fmt, time::Duration};

use crate::handle::error::{AskError, StopReason};

/// Why a tell was not accepted. The message was never delivered and comes back.
#[non_exhaustive]
pub enum SendError<M> {
    /// The mailbox was full.
    MailboxFull(M),
    /// The actor is stuck in a handler and its mailbox is full.
    Stalled {
        /// The message.
        msg: M,
        /// For how long.
        since: Duration,
    },
    /// The actor is draining before its stop.
    Stopping(M),
    /// The actor is gone.
    Stopped {
        /// The message.
        msg: M,
        /// Why it is gone.
        why: StopReason,
    },
    /// No room came up in the mailbox before the deadline.
    TimedOutInQueue(M),
}

impl<M> SendError<M> {
    fn as_ask(&self) -> AskError<&M> {
        match self {
            Self::MailboxFull(m) => AskError::MailboxFull(m),
            Self::Stalled { msg, since } => AskError::Stalled { msg, since: *since },
            Self::Stopping(m) => AskError::Stopping(m),
            Self::Stopped { msg, why } => AskError::Stopped { msg, why: why.clone() },
            Self::TimedOutInQueue(m) => AskError::TimedOutInQueue(m),
        }
    }

    /// Whether sending the same message again can help.
    pub fn retryable(&self) -> bool {
        self.as_ask().retryable()
    }

    /// The message.
    pub fn into_message(self) -> Option<M> {
        AskError::from(self).into_message()
    }

    /// The same error without the message; see `AskError::without_message`.
    pub fn without_message(self) -> SendError<()> {
        match self {
            Self::MailboxFull(_) => SendError::MailboxFull(()),
            Self::Stalled { since, .. } => SendError::Stalled { msg: (), since },
            Self::Stopping(_) => SendError::Stopping(()),
            Self::Stopped { why, .. } => SendError::Stopped { msg: (), why },
            Self::TimedOutInQueue(_) => SendError::TimedOutInQueue(()),
        }
    }

    /// One word for metrics and problem documents.
    pub fn code(&self) -> &'static str {
        self.as_ask().code()
    }
}

impl<M> From<SendError<M>> for AskError<M> {
    fn from(e: SendError<M>) -> Self {
        match e {
            SendError::MailboxFull(m) => Self::MailboxFull(m),
            SendError::Stalled { msg, since } => Self::Stalled { msg, since },
            SendError::Stopping(m) => Self::Stopping(m),
            SendError::Stopped { msg, why } => Self::Stopped { msg, why },
            SendError::TimedOutInQueue(m) => Self::TimedOutInQueue(m),
        }
    }
}

impl<M> fmt::Display for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = if std::any::type_name::<M>() == "()" { "the message" } else { std::any::type_name::<M>() };
        self.as_ask().say(f, message)
    }
}

impl<M> fmt::Debug for SendError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SendError::{}({self})", self.code())
    }
}

impl<M> std::error::Error for SendError<M> {}
