//! One connection as the shards see it: its socket, its outbox under one lock, and when it was last heard.
//!
//! A connection without a socket of its own (server-sent events) has its frames taken by [`Peer::poll_frames`].
//! Parsing what arrives is the session's (`http::live::ws`). Easy to get wrong: shard and session both write, so every
//! write goes through the outbox's lock, and the socket is owned here, so its descriptor can't be reused under a
//! writer.
use super::outbox::{After, Batch, Outbox, Wire};
use super::users::Seat;
use crate::actors::rooms::limits::Shared;
use crate::protocol::{
    CloseCode,
    bare::bare,
    ids::{ConnId, ProjectId},
    principal::{Action, Forbidden, Grant, Principal, Resource, Role, authorise_as},
};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use std::{
    io::{self, IoSlice},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};
use tokio::net::tcp::OwnedWriteHalf;

/// The time of a proof that does not lapse.
const NEVER: i64 = i64::MAX;

/// A connection. Dropping the last reference closes the socket.
#[derive(Debug)]
pub struct Peer {
    /// Its number.
    pub id: ConnId,
    /// Which shard writes to it.
    pub shard: usize,
    wire: Transport,
    outbox: Mutex<Outbox>,
    waker: AtomicWaker,
    principal: OnceLock<Principal>,
    role: AtomicU8,
    /// Unix milliseconds; [`NEVER`] for a proof that does not lapse.
    expires_at_ms: AtomicI64,
    heard_at: AtomicU32,
    dead: AtomicBool,
    farewell: AtomicBool,
    /// Without the subprotocol: frames go out without siblings.
    bare: AtomicBool,
    pending: Arc<AtomicU32>,
    seat: OnceLock<Seat>,
    shared: Arc<Shared>,
}

/// A request that the hub has not answered. It travels with the request and its answer and counts until it is dropped,
/// on whatever way it ends, a panic of the hub included.
#[derive(Debug, Default)]
pub struct Pending(Option<Arc<AtomicU32>>);

impl Clone for Pending {
    fn clone(&self) -> Self {
        if let Some(count) = &self.0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self(self.0.clone())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// How bytes leave.
#[derive(Debug)]
enum Transport {
    /// Whoever has a frame writes it.
    Tcp(OwnedWriteHalf),
    /// Frames wait to be taken.
    Queued,
}

impl Transport {
    fn tcp(&self) -> io::Result<&OwnedWriteHalf> {
        match self {
            Self::Tcp(half) => Ok(half),
            Self::Queued => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Wire for Transport {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(half), [one]) => half.try_write(one),
            (Self::Tcp(half), many) => half.try_write_vectored(many),
            (Self::Queued, _) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Peer {
    /// A new connection that writes to `half`; counted until dropped. Reading is left to whoever has the other half.
    pub fn new(id: ConnId, shard: usize, half: OwnedWriteHalf, shared: Arc<Shared>) -> Arc<Self> {
        Self::with(id, shard, Transport::Tcp(half), shared)
    }

    /// A new connection whose frames are taken by [`Peer::poll_frames`]; counted until dropped.
    pub fn queued(id: ConnId, shard: usize, shared: Arc<Shared>) -> Arc<Self> {
        Self::with(id, shard, Transport::Queued, shared)
    }

    fn with(id: ConnId, shard: usize, wire: Transport, shared: Arc<Shared>) -> Arc<Self> {
        let heard_at = AtomicU32::new(shared.tick());
        shared.connections.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            id,
            shard,
            wire,
            outbox: Mutex::default(),
            waker: AtomicWaker::new(),
            principal: OnceLock::new(),
            role: AtomicU8::new(Role::Viewer as u8),
            expires_at_ms: AtomicI64::new(NEVER),
            heard_at,
            dead: AtomicBool::new(false),
            farewell: AtomicBool::new(false),
            bare: AtomicBool::new(false),
            pending: Arc::default(),
            seat: OnceLock::new(),
            shared,
        })
    }

    /// It did not ask for the subprotocol: from now on frames go out without siblings.
    pub fn speak_bare(&self) {
        self.bare.store(true, Ordering::Relaxed);
    }

    /// Whether frames go out without siblings.
    pub fn is_bare(&self) -> bool {
        self.bare.load(Ordering::Relaxed)
    }

    /// What of a room's frames this connection gets.
    fn form<'a>(&self, batch: &'a Batch) -> &'a Batch {
        if self.is_bare() { batch.bare() } else { batch }
    }

    /// What of a reply this connection gets.
    fn formed(&self, bytes: Bytes) -> Bytes {
        if self.is_bare() { bare(&bytes) } else { bytes }
    }

    /// Who it is, once authenticated. The role may have changed since: [`Peer::role`].
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.get()
    }

