//! The handle of the realtime layer: publish, progress, claims, connections, drain.
//!
//! Starts the hub and its shards, at once or when the first connection comes; callers never see which. Easy to get
//! wrong: [`Realtime::publish`] must not fail its caller, whose change is committed: what can't be handed over now is
//! read from the store by the hub later.
mod encode;
pub mod history;

use crate::{
    actors::hub::{
        Claim, ClaimRefused, Hub, Limits, Peer, Shared,
        actor::Base,
        jobs::ShardJob,
        messages::{
            Announce, ClaimEntity, Count, Counts, PanicNow, Progress, Publish, ReleaseEntity, Revoke, RoomView, View,
        },
        outbox::{Kind, RoomFrame},
        queue::Queue,
        room::Event,
        shard::Shard,
        users::Seat,
        workers,
    },
    db::{DurableEvent, Store},
    protocol::{
        CloseCode, ServerMessage, Trace,
        ids::{ConnId, JobId, ProjectId},
        principal::{Grant, Principal},
        server::{self, Collaboration, Head, JobProgressUpdate},
    },
    runtime::{Addr, AskError, Backoff, ChildSpec, Mailbox, Restart, Runtime, StartError, State},
};
use history::Reader;
use serde::Deserialize;
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::tcp::OwnedWriteHalf, sync::OnceCell};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Messages the hub's mailbox holds; past it a publish is left to the store and a request is refused as unavailable.
pub const HUB_MAILBOX: usize = 65_536;

/// Whether there is a realtime layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The hub starts with the process.
    #[default]
    On,
    /// The first connection starts it.
    Lazy,
    /// `/ws` answers 503; everything else works.
    Off,
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" => Ok(Self::On),
            "lazy" => Ok(Self::Lazy),
            "off" => Ok(Self::Off),
            other => Err(format!("realtime must be on, lazy or off, not {other:?}")),
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Lazy => "lazy",
            Self::Off => "off",
        })
    }
}

/// Settings of the realtime layer.
#[derive(Clone, Debug)]
pub struct Options {
    /// Fan-out shards; the number of tokio workers serves well.
    pub workers: usize,
    /// Limits of connections and rooms.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(2, usize::from);
        Self { workers, limits: Limits::default() }
    }
}

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

/// How the realtime layer is, without asking the hub.
#[derive(Clone, Debug)]
pub struct RealtimeHealth {
    /// The mode.
    pub mode: Mode,
    /// The hub's state; none before it was started.
    pub hub: Option<State>,
    /// Connections are being closed.
    pub draining: bool,
    /// Open WebSockets.
    pub connections: usize,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}

impl RealtimeHealth {
    /// Whether it does what its mode promises.
    pub fn ok(&self) -> bool {
        match (self.mode, &self.hub) {
            (Mode::Off, _) | (Mode::Lazy, None) => true,
            (_, Some(state)) => matches!(state, State::Running),
            (Mode::On, None) => false,
        }
    }
}

#[derive(Debug)]
struct Started {
    hub: Addr<Hub>,
}

struct Inner {
    mode: Mode,
    runtime: Runtime,
    base: Arc<Base>,
    started: OnceCell<Started>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Realtime(Arc<Inner>);

impl Realtime {
    /// Start the layer in `mode`. Must be called on the application's tokio runtime, whose workers run the shards.
    ///
    /// # Errors
    /// In mode `On`, when the hub does not start.
    pub async fn start(mode: Mode, runtime: &Runtime, store: Store, options: Options) -> Result<Self, StartError> {
        let tasks = TaskTracker::new();
        let reader = Reader::new(store, tokio::runtime::Handle::current(), tasks.clone());
        let shared = Arc::new(Shared::new(options.limits));
        let base = Arc::new(Base::new(options.workers, shared, reader));
        let stop = CancellationToken::new();
        let started = OnceCell::new();
        let this = Self(Arc::new(Inner { mode, runtime: runtime.clone(), base, started, tasks, stop }));
        if mode == Mode::On {
            this.0.started.get_or_try_init(|| this.launch()).await?;
        }
        Ok(this)
    }

