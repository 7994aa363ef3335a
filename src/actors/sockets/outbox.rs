//! One connection's outgoing bytes: three bounded lanes and what is left of a half-written frame.
//!
//! Control (replies, pings, close) is never dropped; ordered (durable events, collaboration) keeps its order;
//! conflatable keeps the newest per key. The peer's lock is held around every call, so data, pongs and close frames
//! never interleave. Easy to get wrong: a frame that is partly on the wire must be finished before any other, also
//! when its room is discarded.
mod backlog;

use crate::actors::rooms::limits::Shared;
use crate::protocol::{bare::bare, frame, ids::ProjectId, server};
use backlog::{Backlog, Ordered};
use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use std::{
    io::{self, IoSlice},
    sync::OnceLock,
    time::Instant,
};

/// Frames handed to the kernel in one call.
pub const MAX_SLICES: usize = 64;
/// Control bytes that may wait; a client that asks this much without reading is closed as slow.
const MAX_CONTROL_BYTES: usize = 256 * 1024;

/// What a frame for a room is, which decides what a slow connection does with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Stored: may not be lost without telling the client.
    Durable,
    /// Ordered, dropped when the connection is slow.
    Ephemeral,
    /// Only the newest of its key counts.
    Keyed(u128),
}

/// An encoded frame for a room.
#[derive(Clone, Debug)]
pub struct RoomFrame {
    /// Complete WebSocket frame.
    pub bytes: Bytes,
    /// What it is.
    pub kind: Kind,
}

/// Frames of one room for all its members: as they are, and end to end for a single write.
#[derive(Debug)]
pub struct Batch {
    frames: Vec<RoomFrame>,
    joined: Bytes,
    /// The same without siblings; made when the first connection without the subprotocol needs it.
    bare: OnceLock<Box<Batch>>,
}

impl Batch {
    /// One copy here saves every member's write from gathering many slices.
    pub fn new(frames: Vec<RoomFrame>) -> Self {
        let joined = match frames.as_slice() {
            [one] => one.bytes.clone(),
            many => {
                let mut joined = Vec::with_capacity(many.iter().map(|frame| frame.bytes.len()).sum());
                many.iter().for_each(|frame| joined.extend_from_slice(&frame.bytes));
                joined.into()
            }
        };
        Self { frames, joined, bare: OnceLock::new() }
    }

    /// The bare form of all frames.
    pub fn bare(&self) -> &Self {
        self.bare.get_or_init(|| {
            let bare = |frame: &RoomFrame| RoomFrame { bytes: bare(&frame.bytes), kind: frame.kind };
            Box::new(Self::new(self.frames.iter().map(bare).collect()))
        })
    }

    /// How many frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// What the caller must do after handing over frames; of several, the greatest.
#[must_use = "a queued connection that is not woken hangs"]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum After {
    /// Nothing: all is written.
    Written,
    /// Bytes wait for the connection's task: wake it.
    Waiting,
    /// The connection does not keep up even with its replies: close it.
    Overrun,
    /// The socket is broken.
    Broken,
}

/// The write end of a socket: a non-blocking vectored write.
pub trait Wire {
    /// Write what the kernel takes now.
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// The outgoing side of one connection.
#[derive(Debug, Default)]
pub struct Outbox {
    backlog: Option<Box<Backlog>>,
    /// Rooms whose stream has a hole: nothing more until the client joins again.
    broken: SmallVec<[ProjectId; 1]>,
    /// Whoever takes the frames found none and waits to be woken.
    taker_waits: bool,
    /// A close frame is queued or written; nothing follows it.
    closed: bool,
}

impl Outbox {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.backlog.is_none()
    }