    /// Its user's name; empty before [`Peer::authenticate`].
    pub fn user(&self) -> Arc<str> {
        self.principal().map_or("", |principal| &principal.user_id).into()
    }

    /// What it is now.
    pub fn role(&self) -> Role {
        role_of(self.role.load(Ordering::Relaxed))
    }

    /// Takes a proof of who it is, the first or a newer one of the same user, whose role and time count from now on.
    /// False, and nothing changes, when it is another user's.
    pub fn authenticate(&self, grant: &Grant) -> bool {
        let known = self.principal.get_or_init(|| grant.principal.clone());
        if known.user_id != grant.principal.user_id {
            return false;
        }
        self.role.store(grant.principal.role as u8, Ordering::Relaxed);
        self.expires_at_ms.store(grant.expires_at_ms.unwrap_or(NEVER), Ordering::Relaxed);
        true
    }

    /// When its proof lapses, unix milliseconds.
    pub fn expires_at_ms(&self) -> Option<i64> {
        Some(self.expires_at_ms.load(Ordering::Relaxed)).filter(|at| *at != NEVER)
    }

    /// Whether it may do that now; nobody may before [`Peer::authenticate`].
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn may(&self, action: Action, resource: Resource) -> Result<(), Forbidden> {
        let user_id = self.principal().map_or("", |principal| &principal.user_id);
        authorise_as(user_id, self.role(), action, resource)
    }

    /// Count one more request to the hub; none at the limit `pending_requests`.
    pub fn ask(&self) -> Option<Pending> {
        let most = self.shared.limits.pending_requests;
        let before = self.pending.fetch_add(1, Ordering::Relaxed);
        let pending = Pending(Some(self.pending.clone()));
        (before < most).then_some(pending)
    }

    /// Keep the user's seat for as long as this connection lasts. A further one is given back.
    pub fn sit(self: &Arc<Self>, seat: Seat) {
        if self.seat.set(seat).is_ok()
            && let Some(seat) = self.seat.get()
        {
            seat.register(self);
        }
    }

    /// Whether it has one.
    pub fn is_seated(&self) -> bool {
        self.seat.get().is_some()
    }

    /// The limits and counters.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Frames of a room, written now if nothing waits.
    pub fn deliver(&self, room: ProjectId, batch: &Batch) {
        let after = self.outbox().deliver(&self.wire, &self.shared, room, self.form(batch));
        self.after(after);
    }

    /// A reply, a ping, a pong.
    pub fn control(&self, bytes: Bytes) {
        let after = self.outbox().control(&self.wire, &self.shared, self.formed(bytes));
        self.after(after);
    }

    /// Forget what waits for the room, then reply, then what was missed; in this order, under one lock.
    pub fn enter(&self, room: ProjectId, reply: Bytes, missed: &Batch) {
        let after = {
            let mut outbox = self.outbox();
            outbox.forget_room(&self.shared, room);
            let replied = outbox.control(&self.wire, &self.shared, self.formed(reply));
            let delivered = match replied {
                After::Written | After::Waiting => outbox.deliver(&self.wire, &self.shared, room, self.form(missed)),
                bad => bad,
            };
            replied.max(delivered)
        };
        self.after(after);
    }

    /// Reply to a member that joins again, then what it was not handed yet. Of what waits for the room only events stay.
    pub fn enter_again(&self, room: ProjectId, reply: Bytes, lacking: &Batch) {
        let after = {
            let mut outbox = self.outbox();
            outbox.forget_ephemeral(&self.shared, room);
            let replied = outbox.control(&self.wire, &self.shared, self.formed(reply));
            let delivered = match replied {
                After::Written | After::Waiting => outbox.deliver(&self.wire, &self.shared, room, self.form(lacking)),
                bad => bad,
            };
            replied.max(delivered)
        };
        self.after(after);
    }

    /// Whether the room's stream has a hole.
    pub fn is_broken(&self, room: ProjectId) -> bool {
        self.outbox().is_broken(room)
    }

    /// Forget what waits for the room, then reply.
    pub fn leave(&self, room: ProjectId, reply: Bytes) {
        let after = {
            let mut outbox = self.outbox();
            outbox.forget_room(&self.shared, room);
            outbox.control(&self.wire, &self.shared, self.formed(reply))
        };
        self.after(after);
    }

    /// The room's stream has a hole.
    pub fn break_room(&self, room: ProjectId, reason: &str) {
        let after = self.outbox().break_room(&self.wire, &self.shared, room, reason);
        self.after(after);
    }

