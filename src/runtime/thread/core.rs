//! What all handles of one runtime share: clock, registry, events, threads. Easy to get wrong: the clock is coarse (one
//! tick of the watchdog), so deadlines are rounded up by a tick and never fire early; and callbacks are user code, which may panic, so
//! they are called through `Core::guarded` and under no lock.
use std::{
    any::Any,
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_rt::System;
use tokio::{
    sync::{broadcast, oneshot, watch},
    // std's clock, except under the test kit, where it is the test's virtual one.
    time::Instant as Clock,
};

use crate::{
    handle::{
        event::Event,
        events::Events,
        health::RuntimeFailure,
        spec::{OnExhausted, Placement},
        state::{Handled, ShutdownReport, Stall},
    },
    host::hosted::Hosted,
    mailbox::{
        dead::{DeadLetters, DeadReason, Rejected},
        times::Times,
    },
    sync::{once::Once, primitives::lock},
    thread::{
        agenda::Agenda,
        control::Control,
        cycle::Waits,
        home::Home,
        panics,
        timer::{Timer, Timers},
        watching::Watchdog,
    },
    tree::{
        node::{Member, Node},
        registry::Registry,
    },
};

/// Of actors, groups and homes. One counter for the process, since a thread knows by number alone whose turn it is.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Events of each lane kept for a slow listener; past it, it is told how many it missed.
const EVENTS_KEPT: usize = 256;

/// The watchdog comes by every 25 ms; away for longer than this, it is held up or gone.
pub(crate) const WATCHDOG_LATE: Duration = Duration::from_secs(2);

const ON_EVENT: &str = "on_event";

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
    /// When the watchdog's thread last came by, in milliseconds on `running_since`; 0 where there is none.
    watched: AtomicU64,
    running_since: std::time::Instant,
    registry: Mutex<Registry>,
    /// Actors and groups that belong to no group, by id and so in start order.
    members: Mutex<BTreeMap<u64, Member>>,
    pub(crate) agenda: Agenda,
    /// About supervision.
    events: broadcast::Sender<Event>,
    /// In a lane of their own, since there may be very many.
    letters: broadcast::Sender<Event>,
    /// The runtime's handle, of a type that is above this one.
    pub(crate) runtime: OnceLock<Weak<dyn Any + Send + Sync>>,
    pub(crate) plugs: Plugs,
    pub(crate) control: tokio::runtime::Handle,
    timers: Arc<Timers>,
    pub(crate) system: System,
    /// One per thread; fixed in number.
    pub(crate) homes: Mutex<Vec<Arc<Home>>>,
    /// As many.
    pub(crate) threads: usize,
    /// For actors that are spread: the next one's.
    next_slot: AtomicUsize,
    /// No thread hosts actors any more; changed with `homes` locked.
    pub(crate) unhosted: AtomicBool,
    /// Threads of actors that ended unasked.
    pub(crate) lost_threads: AtomicU64,
    /// Panics of user code outside of any actor's turn.
    stray_panics: AtomicU64,
    pub(crate) retired: Mutex<Vec<Arc<Home>>>,
    /// The stuck handlers, by thread.
    pub(crate) stalls: Mutex<BTreeMap<usize, Stall>>,
    pub(crate) failed: watch::Sender<Option<RuntimeFailure>>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) waits: Arc<Waits>,
    pub(crate) closing: AtomicBool,
    pub(crate) shutdown: Arc<Once<ShutdownReport>>,
    /// The present one is the last; those before were held up by user code. The test kit's runtime has none.
    pub(crate) watchdogs: Mutex<Vec<Watchdog>>,
    /// Ends the control thread, if it is the runtime's own.
    pub(crate) quit: Mutex<Option<oneshot::Sender<ShutdownReport>>>,
}

impl Core {
    pub(crate) fn new(
        name: String,
        tick: Duration,
        plugs: Plugs,
        control: Control,
        homes: Vec<Arc<Home>>,
        shutdown: Arc<Once<ShutdownReport>>,
        quit: Option<oneshot::Sender<ShutdownReport>>,
    ) -> Self {
        let waits = Arc::new(Waits::new(plugs.detect_cycles));
        Self {
            name,
            tick,
            started: Clock::now(),
            clock: AtomicU64::new(0),
            watched: AtomicU64::new(0),
            running_since: std::time::Instant::now(),
            registry: Mutex::new(Registry::default()),
            members: Mutex::default(),
            agenda: Agenda::default(),
            events: broadcast::Sender::new(EVENTS_KEPT),
            letters: broadcast::Sender::new(EVENTS_KEPT),
            runtime: OnceLock::new(),
            plugs,
            control: control.handle,
            timers: control.timers,
            system: control.system,
            threads: homes.len(),
            homes: Mutex::new(homes),
            next_slot: AtomicUsize::new(0),
            unhosted: AtomicBool::new(false),
            lost_threads: AtomicU64::new(0),
            stray_panics: AtomicU64::new(0),
            retired: Mutex::new(Vec::new()),
            stalls: Mutex::default(),
            failed: watch::Sender::new(None),
            dead_letters: DeadLetters::default(),
            waits,
            closing: AtomicBool::new(false),
            shutdown,
            watchdogs: Mutex::new(Vec::new()),
            quit: Mutex::new(quit),
        }
    }

