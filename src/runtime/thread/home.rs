//! The thread that hosts actors: an actix Arbiter plus what the watchdog and the shutdown need to know of it. Easy to get
//! wrong: std has no timed join, so the thread signals its end from a thread-local destructor. The test kit hosts on the
//! caller's own thread (`Thread::Callers`); what elsewhere ends with a thread ends there with the zombie's turn.
use std::{
    cell::{Cell, RefCell},
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

#[cfg(feature = "test-kit")]
use actix_rt::System;
use actix_rt::{Arbiter, ArbiterHandle};
use tokio::{runtime::Handle, sync::watch};

use crate::thread::panics;

/// Why actors leave their thread for a fresh one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Move {
    /// It was stuck for so long.
    Stuck(Duration),
    /// It ended, and nobody of the runtime told it to.
    Lost,
}

/// How long a fresh thread may take to come up.
const THREAD_START_LIMIT: Duration = Duration::from_secs(10);

/// One hosting thread.
pub(crate) struct Home {
    pub(crate) id: u64,
    /// Which of the runtime's threads it is; its successor has the same.
    pub(crate) slot: usize,
    arbiter: ArbiterHandle,
    thread: Thread,
    /// Given up by the watchdog: what its actors still send is refused.
    retired: Arc<AtomicBool>,
    /// Told to end.
    told: AtomicBool,
    /// Which actor's turn it is; 0 for none.
    current: AtomicU64,
    /// Changes with every turn and every message. One writer, the thread itself.
    beat: AtomicU64,
    /// A ping through the thread's own task queue has not come back.
    pinged: Arc<AtomicBool>,
    ended: watch::Receiver<bool>,
    /// As the operating system's tools show it.
    thread_name: OnceLock<String>,
}

/// Whose thread it is.
enum Thread {
    /// Ours, to be joined.
    Own(Mutex<Option<Arbiter>>),
    /// The test's, which also runs the test: several homes share it, and it is theirs only during an actor's turn.
    #[cfg(feature = "test-kit")]
    Callers(watch::Sender<bool>),
}

