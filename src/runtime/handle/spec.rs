//! How an actor is to be run: factory, restart policy, mailbox, deadlines. Plain data; `policy` computes with it, `host`
//! acts on it; how to keep state is in `recover`, how groups are run in `group`. Easy to get wrong: the factory runs again for every restart, so it must not consume what it captured.
use std::{error::Error, sync::Arc, time::Duration};

use actix::{Actor, Context};
use futures_util::future::LocalBoxFuture;
use tokio::sync::Semaphore;

use crate::host::recovery::Recovery;

/// When an actor that ended comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
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
#[non_exhaustive]
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

/// Which of the runtime's threads hosts an actor (`Builder::threads`). With one thread it is that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// One after another.
    Spread,
    /// This one, modulo their number: actors with one number share a thread, and reach each other without a wake-up of another.
    Thread(usize),
}

/// Messages a mailbox holds unless `mailbox()` says otherwise; past it senders wait.
pub const DEFAULT_MAILBOX: usize = 1024;

/// Makes an instance, or says why not.
pub(crate) type Factory<A> = Box<dyn Fn(&mut Context<A>) -> Result<A, String> + Send + Sync>;

/// An instance that is being made.
pub(crate) type Making<A> = LocalBoxFuture<'static, Result<A, String>>;

/// The same as a future.
pub(crate) type AsyncFactory<A> = Box<dyn Fn() -> Making<A> + Send + Sync>;

type BoxError = Box<dyn Error + Send + Sync>;

/// An error's text with that of its sources.
fn in_full(error: BoxError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// How instances are made.
pub(crate) enum Maker<A: Actor<Context = Context<A>>> {
    Fresh(Factory<A>),
    Later(AsyncFactory<A>),
    Recovering(Recovery<A>),
}

/// A supervised actor's description, handed to `Runtime::supervise`.
pub struct ChildSpec<A: Actor<Context = Context<A>>> {
    pub(crate) name: Arc<str>,
    /// A number is added to the name, for each start another.
    pub(crate) numbered: bool,
    pub(crate) stops_with_last_handle: bool,
    pub(crate) max_in_flight: usize,
    pub(crate) placement: Placement,
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
        Self::made_by(name.into(), Maker::Fresh(Box::new(move |ctx| Ok(factory(ctx)))))
    }

    /// An actor without a name of its own, as a session or a connection is: it gets the name of its type and a number, `Session#17`, that no
    /// other has. As for restarts, an actor that ends itself by `ctx.stop()` wants `.restart(Restart::Transient)`.
    pub fn anonymous(factory: impl Fn(&mut Context<A>) -> A + Send + Sync + 'static) -> Self {
        let name = std::any::type_name::<A>();
        // `a::b::Session<c::D>` is called `Session`.
        let name = name.split('<').next().unwrap_or(name);
        Self::new(name.rsplit("::").next().unwrap_or(name), factory).numbered()
    }

    /// The same with a factory that may fail: at the first start its error is `supervise`'s (`StartError::Failed`), at a restart it counts
    /// as a failed start.
    ///
    /// ```
    /// # use actix::prelude::{Actor, Context};
    /// # use tieout_runtime::{ChildSpec, Runtime, StartError};
    /// struct Port(u16);
    /// impl Actor for Port {
    ///     type Context = Context<Self>;
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let rt = Runtime::builder().start()?;
    /// let spec = ChildSpec::try_new("port", |_: &mut Context<Port>| "none".parse().map(Port));
    /// assert!(matches!(rt.supervise(spec).await, Err(StartError::Failed { .. })));
    /// # rt.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_new<E: Into<BoxError>>(
        name: impl Into<Arc<str>>,
        factory: impl Fn(&mut Context<A>) -> Result<A, E> + Send + Sync + 'static,
    ) -> Self {
        Self::made_by(name.into(), Maker::Fresh(Box::new(move |ctx| factory(ctx).map_err(|e| in_full(e.into())))))
    }

    /// The same with an asynchronous factory, which may fail too. It runs on the actors' thread, for every instance anew, within the
    /// `start_timeout`; what it awaits holds up no other actor. It has no context: what needs one belongs into `started()`.
    ///
    /// Cancel safety of the factory's future: it is dropped when the start takes too long, its caller goes away, or the actor is stopped or
    /// moved meanwhile.
    ///
    /// ```
    /// # use actix::prelude::{Actor, Context};
    /// # use tieout_runtime::{ChildSpec, Runtime};
    /// # async fn connect() -> Result<u16, std::io::Error> { Ok(7) }
    /// struct Client(u16);
    /// impl Actor for Client {
    ///     type Context = Context<Self>;
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let rt = Runtime::builder().start()?;
    /// let spec = ChildSpec::new_async("client", || async { connect().await.map(Client) });
    /// let client = rt.supervise(spec).await?;
    /// # rt.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new_async<E, F>(name: impl Into<Arc<str>>, factory: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        E: Into<BoxError>,
        F: Future<Output = Result<A, E>> + 'static,
    {
        let make = move || -> Making<A> {
            let making = factory();
            Box::pin(async move { making.await.map_err(|e| in_full(e.into())) })
        };
        Self::made_by(name.into(), Maker::Later(Box::new(make)))
    }

    /// Adds a number to the name that no other actor of the process gets: `session#17`.
    pub fn numbered(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// The actor stops when the last handle to it is dropped: the last `Addr`, `Recipient` or ask under way; it drains first, within its
    /// `stop_timeout`. A look-up and `WeakAddr::upgrade` make handles, while there is one. By default an actor lives until it is stopped, as
    /// a service does. An actor that keeps an `Addr` of itself never stops by this: see `OwnContext::own_addr`.
    pub fn stop_with_last_handle(mut self) -> Self {
        self.stops_with_last_handle = true;
        self
    }

    /// Which of the runtime's threads hosts it, across restarts; `Spread` by default.
    pub fn placement(mut self, placement: Placement) -> Self {
        self.placement = placement;
        self
    }

    /// At most `n` (at least 1) messages are handled whose asynchronous reply is not there yet: past that the mailbox is not read until one
    /// is, so that its bound bounds the work too. Control messages pass. No bound by default.
    pub fn max_in_flight(mut self, n: usize) -> Self {
        self.max_in_flight = n.max(1);
        self
    }

    pub(crate) fn made_by(name: Arc<str>, maker: Maker<A>) -> Self {
        Self {
            name,
            numbered: false,
            stops_with_last_handle: false,
            max_in_flight: usize::MAX,
            placement: Placement::Spread,
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
