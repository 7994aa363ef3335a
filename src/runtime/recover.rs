//! State across restarts: a snapshot taken on a schedule in the actor's own turn, kept by the host, given to the next instance.
//! When instances are made is left to `incarnation`. Easy to get wrong: a panic may have torn the state, so none is taken after one;
//! and a snapshot may itself be what makes starts fail, so that it is given up after a few.
use std::{
    any::Any,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use actix::{Actor, ActorFuture, Context};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{
    core::lock,
    shared::Shared,
    spec::{ChildSpec, Maker},
    timer::FOREVER,
};

/// Starts that may fail on one snapshot before it is given up; below the default intensity, so that an empty start is tried.
pub const DEFAULT_SNAPSHOT_TRIES: usize = 2;

/// An actor whose state outlives a restart.
///
/// ```
/// use std::time::Duration;
/// use actix::prelude::{Actor, Context, Handler, Message};
/// use tieout_runtime::{ChildSpec, Recover, Runtime};
///
/// struct Sum(u64);
/// impl Actor for Sum {
///     type Context = Context<Self>;
/// }
/// impl Recover for Sum {
///     type Snapshot = u64;
///     fn snapshot(&self) -> u64 {
///         self.0
///     }
/// }
///
/// #[derive(Message)]
/// #[rtype(result = "u64")]
/// struct Add(u64);
/// impl Handler<Add> for Sum {
///     type Result = u64;
///     fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
///         assert!(n != 13, "unlucky");
///         self.0 += n;
///         self.0
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rt = Runtime::builder().start()?;
/// let every = Duration::from_millis(10);
/// let spec = ChildSpec::recovering("sum", every, |_, last| Sum(last.copied().unwrap_or_default()));
/// let sum = rt.supervise(spec).await?;
/// sum.ask(Add(40)).await?;
/// while rt.health().actors[0].snapshot_age.is_none() {
///     tokio::task::yield_now().await;
/// }
/// assert!(sum.ask(Add(13)).await.is_err(), "it panics");
/// assert_eq!(sum.ask(Add(2)).await?, 42, "and goes on from the snapshot");
/// # rt.shutdown(Duration::from_secs(5)).await;
/// # Ok(())
/// # }
/// ```
pub trait Recover: Actor<Context = Context<Self>> {
    /// What is kept. `Sync`, because it is lent to the factory by reference while the watchdog may have to lend it to
    /// another: a factory that is stuck must not take the only copy with it.
    type Snapshot: Send + Sync + 'static;

    /// Copies what a later instance needs. Part of the actor's turn, so it should be quick; a panic here is a panic of the actor.
    fn snapshot(&self) -> Self::Snapshot;
}

impl<A: Recover> ChildSpec<A> {
    /// An actor called `name` that goes on from its last snapshot. One is taken `every` so often while the actor runs (the
    /// first after the first period), never after a panic, and lent to `build` at every restart and re-homing; without one
    /// `build` gets `None`. What happened since the snapshot is lost: keep in it what can be caught up with.
    ///
    /// A factory of its own rather than an option of [`ChildSpec::new`], whose factory it would replace.
    pub fn recovering(
        name: impl Into<Arc<str>>,
        every: Duration,
        build: impl Fn(&mut Context<A>, Option<&A::Snapshot>) -> A + Send + Sync + 'static,
    ) -> Self {
        Self::made_by(
            name.into(),
            Maker::Recovering(Recovery {
                every: every.clamp(Duration::from_millis(1), FOREVER),
                tries: DEFAULT_SNAPSHOT_TRIES,
                take: Box::new(|actor: &A| Arc::new(actor.snapshot())),
                build: Box::new(move |ctx, kept| build(ctx, kept.and_then(|k| k.downcast_ref()))),
                slot: Mutex::new(Slot { kept: None, failed: VecDeque::new() }),
                taking: AtomicBool::new(false),
            }),
        )
    }

    /// A snapshot on which `tries` starts (1 to 1,000) failed within the intensity's window is given up, reported as
    /// `Event::SnapshotDiscarded`, and the next start goes without. 2 by default; keep it below the intensity.
    pub fn snapshot_tries(mut self, tries: usize) -> Self {
        if let Maker::Recovering(recovery) = &mut self.maker {
            recovery.tries = tries.clamp(1, 1_000);
        }
        self
    }
}

type Kept = Arc<dyn Any + Send + Sync>;

struct Slot {
    kept: Option<(Kept, Instant)>,
    /// When starts from it failed.
    failed: VecDeque<Instant>,
}

/// How an actor is snapshot and rebuilt, and its last snapshot.
pub(crate) struct Recovery<A: Actor<Context = Context<A>>> {
    every: Duration,
    tries: usize,
    take: Box<dyn Fn(&A) -> Kept + Send + Sync>,
    #[allow(clippy::type_complexity)] // named here, used here
    build: Box<dyn Fn(&mut Context<A>, Option<&(dyn Any + Send + Sync)>) -> A + Send + Sync>,
    slot: Mutex<Slot>,
    taking: AtomicBool,
}

impl<A: Actor<Context = Context<A>>> Recovery<A> {
    /// A new instance, and whether it was made from a snapshot.
    pub(crate) fn build(&self, ctx: &mut Context<A>) -> A {
        let kept = lock(&self.slot).kept.as_ref().map(|(kept, _)| kept.clone());
        (self.build)(ctx, kept.as_deref())
    }

    /// The last snapshot's age.
    pub(crate) fn age(&self) -> Option<Duration> {
        lock(&self.slot).kept.as_ref().map(|(_, at)| at.elapsed())
    }

    /// Whether `Recover::snapshot` is running.
    pub(crate) fn taking(&self) -> bool {
        self.taking.load(Ordering::Acquire)
    }

    /// A start failed; the number of those that did if the snapshot is given up for it.
    pub(crate) fn start_failed(&self, window: Duration) -> Option<usize> {
        let now = Instant::now();
        let mut slot = lock(&self.slot);
        slot.kept.as_ref()?;
        slot.failed.push_back(now);
        while slot.failed.front().is_some_and(|t| now.duration_since(*t) >= window) {
            slot.failed.pop_front();
        }
        let failed = slot.failed.len();
        if failed < self.tries {
            return None;
        }
        slot.failed.clear();
        let kept = slot.kept.take();
        drop(slot);
        // A user's value: its destructor may panic, and this is no actor's turn.
        if catch_unwind(AssertUnwindSafe(|| drop(kept))).is_err() {
            log::error!("a destructor panicked while a snapshot was dropped");
        }
        Some(failed)
    }

    /// It runs: what failed before was not the snapshot.
    pub(crate) fn started(&self) {
        lock(&self.slot).failed.clear();
    }
}

/// Takes the snapshots, from inside the actor's own task.
pub(crate) struct Snapshots<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    epoch: u64,
    due: Interval,
}

