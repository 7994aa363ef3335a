//! `TestRuntime`: actors, watchdog and test on one thread under tokio's paused clock. Hosting is the very code of `Runtime`
//! on a home that is the calling thread. Easy to get wrong: a tick of the watchdog is always due, so time never runs out of timers; a
//! future that waits for nothing would spin for ever, and is ended at `PATIENCE` of virtual time.
use std::{
    cell::RefCell,
    fmt::Write as _,
    ops::Deref,
    pin::pin,
    rc::Rc,
    sync::{Arc, Mutex, Weak},
    task::{Context as TaskContext, Waker},
    time::Duration,
};

use actix_rt::{System, SystemRunner};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    handle::{builder::Builder, error::StopReason, event::Event, runtime::Runtime, state::State},
    sync::primitives::lock,
    thread::{core::Core, watchdog::Rounds},
};

/// Virtual time after which a future given to `block_on` counts as hung.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Virtual time that the actors have to come to rest in `settle`, and to stop in `assert_clean`.
const REST: Duration = Duration::from_secs(60);

/// Between two looks in `settle`.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Ends kept for `assert_clean`; more would be a test of something else.
const ENDS_KEPT: usize = 1_024;

/// The watchdog of the calling thread.
struct Ticker {
    core: Weak<Core>,
    tick: Duration,
    rounds: RefCell<Rounds>,
}

thread_local! {
    static TICKER: RefCell<Option<Rc<Ticker>>> = const { RefCell::new(None) };
}

impl Ticker {
    fn tick(&self) {
        if let Some(core) = self.core.upgrade() {
            self.rounds.borrow_mut().tick(&core);
        }
    }
}

/// Blocks the calling actor's thread: virtually under a `TestRuntime`, else really.
pub(super) fn block_for(d: Duration) {
    let Some(ticker) = TICKER.with(|t| t.borrow().clone()) else {
        return std::thread::sleep(d);
    };
    let mut left = d;
    while !left.is_zero() {
        let step = left.min(ticker.tick);
        left -= step;
        // The first poll moves the clock; the rest is a yield to other tasks, which a blocked thread does not do.
        let moved = pin!(tokio::time::advance(step)).poll(&mut TaskContext::from_waker(Waker::noop()));
        debug_assert!(moved.is_pending());
        ticker.tick();
    }
}

/// Who ended, and why.
type Ends = Arc<Mutex<Vec<(Arc<str>, StopReason)>>>;

/// What a test says it expects, so that `assert_clean` holds it to that.
#[derive(Default)]
struct Expected {
    ends: Vec<Arc<str>>,
    dead_letters: u64,
}

/// An actor runtime for tests: one thread, virtual time. Dereferences to [`Runtime`].
///
/// What differs from a `Runtime`: time passes only when nothing else can be done, and then jumps; everything runs on the thread that
/// calls [`block_on`](Self::block_on), so a handler that blocks (other than by [`stall`](super::stall)) blocks the test and is not
/// found by the watchdog; `OnStall::Rehome` builds the successor at once, but it takes its first turn when the stuck handler returns.
/// Everything else is the same code.
pub struct TestRuntime {
    // Dropped in this order: the actors end, then their tasks go.
    rt: Runtime,
    watchdog: JoinHandle<()>,
    runner: SystemRunner,
    core: Arc<Core>,
    began: Instant,
    ends: Ends,
    expected: Mutex<Expected>,
}

impl Default for TestRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for TestRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.rt
    }
}

impl TestRuntime {
    /// One with default settings. Not to be called inside tokio: the test is a plain `#[test]`.
    pub fn new() -> Self {
        Self::with(Runtime::builder())
    }

