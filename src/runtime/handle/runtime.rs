//! `Runtime`: supervises, looks up, reports. Starting its threads is left to `builder`, stopping them to `shutdown`. Easy to
//! get wrong: whoever awaits here may be any thread, with or without tokio, so timers come from `Core::sleep`.
use std::{
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use actix::{Actor, Context};

use crate::{
    handle::{
        addr::Addr,
        builder::Builder,
        error::StartError,
        events::Events,
        group::Group,
        health::{Health, RuntimeFailure},
        spec::ChildSpec,
        state::ShutdownReport,
        watch::Watch,
        weak_runtime::WeakRuntime,
    },
    host::shared::Shared,
    sync::primitives::lock,
    thread::core::Core,
    tree::{group_spec::GroupSpec, shutdown, start},
};

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    /// The test kit's runtime has none.
    pub(crate) control: Mutex<Option<JoinHandle<()>>>,
}

impl Inner {
    /// The runtime itself, made known to what its handles share.
    pub(crate) fn new(core: Arc<Core>, control: Option<JoinHandle<()>>) -> Arc<Self> {
        let inner = Arc::new(Self { core, control: Mutex::new(control) });
        let weak: Weak<Self> = Arc::downgrade(&inner);
        // An error would say that it was known before, and it was made here.
        let _ = inner.core.runtime.set(weak);
        inner
    }
}

/// The actor runtime's handle.
///
/// ```
/// use actix::prelude::{Actor, Context, Handler, Message};
/// use tieout_runtime::{ChildSpec, Runtime};
///
/// struct Sum(u64);
/// impl Actor for Sum {
///     type Context = Context<Self>;
/// }
///
/// #[derive(Message)]
/// #[rtype(result = "u64")]
/// struct Add(u64);
/// impl Handler<Add> for Sum {
///     type Result = u64;
///     fn handle(&mut self, Add(n): Add, _: &mut Context<Self>) -> u64 {
///         self.0 += n;
///         self.0
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let rt = Runtime::builder().start()?;
/// let sum = rt.supervise(ChildSpec::new("sum", |_: &mut Context<Sum>| Sum(0))).await?;
/// assert_eq!(sum.ask(Add(2)).await?, 2);
/// assert!(rt.shutdown(std::time::Duration::from_secs(5)).await.clean());
/// # Ok(())
/// # }
/// ```
///
/// When the last clone is dropped without `shutdown`, all actors are ended and the threads told to stop.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

impl Runtime {
    /// A runtime with default settings, to be adjusted and started.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// Starts an actor and awaits its `started()`. A failed first start is not retried: it is the answer.
    ///
    /// Cancel safety: dropping the future before it is ready ends the actor, wherever its start is, and frees its name; what was
    /// sent to it by `lookup` comes back as `Stopped`. The same goes for a panic.
    pub async fn supervise<A: Actor<Context = Context<A>>>(&self, spec: ChildSpec<A>) -> Result<Addr<A>, StartError> {
        start::supervise(&self.inner.core, None, spec).await
    }

    /// Makes an empty group, whose members fail together as its strategy says.
    pub fn group(&self, spec: GroupSpec) -> Result<Group, StartError> {
        start::group(&self.inner.core, None, spec).map(|node| Group { node })
    }

    /// The living actor of this name and type. The address stays valid across its restarts.
    pub fn lookup<A: Actor<Context = Context<A>>>(&self, name: &str) -> Option<Addr<A>> {
        let any = self.inner.core.registry().find(name)?;
        any.downcast::<Shared<A>>().ok().and_then(Addr::another)
    }

    /// A snapshot without I/O; never waits for a handler.
    pub fn health(&self) -> Health {
        let core = &self.inner.core;
        Health {
            thread_alive: core.homes().iter().all(|home| home.arbiter().alive() && !home.has_ended()),
            stalled: lock(&core.stalls).values().next().cloned(),
            failed: core.failed.borrow().clone(),
            leaked_threads: lock(&core.retired).iter().filter(|h| !h.has_ended()).count(),
            lost_threads: core.lost_threads.load(Ordering::Relaxed),
            watchdog_late: core.watchdog_late(),
            stray_panics: core.stray_panics(),
            actors: core.actors().iter().map(|h| h.health()).collect(),
            groups: core.groups().iter().map(|g| g.health()).collect(),
        }
    }

    /// Events from now on; a listener that falls behind is told how many it missed.
    pub fn events(&self) -> Events {
        self.inner.core.listen()
    }

    /// The same runtime, which keeps nothing alive: for actors that start others.
    pub fn downgrade(&self) -> WeakRuntime {
        WeakRuntime::new(&self.inner)
    }

    /// What was escalated to the runtime (`OnExhausted::Escalate` with no group above, `StopProcess`), if anything was. The
    /// runtime goes on with what is left; whoever owns the process awaits this and decides, as `main` may by exiting with an error.
    ///
    /// ```
    /// # use actix::prelude::{Actor, Context, Handler, Message};
    /// # use std::time::Duration;
    /// # use tieout_runtime::{ChildSpec, OnExhausted, Runtime};
    /// # struct Frail;
    /// # impl Actor for Frail { type Context = Context<Self>; }
    /// # #[derive(Message)]
    /// # #[rtype(result = "()")]
    /// # struct Break;
    /// # impl Handler<Break> for Frail {
    /// #     type Result = ();
    /// #     fn handle(&mut self, _: Break, _: &mut Context<Self>) { panic!("broken") }
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let rt = Runtime::builder().start()?;
    /// let spec = ChildSpec::new("frail", |_: &mut Context<Frail>| Frail);
    /// let spec = spec.intensity(0, Duration::from_secs(1)).on_exhausted(OnExhausted::Escalate);
    /// let frail = rt.supervise(spec).await?;
    /// frail.tell(Break).await?;
    /// let failure = rt.failed().wait_for(Option::is_some).await?;
    /// assert_eq!(&*failure.unwrap().name, "frail");
    /// # rt.shutdown(Duration::from_secs(5)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn failed(&self) -> Watch<Option<RuntimeFailure>> {
        Watch::new(&self.inner.core.failed)
    }

    /// Stops every actor and group in reverse start order, a group's members in reverse start order too, each actor draining within its
    /// `stop_timeout` and all within `within`; then joins the threads. It is done once: every other call, before or after its end, waits
    /// for the same report, and the first call's `within` holds for all.
    ///
    /// Cancel safety: from the first poll on it goes to its end whatever becomes of this future; another call gets its report. An
    /// actor may call it: its own future goes with the actor, the shutdown does not. One that awaits it in a reply is waited for until
    /// its `stop_timeout`.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let report = shutdown::run(&self.inner.core, within).await;
        let control = lock(&self.inner.control).take();
        if let Some(control) = control {
            // The report was its last act, so this blocks for microseconds. Its panic would have been logged.
            let _ = control.join();
        }
        report
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        shutdown::abandon(&self.core);
    }
}
