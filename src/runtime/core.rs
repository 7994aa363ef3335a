//! What all handles of one runtime share: clock, registry, events, threads. Easy to get wrong: the clock is coarse (one
//! tick of the watchdog), so deadlines are rounded up by a tick and never fire early.
use std::{
    any::Any,
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_rt::System;
use tokio::{
    sync::{broadcast, watch},
    // std's clock, except under the test kit, where it is the test's virtual one.
    time::Instant as Clock,
};

use super::{
    envelope::Times,
    home::Home,
    host,
    hosted::Hosted,
    spec::OnExhausted,
    state::{Event, Handled, Stall},
};

/// Lifecycle events kept for a slow listener; past it, it is told how many it missed.
const EVENTS_KEPT: usize = 256;

pub(crate) struct Entry {
    pub(crate) hosted: Arc<dyn Hosted>,
    pub(crate) any: Arc<dyn Any + Send + Sync>,
}

#[derive(Default)]
pub(crate) struct Registry {
    /// In start order.
    pub(crate) living: Vec<Entry>,
    pub(crate) by_name: HashMap<Arc<str>, u64>,
    /// Ended, but with handles around: a send that raced with the end is cleaned up by the sweep.
    pub(crate) ended: Vec<Weak<dyn Hosted>>,
}

/// A callback of the owner.
pub(crate) type Callback<T> = Box<dyn Fn(&T) + Send + Sync>;

/// What the owner plugs in.
pub(crate) struct Plugs {
    pub(crate) on_event: Option<Callback<Event>>,
    /// For one message in so many.
    pub(crate) on_handled: Option<(u32, Callback<Handled>)>,
    pub(crate) on_fatal: Callback<str>,
}

pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) tick: Duration,
    started: Clock,
    clock: AtomicU64,
    next_id: AtomicU64,
    registry: Mutex<Registry>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) plugs: Plugs,
    pub(crate) control: tokio::runtime::Handle,
    pub(crate) system: System,
    pub(crate) home: Mutex<Arc<Home>>,
    pub(crate) retired: Mutex<Vec<Arc<Home>>>,
    pub(crate) stall: Mutex<Option<Stall>>,
    pub(crate) failed: watch::Sender<Option<Arc<str>>>,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) closing: AtomicBool,
}

pub(crate) fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under these locks, so a poisoned one is still consistent.
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub(crate) fn new(
        name: String,
        tick: Duration,
        plugs: Plugs,
        control: tokio::runtime::Handle,
        system: System,
        home: Arc<Home>,
    ) -> Self {
        Self {
            name,
            tick,
            started: Clock::now(),
            clock: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            registry: Mutex::new(Registry::default()),
            events: broadcast::Sender::new(EVENTS_KEPT),
            plugs,
            control,
            system,
            home: Mutex::new(home),
            retired: Mutex::new(Vec::new()),
            stall: Mutex::new(None),
            failed: watch::Sender::new(None),
            dead_letters: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn now(&self) -> u64 {
        self.clock.load(Ordering::Relaxed)
    }

    pub(crate) fn set_clock(&self) -> u64 {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.clock.store(now, Ordering::Relaxed);
        now
    }

    /// The limit in coarse milliseconds, rounded up so that no deadline fires early.
    pub(crate) fn coarse(&self, limit: Duration) -> u64 {
        u64::try_from((limit + self.tick).as_millis()).unwrap_or(u64::MAX)
    }

    /// Sent now, to be done within the coarse `limit`.
    pub(crate) fn times(&self, limit: u64) -> Times {
        let sent = self.now();
        Times { sent, deadline: sent.saturating_add(limit), sample: self.sample() }
    }

    /// Now, for every so many messages of a thread.
    fn sample(&self) -> Option<std::time::Instant> {
        thread_local!(static SENT: Cell<u32> = const { Cell::new(0) });
        let (every, _) = self.plugs.on_handled.as_ref()?;
        let n = SENT.try_with(|n| n.replace(n.get().wrapping_add(1))).ok()?;
        n.is_multiple_of(*every).then(std::time::Instant::now)
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        lock(&self.registry)
    }

    /// Every living actor, in start order.
    pub(crate) fn actors(&self) -> Vec<Arc<dyn Hosted>> {
        self.registry().living.iter().map(|e| e.hosted.clone()).collect()
    }

    pub(crate) fn forget(&self, id: u64) {
        let mut registry = self.registry();
        let Some(at) = registry.living.iter().position(|e| e.hosted.id() == id) else { return };
        let entry = registry.living.remove(at);
        registry.by_name.remove(entry.hosted.name());
        registry.ended.push(Arc::downgrade(&entry.hosted));
        drop(registry);
        drop(entry);
    }

    pub(crate) fn emit(&self, event: &Event) {
        if let Some(on_event) = &self.plugs.on_event {
            on_event(event);
        }
        // An error says that nobody listens.
        let _ = self.events.send(event.clone());
    }

    pub(crate) fn dead_letter(&self, actor: &Arc<str>, message: &'static str, reason: &'static str) {
        self.dead_letters.fetch_add(1, Ordering::Relaxed);
        self.emit(&Event::DeadLetter { actor: actor.clone(), message, reason });
    }

    pub(crate) fn exhausted(&self, actor: &Arc<str>, policy: OnExhausted) {
        if policy == OnExhausted::GiveUp {
            log::error!("an actor used up its restarts and stays down actor={actor}");
            return;
        }
        log::error!("an actor used up its restarts actor={actor} policy={policy:?}");
        self.failed.send_replace(Some(actor.clone()));
        self.emit(&Event::Escalated { actor: actor.clone() });
        if host::is_fatal(policy) {
            (self.plugs.on_fatal)(&format!("actor {actor} used up its restarts"));
        }
    }

    /// A timer that works on any thread: of the caller's tokio runtime if there is one, else of the control thread.
    pub(crate) fn sleep(&self, d: Duration) -> tokio::time::Sleep {
        if tokio::runtime::Handle::try_current().is_ok() {
            return tokio::time::sleep(d);
        }
        let _on_control = self.control.enter();
        tokio::time::sleep(d)
    }

    /// The future's output, or `None` past the limit; works on any thread.
    pub(crate) async fn within<F: Future>(&self, limit: Duration, future: F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.sleep(limit) => None,
        }
    }
}
