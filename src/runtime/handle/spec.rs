//! How an actor is to be run: factory, restart policy, mailbox, deadlines. Plain data; `policy` computes with it, `host`
//! acts on it; how to keep state is in `recover`, how groups are run in `group`. Easy to get wrong: the factory runs again for every restart, so it must not consume what it captured.
use std::{sync::Arc, time::Duration};

use actix::{Actor, Context};
use tokio::sync::Semaphore;

use crate::host::recovery::Recovery;

/// When an actor that ended comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Always, after a panic and after `ctx.stop()`.
    Permanent,
    /// After a panic only.
    Transient,
    /// Never.
    Temporary,
}

/// The pause before a restart: doubles with each failure in a row, with jitter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the first restart.
    pub first: Duration,
    /// The longest.
    pub max: Duration,
    /// Share of the pause that is random, 0.0 to 1.0.
    pub jitter: f64,
    /// After this long without failure the next pause is `first` again.
    pub reset_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            max: Duration::from_secs(10),
            jitter: 0.2,
            reset_after: Duration::from_secs(60),
        }
    }
}

/// What happens when an actor fails more often than its intensity allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// It stays down; everything else goes on.
    GiveUp,
    /// Its group fails with it, as if the group had used up its own restarts; outside of a group, the runtime is marked
    /// failed (`Runtime::failed`, `Health::failed`) and the owner decides.
    Escalate,
    /// The builder's `on_fatal` is called, which ends the process unless it was replaced.
    StopProcess,
}

/// What happens to a message when the mailbox is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// `ask` and `tell` wait for room until their deadline; `try_tell` is refused.
    Wait,
    /// The new message is refused and comes back.
    Reject,
    /// The oldest waiting message makes room; an asker gets it back as `MailboxFull`.
    DropOldest,
    /// The new message is dropped and counted; a tell succeeds, an ask gets `MailboxFull`.
    DropNewest,
}

/// The mailbox's bound and what happens past it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mailbox {
    pub(crate) capacity: usize,
    pub(crate) overflow: Overflow,
}

impl Mailbox {
    /// At most `capacity` (at least 1, at most some 2^60) waiting messages, counted over all senders.
    pub fn bounded(capacity: usize) -> Self {
        Self { capacity: capacity.clamp(1, Semaphore::MAX_PERMITS), overflow: Overflow::Wait }
    }

    /// What happens past the bound; `Wait` by default.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }
}

/// Messages a mailbox holds unless `mailbox()` says otherwise; past it senders wait.
pub const DEFAULT_MAILBOX: usize = 1024;

pub(crate) type Factory<A> = Arc<dyn Fn(&mut Context<A>) -> A + Send + Sync>;

/// How instances are made.
pub(crate) enum Maker<A: Actor<Context = Context<A>>> {
    Fresh(Factory<A>),
    Recovering(Recovery<A>),
}

/// A supervised actor's description, handed to `Runtime::supervise`.
pub struct ChildSpec<A: Actor<Context = Context<A>>> {
    pub(crate) name: Arc<str>,
    pub(crate) maker: Maker<A>,
    pub(crate) policy: Policy,
    /// It was given an intensity of its own, which a group respects.
    pub(crate) own_intensity: bool,
    pub(crate) mailbox: Mailbox,
    pub(crate) limits: Limits,
}

/// The restart policy's parameters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) restart: Restart,
    pub(crate) backoff: Backoff,
    pub(crate) max_failures: usize,
    pub(crate) window: Duration,
    pub(crate) on_exhausted: OnExhausted,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restart: Restart::Permanent,
            backoff: Backoff::default(),
            max_failures: 5,
            window: Duration::from_secs(30),
            on_exhausted: OnExhausted::GiveUp,
        }
    }
}

/// An actor's deadlines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) start: Duration,
    pub(crate) stop: Duration,
    pub(crate) ask: Duration,
}

impl<A: Actor<Context = Context<A>>> ChildSpec<A> {
    /// An actor called `name` (unique among the living), built by `factory` at every start and restart.
    pub fn new(name: impl Into<Arc<str>>, factory: impl Fn(&mut Context<A>) -> A + Send + Sync + 'static) -> Self {
        Self::made_by(name.into(), Maker::Fresh(Arc::new(factory)))
    }

    pub(crate) fn made_by(name: Arc<str>, maker: Maker<A>) -> Self {
        Self {
            name,
            maker,
            policy: Policy::default(),
            own_intensity: false,
            mailbox: Mailbox::bounded(DEFAULT_MAILBOX),
            limits: Limits {
                start: Duration::from_secs(10),
                stop: Duration::from_secs(5),
                ask: Duration::from_secs(5),
            },
        }
    }

    /// When it comes back; `Permanent` by default.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.policy.restart = restart;
        self
    }

    /// The pause before a restart.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.policy.backoff = backoff;
        self
    }

    /// At most `restarts` restarts within any `window`; failed starts count. 5 in 30 s by default. In a group the group's
    /// intensity counts alone, unless this one is given: then it holds as well. More than 1,000 restarts are counted to a
    /// thousandth of `window`.
    pub fn intensity(mut self, restarts: usize, window: Duration) -> Self {
        self.own_intensity = true;
        self.policy.max_failures = restarts;
        self.policy.window = window;
        self
    }

    /// What happens past the intensity; `GiveUp` by default.
    pub fn on_exhausted(mut self, on_exhausted: OnExhausted) -> Self {
        self.policy.on_exhausted = on_exhausted;
        self
    }

    /// The mailbox; 1024 messages, senders wait, by default.
    pub fn mailbox(mut self, mailbox: Mailbox) -> Self {
        self.mailbox = mailbox;
        self
    }

    /// How long factory and `started()` may take; 10 s by default.
    pub fn start_timeout(mut self, d: Duration) -> Self {
        self.limits.start = d;
        self
    }

    /// How long it may drain at shutdown; 5 s by default.
    pub fn stop_timeout(mut self, d: Duration) -> Self {
        self.limits.stop = d;
        self
    }

    /// The default deadline of an ask; 5 s by default. `Duration::MAX` is none.
    pub fn ask_timeout(mut self, d: Duration) -> Self {
        self.limits.ask = d;
        self
    }
}
