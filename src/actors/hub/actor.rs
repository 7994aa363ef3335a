//! The hub as an actor: a thin shell that feeds [`Core`] with messages and time, and carries out what it decides.
//!
//! Reads of the store run as tokio tasks whose result is a message. Easy to get wrong: after every input the outputs
//! must be carried out in their order, and the timer moved if something is due earlier.
use crate::actors::history::Reader;
use crate::actors::replicas::Mesh;
use crate::actors::rooms::claims::{Claim, ClaimRefused, Heard, Now};
use crate::actors::rooms::core::{Core, Given, Output};
use crate::actors::rooms::limits::Shared;
use crate::actors::rooms::messages::{
    Announce, Attach, Beat, BeginClaims, Change, ClaimAsk, ClaimEntity, ClaimTold, ClaimsTold, Count, Counts,
    Disconnect, FromReplica, PanicNow, Positions, Progress, Publish, ReleaseEntity, RenewTold, Revoke, RoomView, Serve,
    StallNow, Told, View, Waiter,
};
use crate::actors::rooms::presence::Memory;
use crate::actors::sockets::queue::Queue;
use crate::protocol::ids::ProjectId;
use crate::runtime::Addr;
use actix::{Actor, AsyncContext, Context, Handler, ResponseFuture, SpawnHandle};
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// How often the hub looks for publishes that did not reach it.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Projects that may be noted as missed; past it, and they are rooms without members, nothing is lost but a check.
const MAX_MISSED: usize = 10_000;

/// What incarnations of the hub have in common.
#[derive(Debug)]
pub struct Base {
    /// The shards' queues.
    pub queues: Vec<Arc<Queue>>,
    /// Limits and counters.
    pub shared: Arc<Shared>,
    /// Presence, handed on.
    pub memory: Memory,
    /// Names this process in the rows of claims.
    pub incarnation: Arc<str>,
    /// The hub's handle, set once it was started.
    pub addr: OnceLock<Addr<Hub>>,
    /// Reads the store.
    pub reader: Reader,
    /// The other replicas.
    pub mesh: Arc<Mesh>,
    generation: AtomicU64,
    missed: Mutex<HashSet<ProjectId>>,
}

impl Base {
    /// For `shards` shards.
    pub fn new(shards: usize, shared: Arc<Shared>, reader: Reader, mesh: Arc<Mesh>) -> Self {
        Self {
            queues: (0..shards.max(1)).map(|_| Arc::default()).collect(),
            shared,
            memory: Memory::default(),
            incarnation: Uuid::new_v4().simple().to_string().into(),
            addr: OnceLock::new(),
            reader,
            mesh,
            generation: AtomicU64::new(0),
            missed: Mutex::default(),
        }
    }

