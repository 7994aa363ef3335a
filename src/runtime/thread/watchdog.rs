//! The watchdog thread: advances the coarse clock, expires asks, finds stuck handlers and lost threads and does what the policy
//! says; moving actors is left to `rehome`. Easy to get wrong: when its own tick came late the machine was busy, not the handler, so that
//! tick gives no verdict; and it drops messages and calls callbacks, which may panic, so every step of a tick is guarded.
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    handle::{event::Event, state::Stall},
    host::hosted::Hosted,
    sync::primitives::lock,
    thread::{
        core::{Core, WATCHDOG_LATE},
        home::Home,
        panics, rehome,
        watching::Watchdog,
    },
    tree::policy::Ledger,
};

/// What the watchdog does about a stuck handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnStall {
    /// Says so: state, event, health, log.
    Report,
    /// Calls the builder's `on_fatal`, which ends the process unless it was replaced.
    FailFast,
    /// Rebuilds all actors of the stuck thread on a fresh one, with the same queues and handles.
    Rehome,
}

/// Watchdogs that may be given up at a time.
const MAX_HELD_UP: usize = 4;

/// Ticks between pings, so that an idle process wakes its actor thread only a few times a second.
const PING_EVERY: u32 = 8;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) after: Duration,
    pub(crate) on_stall: OnStall,
    /// Threads that may be given up before `Rehome` becomes `Report`.
    pub(crate) max_leaked: usize,
}

/// Starts a watchdog, from now on the present one.
pub(crate) fn start(core: &Arc<Core>, settings: Settings) -> std::io::Result<()> {
    let (weak, tick) = (Arc::downgrade(core), core.tick);
    let watchdog = Watchdog::start(format!("{}-watchdog", core.name), move |stop| run(&weak, stop, tick, settings))?;
    core.watch_now();
    lock(&core.watchdogs).push(watchdog);
    Ok(())
}

/// Watches the watchdog, on the control thread: one that is held up by user code is given up for another.
pub(crate) async fn tend(core: Weak<Core>, settings: Settings) {
    loop {
        tokio::time::sleep(WATCHDOG_LATE / 2).await;
        let Some(core) = core.upgrade() else { return };
        if let Some(held_up) = core.watchdog_late() {
            replace(&core, settings, held_up);
        }
    }
}

fn replace(core: &Arc<Core>, settings: Settings, held_up: Duration) {
    {
        let mut watchdogs = lock(&core.watchdogs);
        watchdogs.retain(|watchdog| !watchdog.has_ended());
        if watchdogs.len() > MAX_HELD_UP {
            return; // `Health::watchdog_late` says so
        }
        watchdogs.iter().for_each(Watchdog::stop);
    }
    // Not told to the log and the callback: they may be what holds it up, and this is the thread that is left. Without a thread there is
    // another try at the next look.
    if start(core, settings).is_ok() {
        core.send(&Event::WatchdogReplaced { held_up });
    }
}

struct Suspect {
    home: u64,
    pulse: (u64, u64),
    seen: Instant,
    reported: Option<Stall>,
    /// It was not moved, with so many threads given up then: to be tried again when there are fewer.
    stays: Option<usize>,
}

fn run(core: &Weak<Core>, stop: Arc<AtomicBool>, tick: Duration, settings: Settings) {
    panics::note_on_this_thread();
    let mut rounds = Rounds { stop: stop.clone(), ..Rounds::new(settings) };
    while !stop.load(Ordering::Acquire) {
        thread::park_timeout(tick);
        let Some(core) = core.upgrade() else { return };
        core.watch_now();
        core.guarded("the watchdog", || rounds.tick(&core));
        // It may be the last, with the callbacks in it; then there is nobody left to report to.
        let _ = panics::catch(|| drop(core));
    }
}

/// What the watchdog remembers from tick to tick.
pub(crate) struct Rounds {
    settings: Settings,
    /// One per thread.
    suspects: Vec<Option<Suspect>>,
    last: Instant,
    ticks: u32,
    /// By thread: one that stops all of them at once is found out thread by thread, as the handlers there return.
    losses: Vec<Ledger>,
    /// Another has taken over, or the runtime ends.
    stop: Arc<AtomicBool>,
}

