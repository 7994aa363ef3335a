//! A connection whose proof lapses: told a while before, closed a while after, unless it proves itself again.
//!
//! Leaves the once-a-second walk to the shard, and what a lapsed connection may still ask to its dialogue. Easy to get
//! wrong: a renewed proof has a time of its own, so what was told is remembered with the time it was told for.
use super::peer::Peer;
use crate::actors::rooms::limits::Limits;
use crate::protocol::{
    CloseCode, ServerMessage,
    server::{self, AuthExpiring, Head},
};
use std::time::{SystemTime, UNIX_EPOCH};

/// What a connection was told of its proof.
#[derive(Debug, Default)]
pub struct Expiry {
    told_of: Option<i64>,
}

/// What is due for a proof that lapses at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    Nothing,
    Warning,
    Close,
}

impl Expiry {
    /// Looks at the connection's proof and does what is due. True when the connection was closed.
    pub fn sweep(&mut self, peer: &Peer, limits: &Limits) -> bool {
        let Some(expires) = peer.expires_at_ms() else { return false };
        match self.due(expires, unix_ms(), limits) {
            Due::Nothing => false,
            Due::Warning => {
                self.told_of = Some(expires);
                let body = AuthExpiring {
                    expires_at_ms: expires,
                    close_at_ms: expires + limits.auth_grace.as_millis() as i64,
                };
                peer.control(server::encode(Head::default(), &ServerMessage::AuthExpiring(body)));
                false
            }
            Due::Close => {
                metrics::counter!("tieout_rt_auth_total", "result" => "expired").increment(1);
                peer.close(CloseCode::Token, None);
                true
            }
        }
    }

    fn due(&self, expires: i64, now: i64, limits: &Limits) -> Due {
        if now >= expires.saturating_add(limits.auth_grace.as_millis() as i64) {
            Due::Close
        } else if self.told_of != Some(expires) && now >= expires - limits.auth_warning.as_millis() as i64 {
            Due::Warning
        } else {
            Due::Nothing
        }
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_warned_of_once_and_ends_after_its_grace() {
        let limits = Limits::default();
        let mut expiry = Expiry::default();
        let expires = 1_000_000;
        assert_eq!(expiry.due(expires, 939_999, &limits), Due::Nothing);
        assert_eq!(expiry.due(expires, 940_000, &limits), Due::Warning);
        expiry.told_of = Some(expires);
        assert_eq!(expiry.due(expires, 999_999, &limits), Due::Nothing);
        assert_eq!(expiry.due(expires, 1_024_999, &limits), Due::Nothing, "within the grace");
        assert_eq!(expiry.due(expires, 1_025_000, &limits), Due::Close);
        assert_eq!(expiry.due(expires + 60_000, 1_025_000, &limits), Due::Warning, "a renewed proof has its own time");
    }
}
