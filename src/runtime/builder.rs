//! What a runtime is started with, and its start. Easy to get wrong: the actix System lives on a control thread that hosts
//! no user actor, so that creating and stopping threads never waits for a handler.
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_rt::System;

use super::{
    core::{Core, Plugs},
    dead::Rejected,
    event::Event,
    home::Home,
    panics,
    shutdown::Threads,
    state::Handled,
    system::{Inner, Runtime},
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
    pub(crate) fn new() -> Self {
        Self {
            name: "actors".to_owned(),
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

    /// Called for every message that was refused and came back to its sender, on the sender's thread; must be quick and must
    /// not panic.
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
        let threads = Threads { control: Some(control), watchdog: Some(watchdog) };
        Ok(Runtime { inner: Arc::new(Inner { core, threads: Mutex::new(Some(threads)), report: Mutex::new(None) }) })
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
        let home = Home::here(0, &system);
        let core = Arc::new(Core::new(self.name, TICK, self.plugs, handle, system, home));
        let threads = Mutex::new(Some(Threads { control: None, watchdog: None }));
        (
            Runtime { inner: Arc::new(Inner { core: core.clone(), threads, report: Mutex::new(None) }) },
            core,
            self.watchdog,
        )
    }
}