    /// One with these settings, e.g. `Runtime::builder().stall_after(..)`.
    ///
    /// # Panics
    /// If the thread has a `TestRuntime` already.
    pub fn with(builder: Builder) -> Self {
        assert!(TICKER.with(|t| t.borrow().is_none()), "one TestRuntime to a thread");
        let runner = System::with_tokio_rt(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("the process can open one more epoll instance")
        });
        let handle = runner.runtime().tokio_runtime().handle().clone();
        let ends = Ends::default();
        let ends2 = ends.clone();
        let note_end = move |event: &Event| {
            let Event::Stopped { actor, why } = event else { return };
            let mut ends = lock(&ends2);
            if ends.len() < ENDS_KEPT {
                ends.push((actor.clone(), why.clone()));
            }
        };
        let (rt, core, watchdog, began) = runner.block_on(async {
            let (rt, core, settings) = builder.start_here(System::current(), handle, note_end);
            let tick = core.tick;
            let ticker =
                Rc::new(Ticker { core: Arc::downgrade(&core), tick, rounds: RefCell::new(Rounds::new(settings)) });
            TICKER.with(|t| *t.borrow_mut() = Some(ticker.clone()));
            let watchdog = actix_rt::spawn(async move {
                loop {
                    tokio::time::sleep(tick).await;
                    ticker.tick();
                }
            });
            (rt, core, watchdog, Instant::now())
        });
        Self { rt, watchdog, runner, core, began, ends, expected: Mutex::default() }
    }

    /// Runs the test's future, and with it the actors, on this thread.
    ///
    /// # Panics
    /// When it is not done after an hour of virtual time, with the state of every actor.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let done = self.runner.block_on(async { tokio::time::timeout(PATIENCE, future).await });
        done.unwrap_or_else(|_| panic!("still waiting after {PATIENCE:?} of virtual time; {:#?}", self.rt.health()))
    }

    /// Virtual time since the runtime was started.
    pub fn now(&self) -> Duration {
        // Off the runtime tokio's clock is the real one.
        let _inside = self.core.control.enter();
        self.began.elapsed()
    }

    /// Lets virtual time pass: what is due meanwhile happens, in order. Cancel safety: dropping the future only ends the wait.
    pub async fn pass(&self, d: Duration) {
        tokio::time::sleep(d).await;
    }

    /// Waits until no message waits or is being answered, and every living actor is running. Cancel safety: dropping the future only
    /// ends the wait.
    ///
    /// # Panics
    /// When that does not come within a minute of virtual time.
    pub async fn settle(&self) {
        // Only the time slept here counts: a stall may take as long as it likes.
        let mut waited = Duration::ZERO;
        while let Some(busy) = self.unsettled() {
            assert!(waited < REST, "not at rest after {REST:?} of virtual time: {busy}");
            // Due when everything else waits, which is when looking again can help.
            tokio::time::sleep(LOOK_EVERY).await;
            waited += LOOK_EVERY;
        }
    }

    fn unsettled(&self) -> Option<String> {
        self.rt.health().actors.into_iter().find_map(|a| {
            let rests = a.mailbox_depth == 0 && a.replies_in_flight == 0 && a.state == State::Running;
            (!rests).then(|| format!("{a:?}"))
        })
    }

    /// This actor is meant to end otherwise than by request: tells `assert_clean`.
    pub fn expect_end(&self, name: &str) {
        lock(&self.expected).ends.push(name.into());
    }

    /// This many more messages are meant to be lost: tells `assert_clean`.
    pub fn expect_dead_letters(&self, n: u64) {
        lock(&self.expected).dead_letters += n;
    }

    /// The end of a test: the actors come to rest, then the runtime is shut down, and nothing may be amiss: no dead letter, no
    /// reply that never came, no queue with something in it, no actor that ended otherwise than asked, none stuck, none that does not
    /// stop, no thread left.
    ///
    /// # Panics
    /// With everything that is amiss.
    pub fn assert_clean(self) {
        self.block_on(self.settle());
        let health = self.rt.health();
        let report = self.block_on(self.rt.shutdown(REST));
        let expected = std::mem::take(&mut *lock(&self.expected));
        let mut amiss = String::new();
        let mut say = |what: String| {
            // Writing to a String cannot fail.
            let _ = write!(amiss, "\n  {what}");
        };
        if health.stalled.is_some() || health.leaked_threads > 0 {
            say(format!("stuck: {:?}, {} threads given up", health.stalled, health.leaked_threads));
        }
        if let Some(failure) = health.failed.filter(|f| !expected.ends.contains(&f.name)) {
            say(format!("{} used up its restarts and escalated: {}", failure.name, failure.cause));
        }
        for (name, why) in lock(&self.ends).iter() {
            if !matches!(why, StopReason::Requested | StopReason::Finished) && !expected.ends.contains(name) {
                say(format!("{name} ended: {why}"));
            }
        }
        let lost = self.core.dead_letters.total();
        if lost != expected.dead_letters {
            say(format!("{lost} messages were lost, expected {}", expected.dead_letters));
        }
        if !report.clean() {
            say(format!("{report:?}"));
        }
        assert!(amiss.is_empty(), "the runtime is not clean:{amiss}");
    }
}

impl Drop for TestRuntime {
    fn drop(&mut self) {
        self.watchdog.abort();
        TICKER.with(|t| *t.borrow_mut() = None);
    }
}
