//! What lies in a mailbox: a message with its reply slot, erased of its type. The slot is the single place that decides
//! the outcome of an ask: reply, error, deadline or withdrawal, whichever comes first. Scheduling is left to `pump`, who may
//! fail an envelope to `shared`. Easy to get wrong: user values must be dropped and wakers woken outside of the lock.
use std::{
    any::Any,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context as TaskContext, Poll, Waker},
    time::{Duration, Instant},
};

use actix::{Actor, Context, Handler, Message, MessageResult, dev::MessageResponse};
use tokio::sync::oneshot;

use super::{
    error::{AbortReason, AskError, PanicInfo, StopReason},
    inbox::Item,
    shared::Shared,
};

/// Why an envelope gets no reply; becomes an `AskError` by whether a handler has seen the message.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    Full,
    Expired { ran_for: Duration },
    Panicked(PanicInfo),
    Stopped(StopReason),
    Aborted(AbortReason),
}

/// A message on its way to an actor of type `A`.
pub(crate) trait Envelope<A: Actor<Context = Context<A>>>: Send + Sync {
    /// The message's type.
    fn message(&self) -> &'static str;
    /// When it was sent and by when it must be done, on the runtime's coarse clock.
    fn times(&self) -> Times;
    /// Hands the message to the actor, unless its asker is gone. `item` is the envelope itself.
    fn run(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>, host: &Arc<Shared<A>>);
    /// A reply that was computed by a future: an `Option` of the message's result.
    fn deliver(&self, value: &mut dyn Any);
    /// Ends it without reply; a no-op when it is done already. True if the message was still waiting.
    fn fail(&self, failure: &Failure) -> bool;
}

/// Coarse milliseconds since the runtime's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) sent: u64,
    pub(crate) deadline: u64,
    /// When it was sent, exactly, if it is a sample for `Builder::on_handled`.
    pub(crate) sample: Option<Instant>,
}

impl Times {
    pub(crate) fn expired(self, now: u64) -> bool {
        self.deadline <= now
    }

    pub(crate) fn age(self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.sent))
    }
}

/// What a handler's return value turned out to be.
pub(crate) enum Outcome<R> {
    Now(R),
    Later(oneshot::Receiver<R>),
    Lost,
}

/// Runs the handler. Plain values are recognised by type and taken directly; everything else goes through actix's own
/// reply channel.
fn handle<A, M>(actor: &mut A, msg: M, ctx: &mut Context<A>) -> Outcome<M::Result>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    A::Result: 'static,
    M: Message + 'static,
{
    let mut result = Some(<A as Handler<M>>::handle(actor, msg, ctx));
    let any: &mut dyn Any = &mut result;
    if let Some(value) = any.downcast_mut::<Option<M::Result>>() {
        return value.take().map_or(Outcome::Lost, Outcome::Now);
    }
    if let Some(value) = any.downcast_mut::<Option<MessageResult<M>>>() {
        return value.take().map_or(Outcome::Lost, |v| Outcome::Now(v.0));
    }
    let (tx, mut rx) = oneshot::channel();
    if let Some(response) = result {
        response.handle(ctx, Some(tx));
    }
    match rx.try_recv() {
        Ok(value) => Outcome::Now(value),
        Err(oneshot::error::TryRecvError::Empty) => Outcome::Later(rx),
        Err(oneshot::error::TryRecvError::Closed) => Outcome::Lost,
    }
}

enum Slot<M: Message> {
    Queued(M),
    Running,
    /// Boxed, because errors are large and the slot is moved about.
    Done(Result<M::Result, Box<AskError<M>>>),
    /// The outcome was taken, or the asker is gone.
    Gone,
}

struct Inner<M: Message> {
    slot: Slot<M>,
    asker: Option<Waker>,
}

/// A message that wants a reply, shared between the asker and the mailbox.
pub(crate) struct AskCell<M: Message> {
    inner: Mutex<Inner<M>>,
    times: Times,
}

