//! What lies in a mailbox: a message with its reply slot, erased of its type. Who decides the outcome of an ask is left to
//! `reply`, scheduling to `pump`, who may fail an envelope to `shared`. Easy to get wrong: whether a failure gives the message back
//! depends on whether a handler has seen it, and only the slot knows.
use std::{any::Any, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message, MessageResult, dev::MessageResponse};
use tokio::sync::oneshot;

use crate::{
    handle::error::{AbortReason, AskError, PanicInfo, StopReason},
    mailbox::{replies::Replies, times::Times},
    sync::reply::{Asker, Parcel, Slot},
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

/// An envelope on its way.
pub(crate) type Item<A> = Arc<dyn Envelope<A>>;

/// A message on its way to an actor of type `A`.
pub(crate) trait Envelope<A: Actor<Context = Context<A>>>: Send + Sync {
    /// The message's type.
    fn message(&self) -> &'static str;
    /// When it was sent and by when it must be done, on the runtime's coarse clock.
    fn times(&self) -> &Times;
    /// Hands the message to the actor, unless its asker is gone. `item` is the envelope itself; a reply that is computed later goes
    /// to `replies`.
    fn run(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>, replies: &Arc<Replies<A>>);
    /// A reply that was computed by a future: an `Option` of the message's result.
    fn deliver(&self, value: &mut dyn Any);
    /// Ends it without reply; a no-op when it is done already. True if the message was still waiting.
    fn fail(&self, failure: &Failure) -> bool;
}

/// A message's type, as logs, events and metrics name it.
pub(crate) fn message_name<M>() -> &'static str {
    std::any::type_name::<M>()
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

/// A message that wants a reply, as the mailbox sees it.
pub(crate) type AskSlot<M> = Slot<M, <M as Message>::Result, AskError<M>, Times>;

/// The same, as its asker sees it.
pub(crate) type AskHalf<M> = Asker<M, <M as Message>::Result, AskError<M>, Times>;

/// A message that wants no reply.
pub(crate) type TellCell<M> = Parcel<M, Times>;

impl<A, M> Envelope<A> for AskSlot<M>
where
    A: Actor<Context = Context<A>> + Handler<M, Result: 'static>,
    M: Message<Result: Send> + Send + 'static,
{
    fn message(&self) -> &'static str {
        message_name::<M>()
    }

    fn times(&self) -> &Times {
        &self.tag
    }

    fn run(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>, replies: &Arc<Replies<A>>) {
        // None: the asker gave up. The same rule as that of actix's own envelope.
        let Some((msg, turn)) = self.begin() else { return };
        match handle(actor, msg, ctx) {
            Outcome::Now(value) => turn.reply(value),
            Outcome::Lost => {
                item.fail(&Failure::Aborted(AbortReason::ReplyDropped));
            }
            Outcome::Later(rx) => {
                turn.later();
                replies.reply_later(item, rx);
            }
        }
    }

    fn deliver(&self, value: &mut dyn Any) {
        if let Some(value) = value.downcast_mut::<Option<M::Result>>().and_then(Option::take) {
            Slot::deliver(self, value);
        }
    }

    fn fail(&self, failure: &Failure) -> bool {
        Slot::fail(self, |msg| match msg {
            Some(msg) => undelivered(msg, failure),
            None => unfinished(failure),
        })
    }
}

fn undelivered<M>(msg: M, failure: &Failure) -> AskError<M> {
    match failure {
        Failure::Full => AskError::MailboxFull(msg),
        Failure::Expired { .. } => AskError::TimedOutInQueue(msg),
        Failure::Panicked(p) => AskError::Stopped { msg, why: StopReason::Panicked(p.clone()) },
        Failure::Stopped(why) => AskError::Stopped { msg, why: why.clone() },
        Failure::Aborted(AbortReason::ActorStopped(why)) => AskError::Stopped { msg, why: why.clone() },
        // It was about to be handled.
        Failure::Aborted(_) => AskError::Restarting { msg, retry_after: Duration::ZERO },
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

impl<A, M> Envelope<A> for TellCell<M>
where
    A: Actor<Context = Context<A>> + Handler<M, Result: 'static>,
    M: Message<Result: Send> + Send + 'static,
{
    fn message(&self) -> &'static str {
        message_name::<M>()
    }

    fn times(&self) -> &Times {
        &self.tag
    }

    fn run(&self, item: &Item<A>, actor: &mut A, ctx: &mut Context<A>, replies: &Arc<Replies<A>>) {
        if let Some(msg) = self.take()
            && let Outcome::Later(rx) = handle(actor, msg, ctx)
        {
            // Nobody waits for the value, but a drain waits for the work.
            replies.reply_later(item, rx);
        }
    }

    fn deliver(&self, _: &mut dyn Any) {}

    fn fail(&self, _: &Failure) -> bool {
        self.take().is_some()
    }
}
