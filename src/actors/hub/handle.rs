//! The handle of the realtime layer: publish, progress, claims, connections, drain.
//!
//! Starts the hub and its shards, at once or when the first connection comes; callers never see which. What it does for
//! rooms is in `publishing`, for connections in `connections`. Easy to get wrong: [`Realtime::publish`] must not fail its
//! caller, whose change is committed: what can't be handed over now is read from the store by the hub later.
use super::Hub;
use super::actor::Base;
use super::error::{ClaimError, RealtimeError, unanswered};
use super::options::{Mode, Options};
use crate::actors::history::Reader;
use crate::actors::replicas;
use crate::actors::replicas::{Answerer, Asked, Comparing, Mesh};
use crate::actors::rooms::messages::{ClaimEntity, Count, Counts, PanicNow, ReleaseEntity, RoomView, StallNow, View};
use crate::actors::rooms::{Claim, Limits, Shared};
use crate::actors::sockets::commands::ShardCommand;
use crate::actors::sockets::shard::Shard;
use crate::actors::sockets::workers::Workers;
use crate::cluster::ReplicaId;
use crate::db::Store;
use crate::db::postgres::wakeups::Wakeups;
use crate::protocol::ids::ProjectId;
use crate::runtime::{Addr, AskError, Backoff, ChildSpec, Mailbox, OnExhausted, Restart, Runtime};
use std::{sync::Arc, time::Duration};
use tokio::sync::OnceCell;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Messages the hub's mailbox holds; past it a publish is left to the store and a request is refused as unavailable.
pub const HUB_MAILBOX: usize = 65_536;

#[derive(Debug)]
pub(super) struct Started {
    pub(super) hub: Addr<Hub>,
    pub(super) workers: Workers,
}

pub(super) struct Inner {
    pub(super) mode: Mode,
    pub(super) runtime: Runtime,
    pub(super) base: Arc<Base>,
    pub(super) started: OnceCell<Started>,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Realtime(pub(super) Arc<Inner>);

impl Realtime {
    /// Start the layer in `mode`. Must be called on the application's tokio runtime, which reads the store; live
    /// connections have threads of their own.
    ///
    /// # Errors
    /// In mode `On`, when the hub or a thread does not start.
    pub async fn start(mode: Mode, runtime: &Runtime, store: Store, options: Options) -> Result<Self, RealtimeError> {
        let tasks = TaskTracker::new();
        let reader = Reader::new(store.clone(), tokio::runtime::Handle::current(), tasks.clone());
        let (waker, heard) = options.wakeups.map(|Wakeups { waker, heard }| (waker, heard)).unzip();
        let mesh = Arc::new(Mesh::new(options.relay, options.mesh, waker));
        let shared = Arc::new(Shared::new(options.limits));
        let base = Arc::new(Base::new(options.threads, shared, reader, mesh.clone()));
        let stop = CancellationToken::new();
        if mode != Mode::Off {
            tasks.spawn(replicas::send(mesh, stop.clone()));
            tasks.spawn(replicas::live(base.clone(), stop.clone()));
            tasks.spawn(replicas::receive(base.clone(), stop.clone()));
            tasks.spawn(Comparing::new(base.clone(), store, heard).run(stop.clone()));
        }
        let started = OnceCell::new();
        let this = Self(Arc::new(Inner { mode, runtime: runtime.clone(), base, started, tasks, stop }));
        if mode == Mode::On {
            this.0.started.get_or_try_init(|| this.launch()).await?;
        }
        Ok(this)
    }

    async fn launch(&self) -> Result<Started, RealtimeError> {
        let base = self.0.base.clone();
        let spec = ChildSpec::new("hub", move |_: &mut actix::Context<Hub>| Hub::new(base.clone()))
            .restart(Restart::Permanent)
            // Short pauses, or failures in a row would never come up to the intensity.
            .backoff(Backoff {
                first: Duration::from_millis(20),
                max: Duration::from_millis(500),
                ..Backoff::default()
            })
            .intensity(20, Duration::from_secs(60))
            // A server without its hub answers and shows nothing: better one that ends, says why and is started again.
            .on_exhausted(OnExhausted::Escalate)
            .mailbox(Mailbox::bounded(HUB_MAILBOX));
        let hub = self.0.runtime.supervise(spec).await?;
        let hub = self.0.base.addr.get_or_init(|| hub).clone();
        let shared = &self.0.base.shared;
        let shards = self.0.base.queues.iter().enumerate();
        let shards = shards.map(|(index, queue)| Shard::new(index, queue.clone(), shared.clone(), hub.clone()));
        let workers = Workers::start(shards.collect(), &self.0.tasks, &self.0.stop)?;
        Ok(Started { hub, workers })
    }

    pub(super) async fn hub(&self) -> Result<&Addr<Hub>, RealtimeError> {
        if self.0.mode == Mode::Off {
            return Err(RealtimeError::Off);
        }
        let started = self.0.started.get_or_try_init(|| self.launch()).await?;
        Ok(&started.hub)
    }

    pub(super) fn running(&self) -> Option<&Addr<Hub>> {
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

    /// Claim `entity_id` for `user`. Granted to exactly one caller until released or lapsed.
    ///
    /// # Errors
    /// [`crate::actors::rooms::ClaimRefused::AlreadyClaimed`] names the holder.
    pub async fn claim(&self, project: ProjectId, entity_id: &str, user: &str) -> Result<Claim, ClaimError> {
        let ask = ClaimEntity { project, entity_id: entity_id.to_string(), user: user.into() };
        let answer = self.hub().await?.ask(ask).await.map_err(unanswered)?;
        Ok(answer?)
    }

    /// Release what `user` holds.
    ///
    /// # Errors
    /// [`crate::actors::rooms::ClaimRefused::NotHeld`].
    pub async fn release(&self, project: ProjectId, entity_id: &str, user: &str) -> Result<(), ClaimError> {
        let ask = ReleaseEntity { project, entity_id: entity_id.to_string(), user: user.into() };
        let answer = self.hub().await?.ask(ask).await.map_err(unanswered)?;
        Ok(answer?)
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

    /// Who this is among the replicas.
    pub fn replica(&self) -> ReplicaId {
        self.0.base.mesh.relay.replica()
    }

    /// How questions of other replicas are answered here; given once.
    pub fn answer_others(&self, answerer: Answerer) {
        self.0.base.mesh.answer_with(answerer);
    }

    /// Ask the replica with this mark.
    pub async fn ask_one(&self, of: u64, question: String) -> Asked {
        self.0.base.mesh.ask_one(of, question).await
    }

    /// Make one shard panic; for test hooks only.
    pub fn inject_shard_panic(&self) {
        self.0.base.queues[0].push(ShardCommand::PanicNow);
    }

    /// Make the hub panic; for test hooks only.
    ///
    /// # Errors
    /// When there is no hub.
    pub async fn inject_panic(&self) -> Result<(), RealtimeError> {
        let hub = self.hub().await?;
        hub.tell(PanicNow).await.map_err(|error| unanswered(AskError::from(error)))
    }

    /// Makes the hub block its thread for as long as this, for tests.
    ///
    /// # Errors
    /// As [`Realtime::inject_panic`].
    pub async fn inject_stall(&self, for_: Duration) -> Result<(), RealtimeError> {
        let hub = self.hub().await?;
        hub.tell(StallNow(for_)).await.map_err(|error| unanswered(AskError::from(error)))
    }
}