impl<A: Actor<Context = Context<A>>> Snapshots<A> {
    /// For the instance of `epoch`, if its actor recovers.
    pub(crate) fn new(shared: &Arc<Shared<A>>, epoch: u64) -> Option<Self> {
        let recovery = shared.recovery()?;
        let mut due = tokio::time::interval_at(Instant::now() + recovery.every, recovery.every);
        // After a stall one snapshot is as good as many.
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(Self { shared: shared.clone(), epoch, due })
    }
}

impl<A: Actor<Context = Context<A>>> ActorFuture<A> for Snapshots<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, _: &mut Context<A>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            ready!(this.due.poll_tick(cx));
            let Some(recovery) = this.shared.recovery() else { return Poll::Ready(()) };
            recovery.taking.store(true, Ordering::Release);
            let taken = (recovery.take)(actor);
            recovery.taking.store(false, Ordering::Release);
            let mut slot = lock(&recovery.slot);
            // Looked at under the lock: what a successor has been lent is not replaced by what its zombie took.
            if this.shared.fenced(this.epoch) {
                return Poll::Ready(());
            }
            let before = slot.kept.replace((taken, Instant::now()));
            slot.failed.clear();
            drop(slot);
            drop(before);
        }
    }
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn recovery(&self) -> Option<&Recovery<A>> {
        match &self.maker {
            Maker::Fresh(_) => None,
            Maker::Recovering(recovery) => Some(recovery),
        }
    }

    /// A new instance.
    pub(crate) fn make(&self, ctx: &mut Context<A>) -> A {
        match &self.maker {
            Maker::Fresh(factory) => factory(ctx),
            Maker::Recovering(recovery) => {
                recovery.taking.store(false, Ordering::Release);
                recovery.build(ctx)
            }
        }
    }
}
