//! What the tests of several replicas share: realtime layers in one process, over one store and one bus.
//!
//! Each replica has an actor thread, a hub and sockets of its own. A client's token is its user's name. Easy to get
//! wrong: the store is one process's, so it is exclusive; what depends on that is tested with a database server.
use crate::{
    store_support::TestStore,
    support::postgres::Postgres,
    ws_support::{Client, accept},
};
use serde_json::{Value, json};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tieout::actors::hub::{self, Mode, Realtime};
use tieout::actors::replicas::MeshLimits;
use tieout::actors::replicas::wire::Message;
use tieout::actors::rooms::Limits;
use tieout::cluster::{Fate, LocalBus, Relay, ReplicaId};
use tieout::db::postgres::wakeups;
use tieout::db::{DurableEvent, Options, projects};
use tieout::http::live::ws::Door;
use tieout::protocol::ids::ProjectId;
use tieout::protocol::principal::{Principal, Role};
use tieout::runtime::Runtime;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

/// Replicas over one store and one bus.
pub(crate) struct Replicas {
    pub store: TestStore,
    pub bus: LocalBus,
    pub all: Vec<Replica>,
    /// The store tells the replicas of commits, as one on PostgreSQL does.
    wakes: bool,
}

/// One of them.
pub(crate) struct Replica {
    pub id: ReplicaId,
    pub realtime: Realtime,
    _runtime: Runtime,
    pub address: SocketAddr,
}

/// Short enough for a test, and in the same proportions as the real ones.
pub(crate) fn quick() -> MeshLimits {
    MeshLimits {
        compare_every: Duration::from_secs(600),
        poll_every: Duration::from_millis(200),
        beat_every: Duration::from_millis(200),
        suspect_after: Duration::from_millis(1_500),
        gone_after: Duration::from_millis(3_000),
        degraded_after: Duration::from_millis(100),
        ..MeshLimits::default()
    }
}

/// Without a limit on how fast a test may talk.
pub(crate) fn limits() -> Limits {
    Limits { inbound_rate: 0, ..Limits::default() }
}

impl Replicas {
    pub(crate) async fn start(many: usize) -> Self {
        Self::with(many, quick()).await
    }

    pub(crate) async fn with(many: usize, mesh: MeshLimits) -> Self {
        Self::tuned(many, mesh, limits()).await
    }

    pub(crate) async fn tuned(many: usize, mesh: MeshLimits, limits: Limits) -> Self {
        let (store, bus) = (TestStore::new().await, LocalBus::new());
        let mut this = Self { store, bus, all: Vec::new(), wakes: false };
        this.join_many(many, &mesh, &limits).await;
        this
    }

    /// On a PostgreSQL, whose words they hear.
    pub(crate) async fn over_postgres(many: usize) -> Self {
        let url = Postgres::shared().database().await;
        let store = TestStore::with(|_| Options::postgres(url.parse().expect("an address"))).await;
        let mut this = Self { store, bus: LocalBus::new(), all: Vec::new(), wakes: true };
        this.join_many(many, &quick(), &limits()).await;
        this
    }

    async fn join_many(&mut self, many: usize, mesh: &MeshLimits, limits: &Limits) {
        for n in 0..many {
            let relay = Relay::local(&self.bus, ReplicaId::new(&format!("r{n}")));
            self.join(relay, mesh.clone(), limits.clone()).await;
        }
    }

    /// On relays of whatever kind; the bus is nobody's then.
    pub(crate) async fn over(relays: impl IntoIterator<Item = Relay>) -> Self {
        let mut this = Self { store: TestStore::new().await, bus: LocalBus::new(), all: Vec::new(), wakes: false };
        for relay in relays {
            this.join(relay, quick(), limits()).await;
        }
        this
    }

    /// One more.
    async fn join(&mut self, relay: Relay, mesh: MeshLimits, limits: Limits) {
        let runtime = Runtime::builder().name("mesh-test").start().expect("the runtime starts");
        let id = relay.replica();
        let store = self.store.store.clone();
        let wakeups = if self.wakes { wakeups::start(&store, id.as_str()) } else { None };
        let options = hub::Options { threads: 2, limits, relay, mesh, wakeups };
        let realtime = Realtime::start(Mode::On, &runtime, store, options).await.expect("the hub starts");
        let verify = |token: &str| Ok(Principal { user_id: token.to_owned(), role: Role::Owner }.into());
        let door = Door { realtime: realtime.clone(), tracker: TaskTracker::new(), verify: Arc::new(verify) };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(accept(listener, door, false));
        self.all.push(Replica { id, realtime, _runtime: runtime, address });
    }

    /// When a sign of life has crossed the bus that says somebody is in this room.
    pub(crate) fn beat_with(&self, project: ProjectId) -> impl Future<Output = ()> + use<> {
        let (told, heard) = tokio::sync::oneshot::channel();
        let mut told = Some(told);
        self.bus.interfere(move |message, _| {
            let rooms = match Message::decode(&message.payload) {
                Some((Message::Beat { rooms, .. }, _)) => rooms,
                _ => Vec::new(),
            };
            if rooms.iter().any(|(room, _)| *room == project)
                && let Some(told) = told.take()
            {
                told.send(()).expect("it is waited for");
            }
            Fate::Deliver
        });
        async move { heard.await.expect("the bus lives") }
    }

    pub(crate) async fn project(&self) -> ProjectId {
        projects::create(&self.store.store, "room").await.expect("a project").value.id
    }

    /// Commits an event and publishes it on this replica.
    pub(crate) async fn change(&self, on: usize, project: ProjectId, name: &str) -> u64 {
        let event = self.commit(project, name).await;
        let off = event.off;
        self.all[on].realtime.publish(event);
        off
    }

    /// Commits an event that nobody is told of.
    pub(crate) async fn commit(&self, project: ProjectId, name: &str) -> DurableEvent {
        projects::rename(&self.store.store, project, name).await.expect("renamed").event.expect("an event")
    }

    /// A user's client on this replica.
    pub(crate) async fn client(&self, on: usize, user: &str) -> Client {
        let mut client = Client::open(self.all[on].address).await;
        let known = client.ask("Auth", json!({ "token": user })).await;
        assert_eq!(known["AuthSuccess"]["user_id"], user, "{known}");
        client
    }

    /// The same, in a room; also what it was told there.
    pub(crate) async fn joined(&self, on: usize, user: &str, project: ProjectId) -> (Client, Value) {
        let mut client = self.client(on, user).await;
        let joined = client.join(project, None).await;
        (client, joined)
    }
}