    async fn launch(&self) -> Result<Started, StartError> {
        let base = self.0.base.clone();
        let spec = ChildSpec::new("hub", move |_: &mut actix::Context<Hub>| Hub::new(base.clone()))
            .restart(Restart::Permanent)
            .backoff(Backoff { first: Duration::from_millis(20), ..Backoff::default() })
            .intensity(20, Duration::from_secs(60))
            .mailbox(Mailbox::bounded(HUB_MAILBOX));
        let hub = self.0.runtime.supervise(spec).await?;
        let hub = self.0.base.addr.get_or_init(|| hub).clone();
        let shared = &self.0.base.shared;
        let shards = self.0.base.queues.iter().enumerate();
        let shards = shards.map(|(index, queue)| Shard::new(index, queue.clone(), shared.clone(), hub.clone()));
        workers::start(shards.collect(), shared.limits.gather, &self.0.tasks, &self.0.stop);
        Ok(Started { hub })
    }

    async fn hub(&self) -> Result<&Addr<Hub>, RealtimeError> {
        if self.0.mode == Mode::Off {
            return Err(RealtimeError::Off);
        }
        let started = self.0.started.get_or_try_init(|| self.launch()).await?;
        Ok(&started.hub)
    }

    fn running(&self) -> Option<&Addr<Hub>> {
        self.0.started.get().map(|started| &started.hub)
    }

    /// The mode.
    pub fn mode(&self) -> Mode {
        self.0.mode
    }

    /// The limits.
    pub fn limits(&self) -> &Limits {
        &self.0.base.shared.limits
    }

    /// Hand a committed event to the project's room. Never waits and never fails: when the hub can't take it now, it
    /// reads it from the store later. Encodes here, on the caller's thread.
    pub fn publish(&self, event: DurableEvent) {
        metrics::counter!("tieout_rt_publish_total", "kind" => "durable").increment(1);
        let Some(hub) = self.running() else { return };
        let bytes = encode::encode(&event, self.limits().outbound_bytes);
        let ends = ended_job(&event.body);
        let encoded = Event { off: event.off, ts_ms: event.ts_ms, bytes };
        let publish = Publish { project: event.project_id, ep: event.ep.into(), event: encoded, ends };
        if let Err(error) = hub.try_tell(publish) {
            log::warn!("project={} off={} left to the store: {}", event.project_id, event.off, error.code());
            metrics::counter!("tieout_rt_publish_deferred_total").increment(1);
            self.0.base.note_missed(event.project_id);
        }
    }

    /// Says something to whoever is in the room now; nobody else ever hears of it.
    pub fn announce(&self, said: Collaboration<'_>, tr: Option<Trace>) {
        metrics::counter!("tieout_rt_publish_total", "kind" => "collaboration").increment(1);
        let Some(hub) = self.running() else { return };
        let (project, head) = (said.project_id, Head { tr, ..Head::default() });
        let bytes = server::encode(head, &ServerMessage::Collaboration(said));
        let announce = Announce { project, frame: RoomFrame { bytes, kind: Kind::Ephemeral } };
        if let Err(error) = hub.try_tell(announce) {
            log::warn!("project={project} an ephemeral publication was dropped: {}", error.code());
        }
    }

    /// Hand a job's progress to the project's room: at most four a second per job are sent, the newest is kept for
    /// those who join. A terminal update is durable and comes from the store through [`Realtime::publish`] instead.
    pub fn job_progress(&self, update: JobProgressUpdate) {
        let Some(hub) = self.running() else { return };
        let head = Head { ts: Some(unix_ms()), ..Head::default() };
        let bytes = server::encode(head, &ServerMessage::JobProgressUpdate(&update));
        let json = match serde_json::value::to_raw_value(&update) {
            Ok(json) => json.into(),
            Err(error) => return log::error!("job={} progress not encoded: {error}", update.job_id),
        };
        let progress = Progress { project: update.project_id, job: update.job_id, bytes, json };
        if hub.try_tell(progress).is_err() {
            metrics::counter!("tieout_rt_progress_dropped_total").increment(1);
        }
    }

