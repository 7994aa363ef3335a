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
    cycle::Waits,
    dead::{DeadLetters, DeadReason, Rejected},
    envelope::Times,
    event::Event,
    group_node::{Member, Node},
    health::RuntimeFailure,
    home::Home,
    hosted::Hosted,
    spec::OnExhausted,
    state::{Handled, Stall},
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
    /// In start order.
    pub(crate) groups: Vec<Arc<Node>>,
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
    pub(crate) on_rejected: Option<Callback<Rejected>>,
    pub(crate) detect_cycles: bool,
    pub(crate) on_fatal: Callback<str>,
}

pub(crate) struct Core {
    pub(crate) name: String,
    pub(crate) tick: Duration,
    started: Clock,
    clock: AtomicU64,
    next_id: AtomicU64,
    registry: Mutex<Registry>,
    /// Actors and groups that belong to no group, in start order.
    members: Mutex<Vec<Member>>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) plugs: Plugs,
    pub(crate) control: tokio::runtime::Handle,
    pub(crate) system: System,
    pub(crate) home: Mutex<Arc<Home>>,
    pub(crate) retired: Mutex<Vec<Arc<Home>>>,
    pub(crate) stall: Mutex<Option<Stall>>,
    pub(crate) failed: watch::Sender<Option<RuntimeFailure>>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) waits: Waits,
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
        let waits = Waits::new(plugs.detect_cycles);
        Self {
            name,
            tick,
            started: Clock::now(),
            clock: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
            registry: Mutex::new(Registry::default()),
            members: Mutex::new(Vec::new()),
            events: broadcast::Sender::new(EVENTS_KEPT),
            plugs,
            control,
            system,
            home: Mutex::new(home),
            retired: Mutex::new(Vec::new()),
            stall: Mutex::new(None),
            failed: watch::Sender::new(None),
            dead_letters: DeadLetters::default(),
            waits,
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

    pub(crate) fn groups(&self) -> Vec<Arc<Node>> {
        self.registry().groups.clone()
    }

    pub(crate) fn forget_group(&self, id: u64) {
        let mut registry = self.registry();
        let at = registry.groups.iter().position(|g| g.id == id);
        let node = at.map(|at| registry.groups.remove(at));
        drop(registry);
        drop(node);
    }

    /// The root of the supervision tree, in start order.
    pub(crate) fn members(&self) -> Vec<Member> {
        lock(&self.members).clone()
    }

    pub(crate) fn add(&self, member: Member) {
        lock(&self.members).push(member);
    }

    pub(crate) fn remove(&self, id: u64) {
        let mut members = lock(&self.members);
        let at = members.iter().position(|m| m.id() == id);
        let member = at.map(|at| members.remove(at));
        drop(members);
        drop(member);
    }

    pub(crate) fn emit(&self, event: &Event) {
        if let Some(on_event) = &self.plugs.on_event {
            on_event(event);
        }
        // An error says that nobody listens.
        let _ = self.events.send(event.clone());
    }

    pub(crate) fn dead_letter(&self, actor: &Arc<str>, message: &'static str, reason: DeadReason) {
        self.dead_letters.count(reason);
        self.emit(&Event::DeadLetter { actor: actor.clone(), message, reason: reason.name() });
    }

    /// A message was refused and came back.
    pub(crate) fn rejected(&self, actor: &Arc<str>, message: &'static str, reason: &'static str) {
        if let Some(on_rejected) = &self.plugs.on_rejected {
            on_rejected(&Rejected { actor: actor.clone(), message, reason });
        }
    }

    pub(crate) fn ask_cycle(&self, actors: &[Arc<str>]) {
        log::error!("refused an ask that would wait for ever cycle={}", actors.join(" -> "));
        self.emit(&Event::AskCycle { actors: actors.to_vec() });
    }

    /// An actor or a group used up its restarts and no group takes it over: what that means, decided here alone.
    pub(crate) fn exhausted(&self, child: &Arc<str>, policy: OnExhausted, cause: &Arc<str>) {
        log::error!("restarts are used up child={child} policy={policy:?} cause={cause}");
        if policy == OnExhausted::GiveUp {
            return; // it stays down, everything else goes on
        }
        let failure = RuntimeFailure { name: child.clone(), cause: cause.clone() };
        // The first failure is the cause of what follows.
        self.failed.send_if_modified(|f| f.is_none() && f.replace(failure).is_none());
        self.emit(&Event::Escalated { child: child.clone(), to: None, cause: cause.clone() });
        if policy == OnExhausted::StopProcess {
            (self.plugs.on_fatal)(&format!("{child} used up its restarts: {cause}"));
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