#[cfg(feature = "test-kit")]
thread_local! {
    /// During a turn on `Thread::Callers`: whether its home is retired.
    static TURN: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

thread_local! {
    static HERE: RefCell<Option<EndSignal>> = const { RefCell::new(None) };
    static CURRENT: Cell<u64> = const { Cell::new(0) };
    /// Spares all other threads a look at `HERE`.
    static HOSTING: Cell<bool> = const { Cell::new(false) };
}

struct EndSignal {
    home: Arc<Home>,
    ended: watch::Sender<bool>,
}

impl Drop for EndSignal {
    fn drop(&mut self) {
        self.ended.send_replace(true);
    }
}

impl Home {
    /// A fresh thread, made by the control thread, which knows the System; blocks until it is up.
    pub(crate) fn start(slot: usize, id: u64, control: &Handle) -> io::Result<Arc<Self>> {
        let (tx, rx) = std::sync::mpsc::sync_channel(1);
        control.spawn(async move {
            // The receiver is gone only when the limit below has passed.
            let _ = tx.send(Arbiter::try_new());
        });
        let arbiter = rx.recv_timeout(THREAD_START_LIMIT).map_err(io::Error::other)??;
        let (ended_tx, ended) = watch::channel(false);
        let handle = arbiter.handle();
        let home = Arc::new(Self::new(slot, id, handle, Thread::Own(Mutex::new(Some(arbiter))), ended));
        let here = home.clone();
        home.arbiter.spawn_fn(move || {
            // An error would say that it was set before, and this runs once.
            let _ = here.thread_name.set(std::thread::current().name().unwrap_or_default().to_owned());
            panics::note_on_this_thread();
            HOSTING.with(|h| h.set(true));
            HERE.with(|h| *h.borrow_mut() = Some(EndSignal { home: here, ended: ended_tx }));
        });
        Ok(home)
    }

    /// A home on the calling thread, which runs `system`.
    #[cfg(feature = "test-kit")]
    pub(crate) fn here(slot: usize, id: u64, system: &System) -> Arc<Self> {
        panics::note_on_this_thread();
        let (ended_tx, ended) = watch::channel(false);
        Arc::new(Self::new(slot, id, system.arbiter().clone(), Thread::Callers(ended_tx), ended))
    }

    fn new(slot: usize, id: u64, arbiter: ArbiterHandle, thread: Thread, ended: watch::Receiver<bool>) -> Self {
        Self {
            id,
            slot,
            arbiter,
            thread,
            retired: Arc::new(AtomicBool::new(false)),
            told: AtomicBool::new(false),
            current: AtomicU64::new(0),
            beat: AtomicU64::new(0),
            pinged: Arc::new(AtomicBool::new(false)),
            ended,
            thread_name: OnceLock::new(),
        }
    }

    /// The home that follows this one when it is given up.
    pub(crate) fn successor(&self, id: u64, control: &Handle) -> io::Result<Arc<Self>> {
        match &self.thread {
            Thread::Own(_) => Self::start(self.slot, id, control),
            #[cfg(feature = "test-kit")]
            Thread::Callers(_) => Ok(Self::here(self.slot, id, &System::current())),
        }
    }

    pub(crate) fn arbiter(&self) -> &ArbiterHandle {
        &self.arbiter
    }

    pub(crate) fn enter(&self, actor: u64) {
        #[cfg(feature = "test-kit")]
        if let Thread::Callers(_) = &self.thread {
            TURN.with(|t| *t.borrow_mut() = Some(self.retired.clone()));
        }
        CURRENT.with(|c| c.set(actor));
        self.current.store(actor, Ordering::Relaxed);
        self.beat();
    }

    pub(crate) fn leave(&self) {
        CURRENT.with(|c| c.set(0));
        self.current.store(0, Ordering::Relaxed);
        self.beat();
        #[cfg(feature = "test-kit")]
        if let Thread::Callers(ended) = &self.thread {
            TURN.with(|t| *t.borrow_mut() = None);
            if self.retired.load(Ordering::Acquire) {
                ended.send_replace(true);
            }
        }
    }

    pub(crate) fn beat(&self) {
        self.beat.store(self.beat.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// (whose turn, beat); read by the watchdog.
    pub(crate) fn pulse(&self) -> (u64, u64) {
        (self.current.load(Ordering::Relaxed), self.beat.load(Ordering::Relaxed))
    }

    /// Sends a ping unless one is under way. It finds what no actor's turn accounts for, e.g. a reply future that blocks.
    pub(crate) fn ping(&self) {
        if !self.pinged.swap(true, Ordering::AcqRel) {
            let pinged = self.pinged.clone();
            self.arbiter.spawn_fn(move || pinged.store(false, Ordering::Release));
        }
    }

    /// Whether the last ping has come back.
    pub(crate) fn answers(&self) -> bool {
        !self.pinged.load(Ordering::Acquire)
    }

    /// Gives the thread up: whatever its actors still do is refused.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
        #[cfg_attr(not(feature = "test-kit"), allow(irrefutable_let_patterns))]
        if let Thread::Own(_) = &self.thread {
            // Heard when the stuck handler returns, if it does.
            self.arbiter.stop();
        }
    }

    /// Whether the runtime told the thread to end.
    pub(crate) fn is_told(&self) -> bool {
        self.told.load(Ordering::Acquire)
    }

    /// Whether it is on its way out although nobody of the runtime told it to: a handler stopped its Arbiter or the System.
    pub(crate) fn is_lost(&self) -> bool {
        !self.arbiter.alive() && !self.is_told() && !self.retired.load(Ordering::Acquire)
    }

    /// Tells the thread to end, after what it is doing now.
    pub(crate) fn stop(&self) {
        self.told.store(true, Ordering::Release);
        match &self.thread {
            Thread::Own(_) => {
                self.arbiter.stop();
            }
            // Whoever stops it runs on this thread, so nothing else does.
            #[cfg(feature = "test-kit")]
            Thread::Callers(ended) => {
                ended.send_replace(true);
            }
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        // The sender is gone without a word when the thread was told to end before its first task.
        *self.ended.borrow() || self.ended.has_changed().is_err()
    }

    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.clone()
    }

    /// Joins the thread if it has ended.
    pub(crate) fn join(&self) -> bool {
        if !self.has_ended() {
            return false;
        }
        #[cfg_attr(not(feature = "test-kit"), allow(irrefutable_let_patterns))]
        if let Thread::Own(thread) = &self.thread
            && let Some(thread) = thread.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // It has run its last destructor; an error would be a panic, which the guard has caught and logged.
            let _ = thread.join();
        }
        true
    }

    pub(crate) fn label(&self) -> String {
        // Without a name it was told to end before its first task.
        self.thread_name.get().cloned().unwrap_or_else(|| format!("actors-{}", self.id))
    }
}

/// The actor whose turn it is on this thread; 0 for none.
pub(crate) fn current_actor() -> u64 {
    CURRENT.try_with(Cell::get).unwrap_or(0)
}

/// Whether this thread was given up by the watchdog.
pub(crate) fn on_retired_thread() -> bool {
    #[cfg(feature = "test-kit")]
    if TURN.try_with(|t| t.borrow().as_ref().is_some_and(|r| r.load(Ordering::Acquire))).unwrap_or(false) {
        return true;
    }
    // A plain thread-local without destructor first: this is asked for every message sent.
    if !HOSTING.try_with(Cell::get).unwrap_or(false) {
        return false;
    }
    HERE.try_with(|h| h.try_borrow().is_ok_and(|h| h.as_ref().is_some_and(|h| h.home.retired.load(Ordering::Acquire))))
        .unwrap_or(false)
}
