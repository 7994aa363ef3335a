//! `Runtime`: supervises, looks up, reports. Starting its threads is left to `builder`, stopping them to `shutdown`. Easy to
//! get wrong: whoever awaits here may be any thread, with or without tokio, so timers come from `Core::sleep`.
use std::sync::{Arc, Mutex, atomic::Ordering};

use actix::{Actor, Context};
use tokio::sync::{broadcast, oneshot, watch};

use super::{
    addr::Addr,
    builder::Builder,
    core::{Core, Entry, lock},
    error::{StartError, StopReason},
    host,
    hosted::Hosted,
    shared::Shared,
    shutdown::Threads,
    spec::ChildSpec,
    state::{Event, Health, ShutdownReport},
};

pub(crate) struct Inner {
    pub(crate) core: Arc<Core>,
    /// Taken by the first shutdown.
    pub(crate) threads: Mutex<Option<Threads>>,
    pub(crate) report: Mutex<Option<ShutdownReport>>,
}

/// The actor runtime's handle.
///
/// ```
/// use actix::prelude::{Actor, Context, Handler, Message};
/// use tieout::runtime::{ChildSpec, Runtime};
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
    pub async fn supervise<A: Actor<Context = Context<A>>>(&self, spec: ChildSpec<A>) -> Result<Addr<A>, StartError> {
        let core = &self.inner.core;
        let limit = spec.limits.start;
        let shared = Arc::new(Shared::new(core.next_id(), core.clone(), spec));
        let name = shared.name.clone();
        let home = {
            let mut registry = core.registry();
            if core.closing.load(Ordering::Acquire) {
                return Err(StartError::ShuttingDown(name));
            }
            if registry.by_name.contains_key(&name) {
                return Err(StartError::NameTaken(name));
            }
            registry.by_name.insert(name.clone(), shared.id);
            registry.living.push(Entry { hosted: shared.clone(), any: shared.clone() });
            lock(&core.home).clone()
        };
        let (tx, rx) = oneshot::channel();
        host::launch(shared.clone(), 0, &home, Some(tx));
        tokio::select! {
            started = rx => match started {
                Ok(Ok(())) => Ok(Addr { shared }),
                Ok(Err(e)) => Err(e),
                Err(_) => Err(StartError::ShuttingDown(name)),
            },
            () = core.sleep(limit) => {
                shared.end(StopReason::TimedOut);
                Err(StartError::TimedOut { name, after: limit })
            }
        }
    }

    /// The living actor of this name and type. The address stays valid across its restarts.
    pub fn lookup<A: Actor<Context = Context<A>>>(&self, name: &str) -> Option<Addr<A>> {
        let registry = self.inner.core.registry();
        let id = *registry.by_name.get(name)?;
        let any = registry.living.iter().find(|e| e.hosted.id() == id)?.any.clone();
        drop(registry);
        any.downcast::<Shared<A>>().ok().map(|shared| Addr { shared })
    }

    /// A snapshot without I/O; never waits for a handler.
    pub fn health(&self) -> Health {
        let core = &self.inner.core;
        let home = lock(&core.home).clone();
        Health {
            thread_alive: home.arbiter().alive() && !home.has_ended(),
            stalled: lock(&core.stall).clone(),
            failed: core.failed.borrow().clone(),
            leaked_threads: lock(&core.retired).iter().filter(|h| !h.has_ended()).count(),
            actors: core.actors().iter().map(|h| h.health()).collect(),
        }
    }

    /// Lifecycle events from now on; a listener that falls behind is told how many it missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.core.events.subscribe()
    }

    /// The name of the actor whose exhaustion was escalated (`OnExhausted::Escalate`, `StopProcess`), if any.
    pub fn failed(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.inner.core.failed.subscribe()
    }
}
