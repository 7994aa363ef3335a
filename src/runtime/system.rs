//! `Runtime`: starts and stops the threads, supervises, looks up, reports. Easy to get wrong: the actix System lives on
//! a control thread that hosts no user actor, so that creating and stopping threads never waits for a handler.
use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use actix::{Actor, Context};
use actix_rt::System;
use tokio::{
    sync::{broadcast, oneshot, watch},
    time::Instant,
};

use super::{
    addr::{Addr, wait_stopped},
    core::{Core, Entry, Plugs, lock},
    error::{StartError, StopReason},
    home::Home,
    host, panics,
    shared::{Hosted, Shared},
    spec::ChildSpec,
    state::{Event, Handled, Health, ShutdownReport},
    watchdog::{OnStall, Settings, Watchdog},
};

/// The watchdog's period, the grain of default deadlines and stall times.
const TICK: Duration = Duration::from_millis(25);

/// Settings of a runtime, from `Runtime::builder`.
pub struct Builder {
    name: String,
    watchdog: Settings,
    plugs: Plugs,
}

impl Builder {
    /// Prefix of its threads' names; "actors" by default.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// A handler that runs longer than `after` (2 s by default) is stuck.
    pub fn stall_after(mut self, after: Duration) -> Self {
        self.watchdog.after = after;
        self
    }

    /// What to do about a stuck handler; `Report` by default.
    pub fn on_stall(mut self, on_stall: OnStall) -> Self {
        self.watchdog.on_stall = on_stall;
        self
    }

    /// Threads that `OnStall::Rehome` may give up before it only reports; 4 by default.
    pub fn max_leaked_threads(mut self, n: usize) -> Self {
        self.watchdog.max_leaked = n;
        self
    }

    /// Called on every lifecycle event, on the thread where it happens; must be quick and must not panic.
    pub fn on_event(mut self, f: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.plugs.on_event = Some(Box::new(f));
        self
    }

    /// Called on the actor's thread after one in `every` messages (counted per sending thread), for metrics; must be quick
    /// and must not panic.
    pub fn on_handled(mut self, every: u32, f: impl Fn(&Handled) + Send + Sync + 'static) -> Self {
        self.plugs.on_handled = Some((every.max(1), Box::new(f)));
        self
    }

    /// Called by `OnExhausted::StopProcess` and `OnStall::FailFast`; logs and aborts the process by default.
    pub fn on_fatal(mut self, f: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.plugs.on_fatal = Box::new(f);
        self
    }

    /// Starts the threads. Callable from any thread, inside or outside of tokio; blocks for some hundred microseconds.
    pub fn start(self) -> io::Result<Runtime> {
        panics::install();
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        let control = std::thread::Builder::new().name(format!("{}-control", self.name)).spawn(move || {
            let runner = System::new();
            // The receiver waits below for as long as this thread lives.
            let _ = tx.send((System::current(), runner.runtime().tokio_runtime().handle().clone()));
            if let Err(e) = runner.run() {
                log::error!("the control thread of the actor runtime failed: {e}");
            }
        })?;
        let (system, handle) = rx.recv().map_err(io::Error::other)?;
        let home = Home::start(0, &system)?;
        let core = Arc::new(Core::new(self.name, TICK, self.plugs, handle, system, home));
        let watchdog = Watchdog::start(&core, self.watchdog)?;
        Ok(Runtime::new(core, Threads(Some((control, watchdog)))))
    }

    /// The test kit's way: everything on the calling thread, which runs `system`; the caller is the watchdog.
    #[cfg(feature = "test-kit")]
    pub(crate) fn start_here(
        mut self,
        system: System,
        handle: tokio::runtime::Handle,
        observe: impl Fn(&Event) + Send + Sync + 'static,
    ) -> (Runtime, Arc<Core>, Settings) {
        panics::install();
        let on_event = self.plugs.on_event.take();
        self.plugs.on_event = Some(Box::new(move |event| {
            observe(event);
            if let Some(on_event) = &on_event {
                on_event(event);
            }
        }));
        let home = Home::here(0, &system);
        let core = Arc::new(Core::new(self.name, TICK, self.plugs, handle, system, home));
        (Runtime::new(core.clone(), Threads(None)), core, self.watchdog)
    }
}

