//! What a runtime is started with, and its start. Easy to get wrong: the actix System lives on a control thread that hosts
//! no user actor, so that creating and stopping threads never waits for a handler.
use std::{io, sync::Arc, thread::JoinHandle, time::Duration};

#[cfg(feature = "test-kit")]
use actix_rt::System;

#[cfg(feature = "test-kit")]
use crate::thread::timer::Timers;
use crate::{
    handle::{
        event::Event,
        runtime::{Inner, Runtime},
        state::Handled,
    },
    mailbox::dead::Rejected,
    sync::once::Once,
    thread::{
        control::{self, ControlThread},
        core::{Core, Plugs},
        home::Home,
        panics,
        watchdog::{self, OnStall, Settings},
    },
};

/// The watchdog's period, the grain of default deadlines and stall times.
const TICK: Duration = Duration::from_millis(25);

/// Settings of a runtime, from `Runtime::builder`.
pub struct Builder {
    name: String,
    threads: usize,
    watchdog: Settings,
    plugs: Plugs,
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            name: "actors".to_owned(),
            threads: 1,
            watchdog: Settings { after: Duration::from_secs(2), on_stall: OnStall::Report, max_leaked: 4 },
            plugs: Plugs {
                on_event: None,
                on_handled: None,
                on_rejected: None,
                detect_cycles: cfg!(debug_assertions),
                on_fatal: Box::new(|why| {
                    log::error!("the actor runtime ends the process: {why}");
                    std::process::abort();
                }),
            },
        }
    }

    /// Prefix of the names of its control thread and watchdog; "actors" by default. The thread of the actors is named by actix.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// How many threads host actors; one by default, and at least. Where an actor goes is `ChildSpec::placement`'s. A stuck handler stops
    /// the actors of its own thread alone. The test kit's runtime has one.
    pub fn threads(mut self, n: usize) -> Self {
        self.threads = n.max(1);
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

    /// Called on every lifecycle event, on the thread where it happens; must be quick. Its panic is
    /// caught and reported as `Event::StrayPanic`. No lock of the runtime is held.
    pub fn on_event(mut self, f: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.plugs.on_event = Some(Box::new(f));
        self
    }

    /// Called on the actor's thread after one in `every` messages (counted per sending thread), for metrics; must be quick.
    /// As for a panic, see `on_event`.
    pub fn on_handled(mut self, every: u32, f: impl Fn(&Handled) + Send + Sync + 'static) -> Self {
        self.plugs.on_handled = Some((every.max(1), Box::new(f)));
        self
    }

    /// Called for every message that was refused and came back to its sender, on the sender's thread; must be quick.
    /// As for a panic, see `on_event`.
    pub fn on_rejected(mut self, f: impl Fn(&Rejected) + Send + Sync + 'static) -> Self {
        self.plugs.on_rejected = Some(Box::new(f));
        self
    }

    /// Whether an ask that closes a circle of actors waiting for each other is refused (`AskError::Cycle`); by default in debug builds.
    pub fn detect_ask_cycles(mut self, on: bool) -> Self {
        self.plugs.detect_cycles = on;
        self
    }

    /// Called by `OnExhausted::StopProcess` and `OnStall::FailFast`; logs and aborts the process by default.
    pub fn on_fatal(mut self, f: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.plugs.on_fatal = Box::new(f);
        self
    }

    /// Starts the threads. Callable from any thread, inside or outside of tokio; blocks for some hundred microseconds.
    ///
    /// Errors: the operating system gave no thread, or no reactor; what was started by then has ended again.
    pub fn start(self) -> io::Result<Runtime> {
        panics::install();
        let shutdown = Arc::new(Once::new());
        let (control, ControlThread { thread, quit }) = control::start(&self.name, shutdown.clone())?;
        let homes: io::Result<Vec<_>> = (0..self.threads).map(|slot| Home::start(slot, 0, &control.handle)).collect();
        let homes = match homes {
            Ok(homes) => homes,
            Err(e) => {
                // Those that were started end with the System.
                drop(quit);
                join(thread);
                return Err(e);
            }
        };
        let core = Arc::new(Core::new(self.name, TICK, self.plugs, control, homes, shutdown, Some(quit)));
        if let Err(e) = watchdog::start(&core, self.watchdog) {
            core.homes().iter().for_each(|home| home.stop());
            drop(core);
            join(thread);
            return Err(e);
        }
        core.control.spawn(watchdog::tend(Arc::downgrade(&core), self.watchdog));
        Ok(Runtime { inner: Inner::new(core, Some(thread)) })
    }

    /// The test kit's way: everything on the calling thread, which runs `system`; the caller is the watchdog. `observe` hears of
    /// every event before the owner's callback.
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
        let home = Home::here(0, 0, &system);
        let control = control::Control { system, timers: Timers::new(handle.clone()), handle };
        let core = Arc::new(Core::new(self.name, TICK, self.plugs, control, vec![home], Arc::new(Once::new()), None));
        (Runtime { inner: Inner::new(core.clone(), None) }, core, self.watchdog)
    }
}

/// Joins a control thread that was told to end.
fn join(thread: JoinHandle<()>) {
    // Its panic would have been logged.
    let _ = thread.join();
}
