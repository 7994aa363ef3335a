//! Close codes and the reason text that goes with them.
//!
//! With `retry_ms`: reconnect after it. Else 44xx: do not reconnect unchanged; 45xx: reconnect with full jitter. Easy to
//! get wrong: a close reason is at most 123 bytes, so it carries a short code, never a sentence.

/// Why the server ends a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CloseCode {
    /// Normal end, the client's close echoed.
    Normal,
    /// The bytes break RFC 6455.
    Protocol,
    /// A text message is not UTF-8.
    NotUtf8,
    /// Too many malformed messages.
    BadRequests,
    /// The bearer token is wrong, or has expired.
    Token,
    /// The connection is another user's, or this user may no longer have one.
    Forbidden,
    /// No `Auth` in time.
    AuthTimeout,
    /// The user has as many connections as it may; with a time to come back, the whole server has.
    ConnectionLimit,
    /// A message is longer than the limit.
    TooBig,
    /// Far more messages than the rate allows.
    RateLimited,
    /// The server failed; nothing to do with the client.
    Internal,
    /// The server is going away.
    Draining,
    /// No byte came after an unanswered ping.
    NoPong,
    /// The client does not read what it is sent.
    Slow,
}

impl CloseCode {
    /// Every code, by number.
    pub const ALL: [Self; 14] = [
        Self::Normal,
        Self::Protocol,
        Self::NotUtf8,
        Self::BadRequests,
        Self::Token,
        Self::Forbidden,
        Self::AuthTimeout,
        Self::ConnectionLimit,
        Self::TooBig,
        Self::RateLimited,
        Self::Internal,
        Self::Draining,
        Self::NoPong,
        Self::Slow,
    ];

    /// Why, in a sentence for people; the wire carries [`CloseCode::name`].
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Normal => "normal end; the client's close is answered",
            Self::Protocol => "the bytes break RFC 6455",
            Self::NotUtf8 => "a text message is not UTF-8",
            Self::BadRequests => "too many malformed messages",
            Self::Token => "the token or ticket is wrong, or has expired",
            Self::Forbidden => "the connection is another user's, or this user may no longer have one",
            Self::AuthTimeout => "no `Auth` in time",
            Self::ConnectionLimit => "too many connections: the user's, or, with `retry_ms`, the server's",
            Self::TooBig => "a message is longer than the limit",
            Self::RateLimited => "far more messages than the rate allows",
            Self::Internal => "the server failed",
            Self::Draining => "the server is going away",
            Self::NoPong => "no byte came after an unanswered ping",
            Self::Slow => "the client does not read what it is sent",
        }
    }

    /// Whether to connect again unchanged: at once when normal, else after `retry_ms` or a random time.
    pub const fn comes_back(self) -> bool {
        matches!(self.number(), 1000 | 4429 | 4500..=4599)
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::NotUtf8 => 1007,
            Self::BadRequests => 4400,
            Self::Token => 4401,
            Self::Forbidden => 4403,
            Self::AuthTimeout => 4408,
            Self::ConnectionLimit => 4409,
            Self::TooBig => 4413,
            Self::RateLimited => 4429,
            Self::Internal => 4500,
            Self::Draining => 4503,
            Self::NoPong => 4504,
            Self::Slow => 4508,
        }
    }

    /// The short name used in the reason, in logs and as a metric label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "NORMAL",
            Self::Protocol => "PROTOCOL",
            Self::NotUtf8 => "NOT_UTF8",
            Self::BadRequests => "BAD_REQUESTS",
            Self::Token => "TOKEN",
            Self::Forbidden => "FORBIDDEN",
            Self::AuthTimeout => "AUTH_TIMEOUT",
            Self::ConnectionLimit => "CONNECTION_LIMIT",
            Self::TooBig => "TOO_BIG",
            Self::RateLimited => "RATE_LIMITED",
            Self::Internal => "INTERNAL",
            Self::Draining => "DRAIN",
            Self::NoPong => "NO_PONG",
            Self::Slow => "SLOW",
        }
    }

    /// The reason text: `{"c":"DRAIN","retry_ms":7312}`.
    pub fn reason(self, retry_ms: Option<u64>) -> String {
        match retry_ms {
            Some(ms) => format!(r#"{{"c":"{}","retry_ms":{ms}}}"#, self.name()),
            None => format!(r#"{{"c":"{}"}}"#, self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_lists_every_close_code_and_no_other() {
        let manual = include_str!("../../docs/API.md");
        let rows = manual.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | `"));
        let listed = rows.filter_map(|(code, rest)| Some((code.parse().ok()?, rest.split_once('`')?.0.to_owned())));
        let sent = CloseCode::ALL.map(|code| (code.number(), code.name().to_owned()));
        assert_eq!(listed.collect::<Vec<(u16, String)>>(), sent);
    }
}
