//! Why the realtime layer can't do it, or would not.
//!
//! `http::error` turns these into answers. Easy to get wrong: a claim that is refused is an answer of the hub; only a hub
//! that does not answer is an error of the layer.
use crate::actors::rooms::ClaimRefused;
use crate::runtime::{AskError, StartError};

/// Why the realtime layer can't do it now.
#[derive(Debug, thiserror::Error)]
pub enum RealtimeError {
    /// The mode is off.
    #[error("realtime is off")]
    Off,
    /// The process is going away.
    #[error("the server is draining")]
    Draining,
    /// A limit is reached; its name.
    #[error("limit {0} is reached")]
    Limit(&'static str),
    /// The hub could not be started.
    #[error("the hub did not start: {0}")]
    Start(#[from] StartError),
    /// There is no thread for its connections.
    #[error("no thread for live connections: {0}")]
    Threads(#[from] std::io::Error),
    /// The hub did not answer; whether asking again may help.
    #[error("the hub did not answer: {text}")]
    Unanswered {
        /// What happened.
        text: String,
        /// Whether to try again.
        retryable: bool,
    },
}

/// Why a claim was not settled.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] ClaimRefused),
    /// Nobody could answer.
    #[error(transparent)]
    Realtime(#[from] RealtimeError),
}

/// The hub's handle has given up on this question.
pub(super) fn unanswered<M>(error: AskError<M>) -> RealtimeError {
    RealtimeError::Unanswered { text: error.to_string(), retryable: error.retryable() }
}
