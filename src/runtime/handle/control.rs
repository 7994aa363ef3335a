//! The control lane: a small queue that is looked at before every normal message, so that a flooded actor still hears "stop", "pause"
//! or "how are you?". A view with the verbs of `Addr` instead of an option on each of them: the lane is part of the address, so a handler's
//! caller cannot mix lanes within one conversation by forgetting an argument. Easy to get wrong: order holds within a lane,
//! never between lanes; and a handler that runs, or an `AtomicResponse`, is not interrupted.
use actix::{Actor, Context, Handler, Message};

use crate::{
    handle::{addr::Addr, ask::Ask, send_error::SendError},
    mailbox::door::Lane,
};

/// An actor's control lane, from `Addr::control`. It holds `CONTROL_MAILBOX` messages, whatever the mailbox holds and does when full.
/// A flood of control messages leaves the normal lane at least one message in 32.
pub struct Control<'a, A: Actor<Context = Context<A>>> {
    pub(crate) addr: &'a Addr<A>,
}

impl<A: Actor<Context = Context<A>>> Addr<A> {
    /// The lane that goes before all normal messages, and has room when the mailbox is full.
    pub fn control(&self) -> Control<'_, A> {
        Control { addr: self }
    }
}

impl<A: Actor<Context = Context<A>>> Control<'_, A> {
    /// As `Addr::ask`.
    pub fn ask<M>(&self, msg: M) -> Ask<A, M>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        Ask::new(self.addr.clone(), msg, Lane::Control)
    }

    /// As `Addr::tell`, in its cancel safety too; waits for room until the actor's `ask_timeout`.
    pub async fn tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        self.addr.shared.tell(msg, Lane::Control).await
    }

    /// As `Addr::try_tell`.
    pub fn try_tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        self.addr.shared.try_tell(msg, Lane::Control)
    }
}