    /// Send a close frame; the session ends once it is written and answered, or after a grace.
    pub fn close(&self, code: CloseCode, retry_ms: Option<u64>) {
        let (fresh, after) = {
            let mut outbox = self.outbox();
            let fresh = !outbox.is_closed();
            (fresh, outbox.close(&self.wire, &self.shared, code.number(), &code.reason(retry_ms)))
        };
        if fresh {
            metrics::counter!("tieout_rt_close_total", "code" => code.name()).increment(1);
        }
        self.after(after);
        self.waker.wake();
    }

    /// The answer to the client's close frame; nothing follows it.
    pub fn answer_close(&self, bytes: Bytes) {
        let after = self.outbox().answer_close(&self.wire, &self.shared, bytes);
        self.after(after);
    }

    /// Its client has closed it in order.
    pub fn farewell(&self) {
        self.farewell.store(true, Ordering::Release);
    }

    /// Whether it was.
    pub fn said_farewell(&self) -> bool {
        self.farewell.load(Ordering::Acquire)
    }

    /// End the session now, whatever waits.
    pub fn kill(&self) {
        self.dead.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the session must end.
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Whether a close frame was queued.
    pub fn is_closed(&self) -> bool {
        self.outbox().is_closed()
    }

    /// Milliseconds from when something arrived last until `tick`; 0 when that was after it.
    pub fn silent_ms(&self, tick: u32) -> u32 {
        let silent = tick.wrapping_sub(self.heard_at.load(Ordering::Relaxed));
        if silent > u32::MAX / 2 { 0 } else { silent }
    }

    /// Something arrived.
    pub fn heard(&self) {
        self.heard_at.store(self.shared.tick(), Ordering::Relaxed);
    }

    /// Keep `cx` as the task to wake, and write what waits as far as the socket takes it. True when nothing waits.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> io::Result<bool> {
        self.waker.register(cx.waker());
        loop {
            if self.outbox().is_empty() {
                return Ok(true);
            }
            match self.wire.tcp()?.as_ref().poll_write_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready?,
            }
            self.outbox().flush(&self.wire, &self.shared)?;
        }
    }

    /// Ready when the session must end. Keeps `cx` as the task to wake, as [`Peer::poll_frames`] does.
    pub fn poll_dead(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker.register(cx.waker());
        if self.is_dead() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Of a queued connection: whole frames that wait, in the order a socket would have got them, `most` bytes or one
    /// frame. None once the connection has ended, or its close frame was taken. One task only.
    pub fn poll_frames(&self, cx: &mut Context<'_>, most: usize) -> Poll<Option<Vec<Bytes>>> {
        self.waker.register(cx.waker());
        if self.is_dead() {
            return Poll::Ready(None);
        }
        let mut outbox = self.outbox();
        let frames = outbox.take_frames(&self.shared, most);
        match frames.is_empty() {
            false => Poll::Ready(Some(frames)),
            true if outbox.is_closed() => Poll::Ready(None),
            true => Poll::Pending,
        }
    }

    /// Offer what waits once more, now: before a connection counts as slow it must have had its chance.
    pub fn offer(&self, now: Instant) {
        let after = {
            let mut outbox = self.outbox();
            match &self.wire {
                Transport::Tcp(_) if outbox.flush(&self.wire, &self.shared).is_err() => After::Broken,
                Transport::Tcp(_) => After::Written,
                Transport::Queued if outbox.is_unoffered() => {
                    outbox.begin_anew(now);
                    After::Waiting
                }
                Transport::Queued => After::Written,
            }
        };
        self.after(after);
    }

    /// Look at the outbox.
    pub fn outbox(&self) -> MutexGuard<'_, Outbox> {
        // Every change of an outbox is complete when it could panic; a poisoned one is still whole.
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn after(&self, after: After) {
        match after {
            After::Written => {}
            After::Waiting => self.waker.wake(),
            After::Overrun => self.close_slow(),
            After::Broken => self.kill(),
        }
    }

    /// Close for not reading; 4508.
    pub fn close_slow(&self) {
        self.shared.meters.cut_off.increment(1);
        let retry_ms = rand::random_range(500..5_000);
        self.close(CloseCode::Slow, Some(retry_ms));
    }
}

/// The role that was stored as this number (`Role` as `u8`); a number that none has is the least one.
const fn role_of(number: u8) -> Role {
    match number {
        2 => Role::Owner,
        1 => Role::Reviewer,
        _ => Role::Viewer,
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let shared = self.shared.clone();
        self.outbox().clear(&shared);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
