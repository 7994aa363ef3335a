//! One connection as its shard looks after it: let into rooms; pinged; closed for silence, slowness, a lapsed proof or
//! at a drain.
//!
//! What is written to it is the shard's and the peer's. Easy to get wrong: ticks wrap, so they are compared with
//! [`reached`] and never with `<`.
use super::expiry::Expiry;
use super::outbox::{Batch, RoomFrame};
use super::peer::Peer;
use crate::actors::rooms::limits::Limits;
use crate::protocol::{CloseCode, ids::ProjectId};
use bytes::Bytes;
use smallvec::SmallVec;
use std::{ops::Range, sync::Arc, time::Instant};

/// How long a connection whose close frame is queued may take to go.
const CLOSE_GRACE_MS: u32 = 2_000;

/// A connection in a room.
pub(super) struct Membership {
    pub room: ProjectId,
    /// It was handed every event after this offset, unless its stream has a hole.
    since: u64,
}

/// What a joiner has missed.
pub(super) struct Missed {
    /// The events, without a hole.
    pub events: Vec<RoomFrame>,
    /// The offset of the last, and of the room.
    pub upto: u64,
    /// Whether they are all that it asked for.
    pub recovered: bool,
}

impl Missed {
    /// The offset before the first event.
    fn after(&self) -> u64 {
        self.upto - self.events.len() as u64
    }

    /// Those after `handed.start` up to `handed.end` left out.
    fn without(self, handed: Range<u64>) -> Vec<RoomFrame> {
        let lacks = |(off, _): &(u64, RoomFrame)| *off <= handed.start || *off > handed.end;
        (self.after() + 1..).zip(self.events).filter(lacks).map(|(_, frame)| frame).collect()
    }
}

/// A connection's memberships and clocks.
pub(super) struct Line {
    pub peer: Arc<Peer>,
    pub rooms: SmallVec<[Membership; 2]>,
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
    pub(super) fn new(peer: Arc<Peer>, tick: u32, ping_at: u32) -> Self {
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

    /// It is in `room`, with this reply and what it has missed. `handed` is up to where the room's members here have been
    /// handed its events. Who joins again what it is in may not have read yet what it was sent since it asked: it gets
    /// nothing twice.
    pub(super) fn enter(&mut self, room: ProjectId, reply: Bytes, missed: Missed, handed: Option<u64>) {
        let after = missed.after();
        let known = self.rooms.iter_mut().find(|member| member.room == room);
        match (known, handed) {
            (Some(member), Some(handed)) if missed.recovered && !self.peer.is_broken(room) => {
                let lacking = missed.without(member.since..handed);
                member.since = member.since.min(after);
                self.peer.enter_again(room, reply, &Batch::new(lacking));
            }
            (known, _) => {
                match known {
                    Some(member) => member.since = after,
                    None => self.rooms.push(Membership { room, since: after }),
                }
                self.peer.enter(room, reply, &Batch::new(missed.events));
            }
        }
    }

    /// Look after one connection; returns the bytes that wait for it.
    pub(super) fn sweep(&mut self, limits: &Limits, tick: u32, now: Instant) -> usize {
        let (closed, waiting) = {
            let outbox = self.peer.outbox();
            (outbox.is_closed(), outbox.waiting_bytes())
        };
        if closed {
            let since = *self.closing_since.get_or_insert(tick);
            if tick.wrapping_sub(since) >= CLOSE_GRACE_MS {
                self.peer.kill();
            }
            return waiting;
        }
        if self.is_slow(limits, now) {
            self.peer.offer(now);
            if self.is_slow(limits, now) {
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

    fn is_slow(&self, limits: &Limits, now: Instant) -> bool {
        let stuck = self.peer.outbox().stuck_since();
        stuck.is_some_and(|(progress_at, full_since)| {
            let stuck = now.saturating_duration_since(progress_at) >= limits.no_progress;
            stuck || full_since.is_some_and(|since| now.saturating_duration_since(since) >= limits.full_for)
        })
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
