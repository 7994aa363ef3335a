//! The control lane: a small queue that is looked at before every normal message, so that a flooded actor still hears "stop", "pause"
//! or "how are you?". A view with the verbs of `Addr` instead of an option on each of them: the lane is part of the address, so a handler's
//! caller cannot mix lanes within one conversation by forgetting an argument. Easy to get wrong: order holds within a lane,
//! never between lanes; and a handler that runs, or an `AtomicResponse`, is not interrupted.
use std::sync::Arc;

use actix::{Actor, Context, Handler, Message};

use crate::{
    handle::{ask::Ask, send_error::SendError},
    host::shared::Shared,
    mailbox::door::Lane,
};

/// An actor's control lane, from `Addr::control`. It holds `CONTROL_MAILBOX` messages, whatever the mailbox holds and does when full.
/// A flood of control messages leaves the normal lane at least one message in 32.
pub struct Control<'a, A: Actor<Context = Context<A>>> {
    pub(crate) shared: &'a Arc<Shared<A>>,
}

impl<'a, A: Actor<Context = Context<A>>> Control<'a, A> {
    /// As `Addr::ask`.
    pub fn ask<M>(&self, msg: M) -> Ask<'a, A, M>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        Ask::new(self.shared, msg, Lane::Control)
    }

    /// As `Addr::tell`, in its cancel safety too; waits for room until the actor's `ask_timeout`.
    pub async fn tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        self.shared.tell(msg, Lane::Control).await
    }

    /// As `Addr::try_tell`.
    pub fn try_tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        self.shared.try_tell(msg, Lane::Control)
    }
}