    /// Whether a close frame was queued.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes that wait.
    pub fn waiting_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |b| b.bytes)
    }

    /// Since when no byte went out although some wait, and since when it has been full.
    pub fn stuck_since(&self) -> Option<(Instant, Option<Instant>)> {
        self.backlog.as_ref().map(|b| (b.progress_at, b.full_since))
    }

    /// What waits was not offered to the connection yet: its time to take it begins now.
    pub fn begin_anew(&mut self, now: Instant) {
        if let Some(backlog) = &mut self.backlog {
            (backlog.progress_at, backlog.full_since) = (now, None);
        }
    }

    /// Whether frames wait for a taker that waits for frames.
    pub fn is_unoffered(&self) -> bool {
        self.taker_waits && self.backlog.is_some()
    }

    /// Whether the stream of `room` has a hole.
    pub fn is_broken(&self, room: ProjectId) -> bool {
        self.broken.contains(&room)
    }

    /// Frames of one room, in order. Writes at once when nothing waits.
    pub fn deliver(&mut self, wire: &impl Wire, shared: &Shared, room: ProjectId, batch: &Batch) -> After {
        if batch.is_empty() || self.closed || self.broken.contains(&room) {
            return After::Written;
        }
        let mut rest = batch.frames.as_slice();
        let mut partial = 0;
        if self.backlog.is_none() {
            match write_now(wire, &batch.joined) {
                Ok(written) if written == batch.joined.len() => return After::Written,
                Ok(written) => (rest, partial) = left_over(rest, written),
                Err(_) => return After::Broken,
            }
        }
        if partial > 0 {
            let mut head = rest[0].bytes.clone();
            head.advance(partial);
            self.backlog().put_head(head, shared);
            rest = &rest[1..];
        }
        for frame in rest {
            self.queue(shared, room, frame);
        }
        if self.backlog.is_some() { After::Waiting } else { After::Written }
    }

    /// A reply, ping or error: overtakes room frames, never dropped.
    pub fn control(&mut self, wire: &impl Wire, shared: &Shared, bytes: Bytes) -> After {
        if self.closed {
            return After::Written;
        }
        self.control_bytes(wire, shared, bytes)
    }

    /// The close frame; whatever of the rooms waits is dropped, and nothing follows.
    pub fn close(&mut self, wire: &impl Wire, shared: &Shared, code: u16, reason: &str) -> After {
        if self.closed {
            return After::Written;
        }
        self.answer_close(wire, shared, frame::close(code, reason))
    }

    /// A close frame made elsewhere: the answer to the client's.
    pub fn answer_close(&mut self, wire: &impl Wire, shared: &Shared, bytes: Bytes) -> After {
        if self.closed {
            return After::Written;
        }
        self.closed = true;
        if let Some(backlog) = &mut self.backlog {
            backlog.drop_rooms(shared, |_| true);
        }
        self.settle();
        self.control_bytes(wire, shared, bytes)
    }

    /// Forget what waits for `room` and start its stream afresh: the client joins, or leaves.
    pub fn forget_room(&mut self, shared: &Shared, room: ProjectId) {
        self.broken.retain(|r| *r != room);
        if let Some(backlog) = &mut self.backlog {
            backlog.drop_rooms(shared, |r| r == room);
        }
        self.settle();
    }

    /// Forget what waits for `room` but its events: the client joins again what it is in.
    pub fn forget_ephemeral(&mut self, shared: &Shared, room: ProjectId) {
        if let Some(backlog) = &mut self.backlog {
            backlog.drop_frames(shared, |of, durable| of == room && !durable);
        }
        self.settle();
    }

    /// The stream of `room` has a hole: tell the client once, send no more of it until it joins again.
    pub fn break_room(&mut self, wire: &impl Wire, shared: &Shared, room: ProjectId, reason: &str) -> After {
        if self.closed || self.broken.contains(&room) {
            return After::Written;
        }
        self.forget_room(shared, room);
        self.broken.push(room);
        self.control(wire, shared, resync(room, reason))
    }

    /// Write what waits until the socket is full or all is gone.
    pub fn flush(&mut self, wire: &impl Wire, shared: &Shared) -> io::Result<()> {
        while let Some(backlog) = &mut self.backlog {
            let written = {
                let mut slices: SmallVec<[IoSlice<'_>; MAX_SLICES]> = SmallVec::new();
                slices.extend(backlog.waiting().take(MAX_SLICES).map(|bytes| IoSlice::new(bytes)));
                match wire.write(&slices) {
                    Ok(written) => written,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            backlog.consume(written, shared);
            let since = backlog.since;
            self.settle();
            if self.backlog.is_none() {
                shared.meters.flush.record(since.elapsed());
            }
        }
        Ok(())
    }

    /// Whole frames that wait, in order: `most` bytes, or one frame if that is longer. Only for a connection that
    /// nothing was written to directly.
    pub fn take_frames(&mut self, shared: &Shared, most: usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut taken = 0;
        if let Some(backlog) = &mut self.backlog {
            for bytes in backlog.waiting() {
                if taken > 0 && taken + bytes.len() > most {
                    break;
                }
                taken += bytes.len();
                frames.push(bytes.clone());
            }
            backlog.consume(taken, shared);
        }
        self.settle();
        self.taker_waits = frames.is_empty();
        frames
    }

    /// Give back what is counted for this connection; it ends.
    pub fn clear(&mut self, shared: &Shared) {
        self.closed = true;
        if let Some(backlog) = self.backlog.take() {
            shared.budget.give_back(backlog.bytes);
        }
    }

    fn control_bytes(&mut self, wire: &impl Wire, shared: &Shared, bytes: Bytes) -> After {
        let mut bytes = bytes;
        if self.backlog.is_none() {
            match wire.write(&[IoSlice::new(&bytes)]) {
                Ok(written) if written == bytes.len() => return After::Written,
                Ok(written) => bytes.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return After::Broken,
            }
            self.backlog().put_head(bytes, shared);
            return After::Waiting;
        }
        let backlog = self.backlog();
        backlog.count(bytes.len(), shared);
        backlog.control_bytes += bytes.len();
        backlog.control.push_back(bytes);
        if backlog.control_bytes > MAX_CONTROL_BYTES { After::Overrun } else { After::Waiting }
    }

    fn queue(&mut self, shared: &Shared, room: ProjectId, frame: &RoomFrame) {
        if self.broken.contains(&room) {
            return;
        }
        let size = frame.bytes.len();
        let limits = &shared.limits;
        let backlog = self.backlog();
        if let Kind::Keyed(key) = frame.kind
            && let Some(old) = backlog.keyed.iter_mut().find(|(r, k, _)| *r == room && *k == key)
        {
            let freed = old.2.len();
            old.2 = frame.bytes.clone();
            backlog.uncount(freed, shared);
            backlog.count(size, shared);
            shared.meters.conflated.increment(1);
            return;
        }
        let full = backlog.is_full(limits, shared, size);
        if frame.kind != Kind::Durable && (full || backlog.fill(limits, shared) > 0.75) {
            shared.meters.dropped.increment(1);
            return;
        }
        if full {
            backlog.full_since.get_or_insert_with(Instant::now);
            let victim = backlog.largest_room().unwrap_or(room);
            shared.meters.resynced.increment(1);
            backlog.drop_rooms(shared, |r| r == victim);
            let notice = resync(victim, "slow");
            backlog.count(notice.len(), shared);
            backlog.control_bytes += notice.len();
            backlog.control.push_back(notice);
            self.broken.push(victim);
            if victim == room {
                return;
            }
        }
        let backlog = self.backlog();
        backlog.count(size, shared);
        match frame.kind {
            Kind::Keyed(key) => backlog.keyed.push((room, key, frame.bytes.clone())),
            kind => {
                let durable = kind == Kind::Durable;
                backlog.ordered.push_back(Ordered { room, durable, bytes: frame.bytes.clone() });
            }
        }
    }

    fn backlog(&mut self) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| Box::new(Backlog::new(Instant::now())))
    }

    fn settle(&mut self) {
        if self.backlog.as_ref().is_some_and(|b| b.bytes == 0) {
            self.backlog = None;
        }
    }
}

fn resync(room: ProjectId, reason: &str) -> Bytes {
    let body = server::ResyncRequired { project_id: room, reason };
    server::encode(server::Head::default(), &server::ServerMessage::ResyncRequired(body))
}

/// Bytes that the socket took.
fn write_now(wire: &impl Wire, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match wire.write(&[IoSlice::new(&bytes[written..])]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// The frames that are not whole on the wire, and how much of the first is.
fn left_over(frames: &[RoomFrame], mut written: usize) -> (&[RoomFrame], usize) {
    for (index, frame) in frames.iter().enumerate() {
        if written < frame.bytes.len() {
            return (&frames[index..], written);
        }
        written -= frame.bytes.len();
    }
    (&[], 0)
}

#[cfg(test)]
mod tests;
