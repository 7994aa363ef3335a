//! State across restarts, as a user says it: the trait, and the specification of an actor that has it. Keeping snapshots is left to
//! `host::recovery`, taking them to `host::snapshots`.
use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use actix::{Actor, Context};

use crate::{
    handle::spec::{ChildSpec, Maker},
    host::recovery::Recovery,
    thread::timer::FOREVER,
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
    /// first after the first period) and at every orderly end, never after a panic, and lent to `build` at every restart and re-homing; without
    /// one `build` gets `None`. What happened since the snapshot is lost: keep in it what can be caught up with. `Addr::last_snapshot` hands
    /// the last one out.
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
                slot: Mutex::default(),
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