    /// Claim `entity_id` for `user`. Granted to exactly one caller until released or lapsed.
    ///
    /// # Errors
    /// [`ClaimRefused::AlreadyClaimed`] names the holder.
    pub async fn claim(&self, project: ProjectId, entity_id: &str, user: &str) -> Result<Claim, ClaimError> {
        let ask = ClaimEntity { project, entity_id: entity_id.to_string(), user: user.into() };
        let answer = self.hub().await?.ask(ask).await.map_err(unanswered)?;
        Ok(answer?)
    }

    /// Release what `user` holds.
    ///
    /// # Errors
    /// [`ClaimRefused::NotHeld`].
    pub async fn release(&self, project: ProjectId, entity_id: &str, user: &str) -> Result<(), ClaimError> {
        let ask = ReleaseEntity { project, entity_id: entity_id.to_string(), user: user.into() };
        let answer = self.hub().await?.ask(ask).await.map_err(unanswered)?;
        Ok(answer?)
    }

    /// `user` may no longer be in the project's room: its connections there get `ProjectLeft` at once, what was queued for
    /// them is discarded, and its claims are free. Returns how many connections that were.
    ///
    /// # Errors
    /// When the hub does not answer. The caller has taken the right away before, or the user would be back.
    pub async fn revoke(&self, project: ProjectId, user: &str) -> Result<usize, RealtimeError> {
        self.hub().await?.ask(Revoke { project, user: user.into() }).await.map_err(unanswered)
    }

    /// Close every connection of `user` (4403). Returns how many there were.
    pub fn disconnect_user(&self, user: &str) -> usize {
        let peers = self.0.base.shared.users.peers(user);
        peers.iter().for_each(|peer| peer.close(CloseCode::Forbidden, None));
        peers.len()
    }

    /// A place for one more connection of `principal`, to be given to [`Realtime::connect`]. It is free again when it
    /// is dropped, or with its connection.
    ///
    /// # Errors
    /// [`RealtimeError::Limit`] `connections_per_user`.
    pub fn seat(&self, principal: &Principal) -> Result<Seat, RealtimeError> {
        let shared = &self.0.base.shared;
        let most = shared.limits.connections_per_user;
        shared.users.seat(principal, most).ok_or(RealtimeError::Limit("connections_per_user"))
    }

    /// What is live in a project's room; none when nobody is in it and nobody was of late.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn room_snapshot(&self, project: ProjectId) -> Result<Option<RoomView>, RealtimeError> {
        self.hub().await?.ask(View(project)).await.map_err(unanswered)
    }

    /// Rooms and memberships.
    ///
    /// # Errors
    /// When the hub does not answer.
    pub async fn counts(&self) -> Result<Counts, RealtimeError> {
        self.hub().await?.ask(Count).await.map_err(unanswered)
    }

    /// How it is; no I/O, no waiting.
    pub fn health(&self) -> RealtimeHealth {
        let shared = &self.0.base.shared;
        RealtimeHealth {
            mode: self.0.mode,
            hub: self.running().map(|hub| hub.watch().borrow().clone()),
            draining: shared.draining.load(Ordering::Relaxed),
            connections: self.connections(),
            queued_bytes: shared.budget.used(),
        }
    }

    /// Open WebSockets.
    pub fn connections(&self) -> usize {
        self.0.base.shared.connections.load(Ordering::Relaxed)
    }

    /// Whether a new connection would be let in; asked before an upgrade. Starts a lazy hub.
    ///
    /// # Errors
    /// [`RealtimeError`] says why not.
    pub async fn admit(&self) -> Result<(), RealtimeError> {
        self.hub().await?;
        let shared = &self.0.base.shared;
        if shared.draining.load(Ordering::Relaxed) {
            return Err(RealtimeError::Draining);
        }
        if self.connections() >= shared.limits.sockets {
            return Err(RealtimeError::Limit("sockets"));
        }
        Ok(())
    }