impl Rounds {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            suspects: Vec::new(),
            last: Instant::now(),
            ticks: 0,
            losses: Vec::new(),
            stop: Arc::default(),
        }
    }

    /// One look at everything; due every `core.tick`.
    pub(crate) fn tick(&mut self, core: &Arc<Core>) {
        let now = core.set_clock();
        for hosted in core.agenda.listed() {
            sweep(core, hosted, now);
        }
        if self.stop.load(Ordering::Acquire) {
            return; // it was held up, and verdicts are another's
        }
        self.suspects.resize_with(core.threads, || None);
        if !core.closing.load(Ordering::Acquire) {
            let lost: Vec<_> = core.homes().into_iter().filter(|home| home.is_lost()).collect();
            for home in &lost {
                self.suspects[home.slot] = None;
            }
            self.losses.resize_with(core.threads, Ledger::default);
            rehome::after_loss(core, &lost, &mut self.losses);
        }
        let late = self.last.elapsed() > core.tick * 4 + self.settings.after / 2;
        self.last = Instant::now();
        if late {
            // A stall that was reported stays: only its end takes it back.
            for suspect in &mut self.suspects {
                suspect.take_if(|s| s.reported.is_none());
            }
            return;
        }
        self.ticks = self.ticks.wrapping_add(1);
        for home in core.homes() {
            look(core, &home, &mut self.suspects[home.slot], self.settings, self.ticks.is_multiple_of(PING_EVERY));
        }
    }
}

/// Sweeps one actor, and drops what may be the last handle to it, with its factory.
fn sweep(core: &Core, hosted: Arc<dyn Hosted>, now: u64) {
    core.guarded("(a sweep)", || {
        hosted.sweep(now);
        core.agenda.looked_at(&*hosted);
        drop(hosted);
    });
}

fn look(core: &Arc<Core>, home: &Arc<Home>, suspect: &mut Option<Suspect>, settings: Settings, ping: bool) {
    let pulse = home.pulse();
    let answers = home.answers();
    if answers && ping {
        home.ping();
    }
    let same = !(pulse.0 == 0 && answers) && suspect.as_ref().is_some_and(|s| s.home == home.id && s.pulse == pulse);
    if !same {
        if let Some(stall) = suspect.take().and_then(|s| s.reported) {
            recovered(core, home.slot, stall);
        }
        *suspect = Some(Suspect { home: home.id, pulse, seen: Instant::now(), reported: None, stays: None });
        return;
    }
    let Some(s) = suspect.as_mut() else { return };
    if s.seen.elapsed() < settings.after {
        return;
    }
    let stall = name(core, pulse.0, s.seen.elapsed());
    lock(&core.stalls).insert(home.slot, stall.clone());
    if s.reported.replace(stall.clone()).is_some() {
        if s.stays.is_some_and(|before| given_up(core) < before) && move_or_say(core, home, &stall, settings, s) {
            *suspect = None;
        }
        return;
    }
    log::error!("a handler is stuck actor={} message={} for={:?}", stall.actor, stall.message, stall.for_);
    core.emit(&Event::Stalled(stall.clone()));
    match settings.on_stall {
        OnStall::Report => {}
        OnStall::FailFast => {
            core.fatal(&format!("actor {} has been stuck in {} for {:?}", stall.actor, stall.message, stall.for_))
        }
        OnStall::Rehome => {
            if move_or_say(core, home, &stall, settings, s) {
                *suspect = None;
            }
        }
    }
}

/// Threads that were given up and have not ended.
fn given_up(core: &Core) -> usize {
    // Not joined, for whatever a thread does at its very end would hold up the watchdog.
    let mut retired = lock(&core.retired);
    retired.retain(|h| !h.has_ended());
    retired.len()
}

/// Re-homes; false, said in an event, when it can't be done now.
fn move_or_say(core: &Arc<Core>, home: &Arc<Home>, stall: &Stall, settings: Settings, suspect: &mut Suspect) -> bool {
    let leaked_threads = given_up(core);
    let moved = if leaked_threads >= settings.max_leaked {
        log::error!("not re-homing: {leaked_threads} threads are stuck already limit={}", settings.max_leaked);
        false
    } else {
        rehome::off_stuck(core, home, stall)
    };
    if !moved {
        suspect.stays = Some(leaked_threads);
        core.emit(&Event::NotRehomed { stall: stall.clone(), leaked_threads });
    }
    moved
}

/// Says whose turn it is and marks that actor.
fn name(core: &Core, id: u64, for_: Duration) -> Stall {
    let Some(hosted) = core.registry().get(id) else {
        return Stall { actor: "(task)".into(), message: "(a future outside of any actor's turn)", for_ };
    };
    hosted.stalled(Some(for_));
    let message = hosted.running().unwrap_or("(a factory, started(), a timer or a future)");
    Stall { actor: hosted.name().clone(), message, for_ }
}

fn recovered(core: &Core, slot: usize, stall: Stall) {
    lock(&core.stalls).remove(&slot);
    for hosted in core.actors().into_iter().filter(|hosted| hosted.slot() == slot) {
        hosted.stalled(None);
    }
    log::warn!("a stuck handler returned actor={} message={}", stall.actor, stall.message);
    core.emit(&Event::Recovered(stall));
}
