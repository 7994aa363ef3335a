//! One connection as its shard looks after it: closed for silence, slowness, a lapsed proof or at a drain; pinged.
//!
//! What is written to it is the shard's and the peer's. Easy to get wrong: ticks wrap, so they are compared with
//! [`reached`] and never with `<`.
use super::{expiry::Expiry, limits::Limits, peer::Peer};
use crate::protocol::{CloseCode, ids::ProjectId};
use smallvec::SmallVec;
use std::{sync::Arc, time::Instant};

/// How long a connection whose close frame is queued may take to go.
const CLOSE_GRACE_MS: u32 = 2_000;

/// A connection's memberships and clocks.
pub(super) struct Line {
    pub peer: Arc<Peer>,
    pub rooms: SmallVec<[ProjectId; 2]>,
    ping_at: u32,
    pinged_at: Option<u32>,
    closing_since: Option<u32>,
    pub drain_at: Option<u32>,
    expiry: Expiry,
    born: u32,
}

/// Whether `tick` has reached `due`, across the wrap.
fn reached(tick: u32, due: u32) -> bool {
    tick.wrapping_sub(due) < u32::MAX / 2
}

impl Line {
    /// A connection that came at `tick` and is pinged first at `ping_at`, both in the shards' milliseconds.
    pub fn new(peer: Arc<Peer>, tick: u32, ping_at: u32) -> Self {
        Self {
            peer,
            rooms: SmallVec::new(),
            ping_at,
            pinged_at: None,
            closing_since: None,
            drain_at: None,
            expiry: Expiry::default(),
            born: tick,
        }
    }

    /// Look after one connection; returns the bytes that wait for it.
    pub fn sweep(&mut self, limits: &Limits, tick: u32, now: Instant) -> usize {
        let (closed, stuck, waiting) = {
            let outbox = self.peer.outbox();
            (outbox.is_closed(), outbox.stuck_since(), outbox.waiting_bytes())
        };
        if closed {
            let since = *self.closing_since.get_or_insert(tick);
            if tick.wrapping_sub(since) >= CLOSE_GRACE_MS {
                self.peer.kill();
            }
            return waiting;
        }
        if let Some((progress_at, full_since)) = stuck {
            let stuck = now.duration_since(progress_at) >= limits.no_progress;
            let full = full_since.is_some_and(|since| now.duration_since(since) >= limits.full_for);
            if stuck || full {
                self.peer.close_slow();
                return waiting;
            }
        }
        if self.drain_at.is_some_and(|due| reached(tick, due)) {
            self.peer.close(CloseCode::Draining, Some(rand::random_range(500..10_000)));
        } else if self.peer.principal().is_none() {
            if tick.wrapping_sub(self.born) >= limits.auth_within.as_millis() as u32 {
                self.peer.close(CloseCode::AuthTimeout, None);
            }
        } else if !self.expiry.sweep(&self.peer, limits) {
            self.keep_alive(limits, tick);
        }
        waiting
    }

    fn keep_alive(&mut self, limits: &Limits, tick: u32) {
        let silent = self.peer.silent_ms(tick);
        if let Some(pinged) = self.pinged_at {
            let unanswered = tick.wrapping_sub(pinged);
            // The clock counts milliseconds: an answer may come within the one of its ping.
            if silent <= unanswered {
                self.pinged_at = None;
            } else if unanswered >= limits.pong_within.as_millis() as u32 {
                self.peer.close(CloseCode::NoPong, Some(rand::random_range(500..5_000)));
                return;
            }
        }
        if self.pinged_at.is_none() && reached(tick, self.ping_at) {
            self.peer.control(crate::protocol::frame::ping());
            self.pinged_at = Some(tick);
            self.ping_at = tick.wrapping_add(limits.ping_every.as_millis() as u32);
        }
    }
}