impl<M: Message> AskCell<M> {
    pub(crate) fn new(msg: M, asker: Waker, times: Times) -> Self {
        Self { inner: Mutex::new(Inner { slot: Slot::Queued(msg), asker: Some(asker) }), times }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<M>> {
        // No user code runs under this lock, so a poisoned one is still consistent.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome, or registers the asker.
    pub(crate) fn poll(&self, cx: &mut TaskContext<'_>) -> Poll<Result<M::Result, AskError<M>>> {
        let mut inner = self.lock();
        if let Slot::Done(_) = inner.slot
            && let Slot::Done(outcome) = mem::replace(&mut inner.slot, Slot::Gone)
        {
            return Poll::Ready(outcome.map_err(|e| *e));
        }
        if !inner.asker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            inner.asker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes the message back, if no handler has seen it.
    pub(crate) fn withdraw(&self) -> Option<M> {
        let mut inner = self.lock();
        match mem::replace(&mut inner.slot, Slot::Gone) {
            Slot::Queued(msg) => Some(msg),
            other => {
                inner.slot = other;
                None
            }
        }
    }

    /// The asker is gone: whatever comes is thrown away.
    pub(crate) fn abandon(&self) {
        let mut inner = self.lock();
        let slot = mem::replace(&mut inner.slot, Slot::Gone);
        let asker = inner.asker.take();
        drop(inner);
        drop((slot, asker));
    }

    fn reply(&self, value: M::Result) {
        self.settle(|slot| match slot {
            Slot::Running => Slot::Done(Ok(value)),
            other => other,
        });
    }

    fn settle(&self, f: impl FnOnce(Slot<M>) -> Slot<M>) {
        let mut inner = self.lock();
        inner.slot = f(mem::replace(&mut inner.slot, Slot::Gone));
        let asker = if matches!(inner.slot, Slot::Done(_)) { inner.asker.take() } else { None };
        drop(inner);
        if let Some(asker) = asker {
            asker.wake();
        }
    }
}

impl<A, M> Envelope<A> for AskCell<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    <A as Handler<M>>::Result: 'static,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn message(&self) -> &'static str {
        std::any::type_name::<M>()
    }

    fn times(&self) -> Times {
        self.times
    }

    fn run(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>, host: &Arc<Shared<A>>) {
        let msg = {
            let mut inner = self.lock();
            match mem::replace(&mut inner.slot, Slot::Running) {
                Slot::Queued(msg) => msg,
                other => {
                    inner.slot = other;
                    return; // the asker gave up: same rule as actix's own envelope
                }
            }
        };
        match handle(actor, msg, ctx) {
            Outcome::Now(value) => self.reply(value),
            Outcome::Lost => {
                item.fail(&Failure::Aborted(AbortReason::ReplyDropped));
            }
            Outcome::Later(rx) => host.reply_later(item, rx),
        }
    }

    fn deliver(&self, value: &mut dyn Any) {
        if let Some(value) = value.downcast_mut::<Option<M::Result>>().and_then(Option::take) {
            self.reply(value);
        }
    }

    fn fail(&self, failure: &Failure) -> bool {
        let mut was_waiting = false;
        self.settle(|slot| match slot {
            Slot::Queued(msg) => {
                was_waiting = true;
                Slot::Done(Err(Box::new(undelivered(msg, failure))))
            }
            Slot::Running => Slot::Done(Err(Box::new(unfinished(failure)))),
            done => done,
        });
        was_waiting
    }
}

fn undelivered<M>(msg: M, failure: &Failure) -> AskError<M> {
    match failure {
        Failure::Full => AskError::MailboxFull(msg),
        Failure::Expired { .. } => AskError::TimedOutInQueue(msg),
        Failure::Panicked(p) => AskError::Stopped { msg, why: StopReason::Panicked(p.clone()) },
        Failure::Stopped(why) => AskError::Stopped { msg, why: why.clone() },
        Failure::Aborted(AbortReason::ActorStopped(why)) => AskError::Stopped { msg, why: why.clone() },
        Failure::Aborted(_) => AskError::MailboxFull(msg),
    }
}

fn unfinished<M>(failure: &Failure) -> AskError<M> {
    match failure {
        Failure::Expired { ran_for } => AskError::TimedOutRunning { ran_for: *ran_for },
        Failure::Panicked(p) => AskError::Panicked(p.clone()),
        Failure::Stopped(why) => AskError::Aborted(AbortReason::ActorStopped(why.clone())),
        Failure::Aborted(why) => AskError::Aborted(why.clone()),
        Failure::Full => AskError::Aborted(AbortReason::ReplyDropped),
    }
}

/// A message that wants no reply.
pub(crate) struct TellCell<M> {
    msg: Mutex<Option<M>>,
    times: Times,
}

impl<M> TellCell<M> {
    pub(crate) fn new(msg: M, times: Times) -> Self {
        Self { msg: Mutex::new(Some(msg)), times }
    }

    pub(crate) fn take(&self) -> Option<M> {
        self.msg.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<A, M> Envelope<A> for TellCell<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    <A as Handler<M>>::Result: 'static,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn message(&self) -> &'static str {
        std::any::type_name::<M>()
    }

    fn times(&self) -> Times {
        self.times
    }

    fn run(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>, host: &Arc<Shared<A>>) {
        if let Some(msg) = self.take()
            && let Outcome::Later(rx) = handle(actor, msg, ctx)
        {
            // Nobody waits for the value, but a drain waits for the work.
            host.reply_later(item, rx);
        }
    }

    fn deliver(&self, _: &mut dyn Any) {}

    fn fail(&self, _: &Failure) -> bool {
        self.take().is_some()
    }
}