    pub(crate) fn next_id() -> u64 {
        NEXT_ID.fetch_add(1, Ordering::Relaxed)
    }

    fn running_for(&self) -> u64 {
        u64::try_from(self.running_since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The watchdog's thread comes by.
    pub(crate) fn watch_now(&self) {
        self.watched.store(self.running_for().max(1), Ordering::Relaxed);
    }

    /// For how long the watchdog has not come by, if that is too long.
    pub(crate) fn watchdog_late(&self) -> Option<Duration> {
        let last = self.watched.load(Ordering::Relaxed);
        let away = Duration::from_millis(self.running_for().saturating_sub(last));
        (last != 0 && away > WATCHDOG_LATE && !self.closing.load(Ordering::Acquire)).then_some(away)
    }

    pub(crate) fn stray_panics(&self) -> u64 {
        self.stray_panics.load(Ordering::Relaxed)
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
        u64::try_from(limit.saturating_add(self.tick).as_millis()).unwrap_or(u64::MAX)
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

    /// The threads' present homes.
    pub(crate) fn homes(&self) -> Vec<Arc<Home>> {
        lock(&self.homes).clone()
    }

    /// Which thread hosts an actor of this placement.
    pub(crate) fn slot(&self, placement: Placement) -> usize {
        let n = match placement {
            Placement::Spread => self.next_slot.fetch_add(1, Ordering::Relaxed),
            Placement::Thread(n) => n,
        };
        n % self.threads
    }

    /// Every living actor, in start order.
    pub(crate) fn actors(&self) -> Vec<Arc<dyn Hosted>> {
        self.registry().actors()
    }

    pub(crate) fn forget(&self, id: u64) {
        let entry = self.registry().remove(id);
        drop(entry); // outside of the lock
    }

    pub(crate) fn groups(&self) -> Vec<Arc<Node>> {
        self.registry().groups()
    }

    pub(crate) fn forget_group(&self, id: u64) {
        let node = self.registry().remove_group(id);
        drop(node); // outside of the lock
    }

    /// The root of the supervision tree, in start order.
    pub(crate) fn members(&self) -> Vec<Member> {
        lock(&self.members).values().cloned().collect()
    }

    pub(crate) fn add(&self, member: Member) {
        lock(&self.members).insert(member.id(), member);
    }

    pub(crate) fn remove(&self, id: u64) {
        let member = lock(&self.members).remove(&id);
        drop(member); // outside of the lock
    }

    pub(crate) fn emit(&self, event: &Event) {
        if let Some(on_event) = &self.plugs.on_event {
            self.guarded(ON_EVENT, || on_event(event));
        }
        self.send(event);
    }

    /// Past the callback, to those who listen.
    pub(crate) fn send(&self, event: &Event) {
        // Guarded, for it wakes listeners, whose executors are users' too. An error of the channel says that nobody listens.
        let lane = if matches!(event, Event::DeadLetter { .. }) { &self.letters } else { &self.events };
        let _ = panics::catch(|| lane.send(event.clone()));
    }

    pub(crate) fn listen(&self) -> Events {
        Events { supervision: self.events.subscribe(), dead_letters: self.letters.subscribe() }
    }

    /// Runs code of users outside of any actor's turn: a callback, a destructor, a waker. A panic ends here, and is reported.
    pub(crate) fn guarded<T>(&self, place: &'static str, f: impl FnOnce() -> T) -> Option<T> {
        match panics::catch(f) {
            Ok(out) => Some(out),
            Err(text) => {
                self.stray(place, text);
                None
            }
        }
    }

    fn stray(&self, place: &'static str, text: String) {
        self.stray_panics.fetch_add(1, Ordering::Relaxed);
        // The logger is a user's too, and a panic in it has nobody left to hear of it.
        let _ = panics::catch(|| log::error!("user code panicked outside of any actor's turn in={place} panic={text}"));
        let event = Event::StrayPanic { place, text };
        if place != ON_EVENT
            && let Some(on_event) = &self.plugs.on_event
        {
            // The one that panics on this too is counted once.
            let _ = panics::catch(|| on_event(&event));
        }
        self.send(&event);
    }

    pub(crate) fn dead_letter(&self, actor: &Arc<str>, message: &'static str, reason: DeadReason) {
        self.dead_letters.count(reason);
        self.emit(&Event::DeadLetter { actor: actor.clone(), message, reason: reason.name() });
    }

    /// A message was refused and came back.
    pub(crate) fn rejected(&self, actor: &Arc<str>, message: &'static str, reason: &'static str) {
        if let Some(on_rejected) = &self.plugs.on_rejected {
            let rejected = Rejected { actor: actor.clone(), message, reason };
            self.guarded("on_rejected", || on_rejected(&rejected));
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
            self.fatal(&format!("{child} used up its restarts: {cause}"));
        }
    }

    pub(crate) fn fatal(&self, why: &str) {
        self.guarded("on_fatal", || (self.plugs.on_fatal)(why));
    }

    /// A timer that works on any thread.
    pub(crate) fn sleep(&self, d: Duration) -> Timer {
        self.timers.sleep(d)
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