/// Control thread and watchdog, unless the caller is both.
struct Threads(Option<(JoinHandle<()>, Watchdog)>);

struct Inner {
    core: Arc<Core>,
    threads: Mutex<Option<Threads>>,
    report: Mutex<Option<ShutdownReport>>,
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
    inner: Arc<Inner>,
}

impl Runtime {
    fn new(core: Arc<Core>, threads: Threads) -> Self {
        Self { inner: Arc::new(Inner { core, threads: Mutex::new(Some(threads)), report: Mutex::new(None) }) }
    }

    /// A runtime with default settings, to be adjusted and started.
    pub fn builder() -> Builder {
        Builder {
            name: "actors".to_owned(),
            watchdog: Settings { after: Duration::from_secs(2), on_stall: OnStall::Report, max_leaked: 4 },
            plugs: Plugs {
                on_event: None,
                on_handled: None,
                on_fatal: Box::new(|why| {
                    log::error!("the actor runtime ends the process: {why}");
                    std::process::abort();
                }),
            },
        }
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

    /// Stops every actor in reverse start order, each draining within its `stop_timeout` and all within `within`; then
    /// joins the threads. Later calls return the first report.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let deadline = Instant::now() + within;
        let core = &self.inner.core;
        let threads = {
            let _registry = core.registry();
            core.closing.store(true, Ordering::Release);
            lock(&self.inner.threads).take()
        };
        let Some(threads) = threads else {
            return lock(&self.inner.report).clone().unwrap_or_default();
        };
        let mut report = ShutdownReport::default();
        for hosted in core.actors().into_iter().rev() {
            hosted.drain();
            let limit = hosted.stop_limit().min(deadline.saturating_duration_since(Instant::now()));
            if wait_stopped(core, &*hosted, limit).await {
                report.drained.push(hosted.name().clone());
            } else {
                hosted.end(StopReason::TimedOut);
                report.timed_out.push(hosted.name().clone());
            }
        }
        report.leaked_threads = threads.stop(core, deadline).await;
        report.dead_letters = core.dead_letters.load(Ordering::Relaxed);
        *lock(&self.inner.report) = Some(report.clone());
        report
    }
}

/// What is left of the deadline for the threads even when the actors used it up.
const JOIN_GRACE: Duration = Duration::from_millis(250);

impl Threads {
    /// Stops and joins; the labels of threads that did not end in time.
    async fn stop(self, core: &Core, deadline: Instant) -> Vec<String> {
        let left = || deadline.saturating_duration_since(Instant::now()).max(JOIN_GRACE);
        let mut leaked = Vec::new();
        let control = if let Some((control, watchdog)) = self.0 {
            watchdog.stop();
            // The watchdog may be in the middle of a re-homing: it must be gone before the threads are counted.
            if core.within(left(), watchdog.ended().wait_for(|e| *e)).await.is_some() {
                watchdog.join();
            } else {
                leaked.push(format!("{}-watchdog", core.name));
            }
            Some(control)
        } else {
            None
        };
        let mut homes = std::mem::take(&mut *lock(&core.retired));
        homes.push(lock(&core.home).clone());
        for home in &homes {
            home.stop();
        }
        for home in homes {
            // An error of the channel means that the sender, and so the thread, is gone.
            core.within(left(), home.ended().wait_for(|e| *e)).await;
            if !home.join() {
                leaked.push(home.label());
            }
        }
        core.system.stop();
        if let Some(control) = control {
            // Blocks for microseconds: the control thread runs nobody's code but actix's. Its panic would have been logged.
            let _ = control.join();
        }
        leaked
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(threads) = lock(&self.threads).take() else { return };
        self.core.closing.store(true, Ordering::Release);
        for hosted in self.core.actors().into_iter().rev() {
            hosted.end(StopReason::ThreadLost);
        }
        if let Some((_, watchdog)) = &threads.0 {
            watchdog.stop();
        }
        lock(&self.core.home).stop();
        self.core.system.stop();
    }
}
