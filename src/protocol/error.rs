//! Error codes of the WebSocket protocol and what a client may do about each.
//!
//! The texts come from whoever raises the error; this file only names the codes. Easy to get wrong: `retryable`
//! promises that the same message may be sent again unchanged.
use schemars::JsonSchema;
use serde::Serialize;

/// What went wrong, by what the client can do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The message is well formed but makes no sense.
    BadRequest,
    /// The frame is not one message of this protocol; the text names the place.
    InvalidFormat,
    /// Not authenticated, or the token is wrong.
    AuthError,
    /// The token was good and has expired: send `Auth` with a new one.
    TokenExpired,
    /// Authenticated but not allowed.
    Forbidden,
    /// No such thing.
    NotFound,
    /// The connection has not joined that project.
    NotJoined,
    /// Somebody else holds the claim.
    AlreadyClaimed,
    /// A named limit is reached.
    LimitExceeded,
    /// Too many messages; wait `retry_after_ms`.
    RateLimited,
    /// The message is longer than the limit.
    TooLarge,
    /// A part of the server is restarting or away.
    Unavailable,
    /// The server failed.
    Internal,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 13] = [
        Self::BadRequest,
        Self::InvalidFormat,
        Self::AuthError,
        Self::TokenExpired,
        Self::Forbidden,
        Self::NotFound,
        Self::NotJoined,
        Self::AlreadyClaimed,
        Self::LimitExceeded,
        Self::RateLimited,
        Self::TooLarge,
        Self::Unavailable,
        Self::Internal,
    ];

    /// Whether sending the same message again may succeed.
    pub const fn retryable(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Internal)
    }
}