    /// A publish for `project` did not fit the mailbox; the hub will compare with the store.
    pub fn note_missed(&self, project: ProjectId) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.len() < MAX_MISSED {
            missed.insert(project);
        }
    }

    fn take_missed(&self) -> HashSet<ProjectId> {
        std::mem::take(&mut *self.missed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The actor.
pub struct Hub {
    core: Core,
    base: Arc<Base>,
    timer: Option<(Instant, SpawnHandle)>,
    /// Shards to wake once the turn's outputs are all pushed.
    asleep: Vec<bool>,
}

impl Hub {
    /// The next incarnation.
    pub fn new(base: Arc<Base>) -> Self {
        let generation = base.generation.fetch_add(1, Ordering::AcqRel) + 1;
        let users = base.shared.users.clone();
        let heard: Heard = Arc::new(move |user, conn| users.heard(user, conn));
        let limits = base.shared.limits.clone();
        let given = Given {
            limits,
            memory: base.memory.clone(),
            incarnation: base.incarnation.clone(),
            heard,
            replica: base.mesh.relay.replica(),
            mesh: base.mesh.limits.clone(),
        };
        let core = Core::new(generation, base.queues.len(), given, Instant::now());
        let asleep = vec![false; base.queues.len()];
        Self { core, base, timer: None, asleep }
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        self.put_out();
        self.wake_shards();
        self.wind(ctx);
    }

    fn wake_shards(&mut self) {
        for (queue, asleep) in self.base.queues.iter().zip(&mut self.asleep) {
            if std::mem::take(asleep) {
                queue.wake();
            }
        }
    }

    fn put_out(&mut self) {
        let generation = self.core.generation();
        for output in self.core.outputs() {
            match output {
                Output::Shard(shard, job) => self.asleep[shard] |= self.base.queues[shard].push_from(generation, job),
                Output::ReadHead(project, purpose) => self.base.reader.head(&self.base, generation, project, purpose),
                Output::ReadSince(project, from, purpose) => {
                    self.base.reader.since(&self.base, generation, project, from, purpose);
                }
                Output::Follow(project) => self.base.mesh.follow(project),
                Output::Mail(mail) => self.base.mesh.mail(mail),
                Output::Claim(ask) => self.base.reader.claim(&self.base, generation, *ask),
                Output::Renew(project, claims) => self.base.reader.renew(&self.base, project, claims),
            }
        }
    }

    fn count(&self) {
        let counts = self.core.counts();
        metrics::gauge!("tieout_rt_rooms").set(counts.rooms as f64);
        metrics::gauge!("tieout_rt_subscriptions").set(counts.subscriptions as f64);
        metrics::gauge!("tieout_rt_presence_entries").set(counts.presence_entries as f64);
    }

    /// A change of a claim that somebody in this process waits for.
    fn ask(&mut self, project: ProjectId, entity_id: String, user: Arc<str>, change: Change, waiter: Waiter) {
        // A name of its own: no other call renews it, and the process's end does not free it.
        let holder = format!("call-{}", Uuid::new_v4().simple());
        self.core.ask(ClaimAsk { project, entity_id, user, holder, change, waiter }, now(&self.base));
    }

    fn wind(&mut self, ctx: &mut Context<Self>) {
        let Some(due) = self.core.next_due() else { return };
        if let Some((at, handle)) = self.timer {
            if at <= due {
                return;
            }
            ctx.cancel_future(handle);
        }
        let wait = due.saturating_duration_since(Instant::now());
        let handle = ctx.run_later(wait, |hub, ctx| {
            hub.timer = None;
            hub.core.tick(now(&hub.base));
            hub.carry_out(ctx);
        });
        self.timer = Some((due, handle));
    }
}

fn now(base: &Base) -> Now {
    Now { instant: Instant::now(), unix_ms: base.reader.now_ms() }
}

impl Actor for Hub {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.carry_out(ctx);
        ctx.run_interval(CHECK_EVERY, |hub, ctx| {
            for project in hub.base.take_missed() {
                hub.core.check(project);
            }
            hub.carry_out(ctx);
            hub.base.mesh.follow_only(hub.core.many_rooms(), |project| hub.core.has_room(project));
            hub.count();
        });
    }
}

macro_rules! handle {
    ($message:ty, $result:ty, |$hub:ident, $m:ident| $body:expr) => {
        impl Handler<$message> for Hub {
            type Result = $result;
            fn handle(&mut self, $m: $message, ctx: &mut Context<Self>) -> Self::Result {
                let $hub = &mut *self;
                let result = $body;
                self.carry_out(ctx);
                result
            }
        }
    };
}

handle!(Attach, (), |hub, m| hub.core.attach(m, now(&hub.base)));
handle!(Disconnect, (), |hub, m| {
    if hub.base.shared.draining.load(Ordering::Relaxed) {
        hub.core.drains();
    }
    hub.core.disconnect(&m, now(&hub.base));
});
handle!(FromReplica, (), |hub, m| hub.core.hear(m, now(&hub.base)));
handle!(ClaimsTold, (), |hub, m| hub.core.claims_told(m, now(&hub.base)));
handle!(Beat, (), |hub, _m| hub.core.beat());
handle!(Publish, (), |hub, m| hub.core.publish(m, now(&hub.base)));
handle!(Announce, (), |hub, m| hub.core.tell_room(m));
handle!(Progress, (), |hub, m| hub.core.progress(m, now(&hub.base)));
handle!(Told, (), |hub, m| hub.core.told(m, now(&hub.base)));
handle!(ClaimTold, (), |hub, m| hub.core.claim_told(m, now(&hub.base)));
handle!(RenewTold, (), |hub, m| hub.core.renew_told(&m, now(&hub.base)));
handle!(Revoke, usize, |hub, m| hub.core.revoke(&m, now(&hub.base)));

/// What a caller hears when its answer is lost on the way.
const LOST: ClaimRefused = ClaimRefused::Unavailable("the hub has restarted");

impl Handler<ClaimEntity> for Hub {
    type Result = ResponseFuture<Result<Claim, ClaimRefused>>;
    fn handle(&mut self, m: ClaimEntity, ctx: &mut Context<Self>) -> Self::Result {
        let (sender, answer) = oneshot::channel();
        self.ask(m.project, m.entity_id, m.user, Change::Take, Waiter::Claim(sender));
        self.carry_out(ctx);
        Box::pin(async move { answer.await.unwrap_or(Err(LOST)) })
    }
}

impl Handler<ReleaseEntity> for Hub {
    type Result = ResponseFuture<Result<(), ClaimRefused>>;
    fn handle(&mut self, m: ReleaseEntity, ctx: &mut Context<Self>) -> Self::Result {
        let (sender, answer) = oneshot::channel();
        self.ask(m.project, m.entity_id, m.user, Change::Release, Waiter::Release(sender));
        self.carry_out(ctx);
        Box::pin(async move { answer.await.unwrap_or(Err(LOST)) })
    }
}

impl Handler<Serve> for Hub {
    type Result = ();
    fn handle(&mut self, m: Serve, ctx: &mut Context<Self>) {
        let base = self.base.clone();
        let now = now(&base);
        let mut turn = base.queues[m.shard].serve(self.core.generation());
        for request in turn.by_ref() {
            self.core.request(request, now);
            // At once: a later request that panics must not take this one's answer with it.
            self.put_out();
        }
        if turn.more {
            // Behind what others have sent meanwhile. When the mailbox is full the shard's sweep comes back to it.
            let again = base.addr.get().map(|hub| hub.try_tell(Serve { shard: m.shard }));
            if !matches!(again, Some(Ok(()))) {
                base.queues[m.shard].forget_nudge();
            }
        }
        drop(turn);
        self.wake_shards();
        self.wind(ctx);
    }
}

impl Handler<View> for Hub {
    type Result = Option<RoomView>;
    fn handle(&mut self, m: View, _: &mut Context<Self>) -> Self::Result {
        self.core.view(m.0)
    }
}

impl Handler<Count> for Hub {
    type Result = actix::MessageResult<Count>;
    fn handle(&mut self, _: Count, _: &mut Context<Self>) -> Self::Result {
        let counts: Counts = self.core.counts();
        actix::MessageResult(counts)
    }
}

impl Handler<Positions> for Hub {
    type Result = actix::MessageResult<Positions>;
    fn handle(&mut self, _: Positions, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(self.core.positions())
    }
}

impl Handler<BeginClaims> for Hub {
    type Result = actix::MessageResult<BeginClaims>;
    fn handle(&mut self, m: BeginClaims, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(self.core.begin_claims(m.generation, &m.rooms))
    }
}

impl Handler<PanicNow> for Hub {
    type Result = ();
    fn handle(&mut self, _: PanicNow, _: &mut Context<Self>) {
        panic!("asked to panic by a test hook");
    }
}

impl Handler<StallNow> for Hub {
    type Result = ();
    fn handle(&mut self, m: StallNow, _: &mut Context<Self>) {
        std::thread::sleep(m.0);
    }
}