    /// Take over the writing end of an upgraded socket, with its user and the seat that was taken for it, or neither
    /// until it authenticates; `bare` when it did not ask for the subprotocol. Whoever calls this must call
    /// [`Realtime::disconnect`] in the end.
    pub fn connect(&self, half: OwnedWriteHalf, known: Option<(Grant, Seat)>, bare: bool) -> Arc<Peer> {
        self.welcome(known, |conn, shard, shared| {
            let peer = Peer::new(conn, shard, half, shared);
            if bare {
                peer.speak_bare();
            }
            peer
        })
    }

    /// A connection whose frames are taken with [`Peer::poll_frames`]. Whoever calls this must call
    /// [`Realtime::disconnect`] in the end.
    pub fn connect_queued(&self, grant: Grant, seat: Seat) -> Arc<Peer> {
        self.welcome(Some((grant, seat)), Peer::queued)
    }

    fn welcome(
        &self,
        known: Option<(Grant, Seat)>,
        make: impl FnOnce(ConnId, usize, Arc<Shared>) -> Arc<Peer>,
    ) -> Arc<Peer> {
        let base = &self.0.base;
        let number = base.shared.next_conn();
        let shard = (number % base.queues.len() as u64) as usize;
        let peer = make(ConnId(number), shard, base.shared.clone());
        if let Some((grant, seat)) = known {
            peer.authenticate(&grant);
            peer.sit(seat);
        }
        base.queues[shard].push(ShardJob::Add(peer.clone()));
        peer
    }

    /// Where the connection's requests to the hub go.
    pub fn requests(&self, peer: &Peer) -> Arc<Queue> {
        self.0.base.queues[peer.shard].clone()
    }

    /// The connection has ended.
    pub fn disconnect(&self, peer: &Peer) {
        self.0.base.queues[peer.shard].push(ShardJob::Remove(peer.id));
    }

    /// Tell all clients to go, close them at random moments within `within` (at most 25 s, and 500 a second), and wait
    /// until they are gone. No new ones are let in. Returns how many were left.
    pub async fn drain(&self, within: Duration) -> usize {
        let shared = &self.0.base.shared;
        shared.draining.store(true, Ordering::Relaxed);
        let per_second = f64::from(shared.limits.drain_per_second.max(1));
        let many = Duration::from_secs_f64(self.connections() as f64 / per_second);
        // What is left of `within` after the window is for the close frames and their answers.
        let window = many.min(shared.limits.drain_window).min(within.mul_f64(0.6));
        for queue in &self.0.base.queues {
            queue.push(ShardJob::Drain { window });
        }
        let deadline = tokio::time::Instant::now() + within;
        let left = loop {
            let ended = shared.ended.notified();
            tokio::pin!(ended);
            // Listening before looking: an end in between is not missed.
            ended.as_mut().enable();
            let left = self.connections();
            metrics::gauge!("tieout_rt_drain_remaining").set(left as f64);
            if left == 0 || tokio::time::timeout_at(deadline, ended).await.is_err() {
                break left;
            }
        };
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(Duration::from_secs(1), self.0.tasks.wait()).await.is_err() {
            log::warn!("{} realtime tasks did not end", self.0.tasks.len());
        }
        left
    }

    /// Make the hub panic; for test hooks only.
    ///
    /// # Errors
    /// When there is no hub.
    pub async fn inject_panic(&self) -> Result<(), RealtimeError> {
        let hub = self.hub().await?;
        hub.tell(PanicNow).await.map_err(|error| unanswered(AskError::from(error)))
    }
}

fn unanswered<M>(error: AskError<M>) -> RealtimeError {
    RealtimeError::Unanswered { text: error.to_string(), retryable: error.retryable() }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// The job that a durable event ends: terminal progress is the only durable progress.
fn ended_job(body: &str) -> Option<JobId> {
    #[derive(Deserialize)]
    struct Job {
        job_id: JobId,
    }
    let json = body.strip_prefix(r#""JobProgressUpdate":"#)?;
    serde_json::from_str::<Job>(json).ok().map(|job| job.job_id)
}
