//! One connection as the shards see it: its socket, its outbox under one lock, and when it was last heard.
//!
//! A connection without a socket of its own (server-sent events) has its frames taken by [`Peer::poll_frames`].
//! Parsing what arrives is the session's (`http::ws`). Easy to get wrong: shard and session both write, so every
//! write goes through the outbox's lock, and the socket is owned here, so its descriptor can't be reused under a
//! writer.
use super::{
    limits::Shared,
    outbox::{After, Batch, Outbox, Wire},
};
use crate::protocol::{
    CloseCode,
    ids::{ConnId, ProjectId},
    principal::Principal,
};
use bytes::Bytes;
use futures_util::task::AtomicWaker;
use std::{
    io::{self, IoSlice},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll},
};
use tokio::net::TcpStream;

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
    heard_at: AtomicU32,
    dead: AtomicBool,
    shared: Arc<Shared>,
}

/// How bytes leave.
#[derive(Debug)]
enum Transport {
    /// Whoever has a frame writes it.
    Tcp(TcpStream),
    /// Frames wait to be taken.
    Queued,
}

impl Transport {
    fn tcp(&self) -> io::Result<&TcpStream> {
        match self {
            Self::Tcp(stream) => Ok(stream),
            Self::Queued => Err(io::ErrorKind::Unsupported.into()),
        }
    }
}

impl Wire for Transport {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match (self, slices) {
            (Self::Tcp(stream), [one]) => stream.try_write(one),
            (Self::Tcp(stream), many) => stream.try_write_vectored(many),
            (Self::Queued, _) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl Peer {
    /// A new connection over `stream`; counted until dropped.
    pub fn new(id: ConnId, shard: usize, stream: TcpStream, shared: Arc<Shared>) -> Arc<Self> {
        Self::with(id, shard, Transport::Tcp(stream), shared)
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
            heard_at,
            dead: AtomicBool::new(false),
            shared,
        })
    }

    /// Who it is, once authenticated.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.get()
    }

    /// It is `principal` from now on; a second, different one is refused.
    pub fn authenticate(&self, principal: Principal) -> bool {
        self.principal.get_or_init(|| principal.clone()) == &principal
    }

    /// The limits and counters.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Frames of a room, written now if nothing waits.
    pub fn deliver(&self, room: ProjectId, batch: &Batch) {
        let after = self.outbox().deliver(&self.wire, &self.shared, room, batch);
        self.after(after);
    }

    /// A reply, a ping, a pong.
    pub fn control(&self, bytes: Bytes) {
        let after = self.outbox().control(&self.wire, &self.shared, bytes);
        self.after(after);
    }

    /// Forget what waits for the room, then reply, then what was missed; in this order, under one lock.
    pub fn enter(&self, room: ProjectId, reply: Bytes, missed: &Batch) {
        let after = {
            let mut outbox = self.outbox();
            outbox.forget_room(&self.shared, room);
            match outbox.control(&self.wire, &self.shared, reply) {
                After::Written | After::Waiting => outbox.deliver(&self.wire, &self.shared, room, missed),
                bad => bad,
            }
        };
        self.after(after);
    }

    /// Forget what waits for the room, then reply.
    pub fn leave(&self, room: ProjectId, reply: Bytes) {
        let after = {
            let mut outbox = self.outbox();
            outbox.forget_room(&self.shared, room);
            outbox.control(&self.wire, &self.shared, reply)
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

    /// Milliseconds since something arrived.
    pub fn silent_ms(&self, tick: u32) -> u32 {
        tick.wrapping_sub(self.heard_at.load(Ordering::Relaxed))
    }

    /// Something arrived.
    pub fn heard(&self) {
        self.heard_at.store(self.shared.tick(), Ordering::Relaxed);
    }

    /// Read what has arrived.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wire.tcp()?.try_read(buffer)
    }

    /// Ready when something may have arrived. One task only.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.tcp()?.poll_read_ready(cx)
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
            match self.wire.tcp()?.poll_write_ready(cx) {
                Poll::Pending => return Ok(false),
                Poll::Ready(ready) => ready?,
            }
            self.outbox().flush(&self.wire, &self.shared)?;
        }
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
        metrics::counter!("tieout_rt_slow_total", "action" => "close").increment(1);
        let retry_ms = rand::random_range(500..5_000);
        self.close(CloseCode::Slow, Some(retry_ms));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let shared = self.shared.clone();
        self.outbox().clear(&shared);
        self.shared.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
