//! The realtime layer's limits, and what all its parts share: the byte budget, the clock's origin, the counters.
//!
//! Easy to get wrong: the budget counts bytes that wait, across all connections; whoever drops a connection gives its
//! bytes back ([`crate::actors::sockets::outbox::Outbox::clear`]).
use super::meters::Meters;
use super::presence::PresenceLimits;
use crate::actors::sockets::users::Users;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// What a connection and the whole process may use.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Open WebSockets (`sockets`); past it an upgrade is refused with 503.
    pub sockets: usize,
    /// Rooms per connection (`rooms_per_connection`).
    pub rooms_per_connection: usize,
    /// Sustained messages per second from one connection (`inbound_rate`); 0 is no limit.
    pub inbound_rate: u32,
    /// Messages a connection may send at once (`inbound_burst`).
    pub inbound_burst: u32,
    /// Longest inbound message (`inbound_bytes`).
    pub inbound_bytes: usize,
    /// Longest inbound message before `Auth` (`unauthenticated_bytes`).
    pub unauthenticated_bytes: usize,
    /// Bytes that may wait for one connection (`queue_bytes`).
    pub queue_bytes: usize,
    /// Frames that may wait for one connection (`queue_frames`).
    pub queue_frames: usize,
    /// Bytes that may wait in the process (`queue_budget`).
    pub queue_budget: usize,
    /// How long a client has for `Auth`.
    pub auth_within: Duration,
    /// How long before its proof lapses a connection is told so.
    pub auth_warning: Duration,
    /// How long after its proof has lapsed a connection is closed.
    pub auth_grace: Duration,
    /// Time between protocol pings.
    pub ping_every: Duration,
    /// How long after an unanswered ping the connection counts as dead.
    pub pong_within: Duration,
    /// No write progress for this long: slow.
    pub no_progress: Duration,
    /// Full for this long: slow.
    pub full_for: Duration,
    /// How long a claim lasts unless renewed.
    pub claim_ttl: Duration,
    /// Claims a project may have at once (`claims_per_project`).
    pub claims_per_project: usize,
    /// Connections of one user (`connections_per_user`); the installation's own owner is not counted.
    pub connections_per_user: usize,
    /// Requests of one connection that the hub has not answered (`pending_requests`).
    pub pending_requests: u32,
    /// Longest durable event sent as it is (`outbound_bytes`); a longer one names the URL of its entity instead.
    pub outbound_bytes: usize,
    /// Recent events that a room keeps, by number (`ring_frames`).
    pub ring_frames: usize,
    /// Recent events that a room keeps, by bytes (`ring_bytes`).
    pub ring_bytes: usize,
    /// Recent events that a room keeps, by age (`ring_age`).
    pub ring_age: Duration,
    /// A room is forgotten this long after its last member left (`room_kept`).
    pub room_kept: Duration,
    /// Least time between two progress frames of a job (`progress_every`).
    pub progress_every: Duration,
    /// How presence is collected and shown.
    pub presence: PresenceLimits,
    /// Longest time over which a drain closes connections (`drain_window`).
    pub drain_window: Duration,
    /// Connections that a drain closes per second (`drain_per_second`).
    pub drain_per_second: u32,
    /// Once frames for rooms come faster than this, what comes for live connections is gathered for as long (`gather`);
    /// zero: never.
    pub gather: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets: 20_000,
            rooms_per_connection: 128,
            inbound_rate: 50,
            inbound_burst: 100,
            inbound_bytes: 64 * 1024,
            unauthenticated_bytes: 4 * 1024,
            queue_bytes: 1024 * 1024,
            queue_frames: 1024,
            queue_budget: 256 * 1024 * 1024,
            auth_within: Duration::from_secs(10),
            auth_warning: Duration::from_secs(60),
            auth_grace: Duration::from_secs(25),
            ping_every: Duration::from_secs(25),
            pong_within: Duration::from_secs(10),
            no_progress: Duration::from_secs(5),
            full_for: Duration::from_secs(10),
            claim_ttl: Duration::from_secs(60),
            claims_per_project: 10_000,
            connections_per_user: 20,
            pending_requests: 256,
            outbound_bytes: 256 * 1024,
            ring_frames: 300,
            ring_bytes: 1024 * 1024,
            ring_age: Duration::from_secs(300),
            room_kept: Duration::from_secs(60),
            progress_every: Duration::from_millis(250),
            presence: PresenceLimits::default(),
            drain_window: Duration::from_secs(25),
            drain_per_second: 500,
            gather: Duration::from_millis(2),
        }
    }
}

/// Bytes that wait in all connections together.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), used: AtomicUsize::new(0) }
    }

    pub(crate) fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Relaxed);
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    pub(crate) fn fill(&self) -> f64 {
        self.used() as f64 / self.limit as f64
    }
}

/// What peers, shards and the hub's handle share.
#[derive(Debug)]
pub struct Shared {
    /// The limits.
    pub limits: Limits,
    /// Bytes waiting.
    pub budget: Budget,
    /// Origin of [`Shared::tick`].
    origin: Instant,
    /// Open connections.
    pub connections: AtomicUsize,
    /// Connections that were let in and are not open yet.
    pub arriving: AtomicUsize,
    /// Sockets that are open only to be told why they are closed.
    pub refusing: AtomicUsize,
    /// A connection has ended.
    pub ended: Notify,
    /// Connections by user.
    pub users: Arc<Users>,
    /// No new connections; the ones there are being closed.
    pub draining: AtomicBool,
    /// The other replicas can't be heard.
    pub degraded: AtomicBool,
    /// Counters.
    pub meters: Meters,
    /// Number of the next connection.
    next_conn: AtomicU64,
}

impl Shared {
    /// With these limits and nothing in use.
    pub fn new(limits: Limits) -> Self {
        let budget = Budget::new(limits.queue_budget);
        Self {
            limits,
            budget,
            origin: Instant::now(),
            connections: AtomicUsize::new(0),
            arriving: AtomicUsize::new(0),
            refusing: AtomicUsize::new(0),
            ended: Notify::new(),
            users: Arc::default(),
            draining: AtomicBool::new(false),
            degraded: AtomicBool::new(false),
            meters: Meters::default(),
            // A range of its own: connections of several replicas meet in rooms, and none may take another's words
            // for its own.
            next_conn: AtomicU64::new((u64::from(rand::random::<u32>()) << 31) + 1),
        }
    }

    /// Milliseconds since the process's realtime layer began; wraps after 49 days, so compare by wrapping difference.
    pub fn tick(&self) -> u32 {
        self.origin.elapsed().as_millis() as u32
    }

    pub(crate) fn next_conn(&self) -> u64 {
        self.next_conn.fetch_add(1, Relaxed)
    }
}
