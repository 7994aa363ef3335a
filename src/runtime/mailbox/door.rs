//! The mailbox's door: both lanes, telling, and why a closed door takes nothing. What is asked waits in `ask`. Easy to get wrong:
//! the overflow policy is the normal lane's; the control lane is never evicted from and drops nothing silently.
use std::sync::{Arc, atomic::Ordering};

use actix::{Actor, Context, Handler, Message};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{
    handle::{error::StopReason, send_error::SendError, spec::Overflow, state::State},
    host::shared::{Shared, may_wait},
    mailbox::{
        dead::DeadReason,
        envelope::{Item, TellCell, message_name},
    },
    thread::home,
};

/// Which queue a message waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Normal,
    Control,
}

/// What became of an envelope at the mailbox's door.
pub(crate) enum Offer<A: Actor<Context = Context<A>>> {
    Accepted,
    Full(Item<A>),
    Closed,
}

enum Refused<A: Actor<Context = Context<A>>, M> {
    Full(Arc<TellCell<M>>, Item<A>),
    Closed(Arc<TellCell<M>>),
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn sender(&self, lane: Lane) -> &mpsc::Sender<Item<A>> {
        match lane {
            Lane::Normal => &self.tx,
            Lane::Control => &self.control,
        }
    }

    /// Whether a sender may wait for room in this lane.
    pub(crate) fn may_wait(&self, lane: Lane) -> bool {
        lane == Lane::Control || may_wait(self.mailbox)
    }

    /// After a send that succeeded.
    pub(crate) fn sent(self: &Arc<Self>, lane: Lane) {
        if lane == Lane::Control {
            // Relaxed: a pump that misses it finds the message when it next looks for work.
            self.control_waiting.fetch_add(1, Ordering::Relaxed);
        }
        self.after_send();
    }

    /// Puts an envelope into the mailbox if there is room, or makes room if that is the policy.
    pub(crate) fn offer(self: &Arc<Self>, mut item: Item<A>, lane: Lane) -> Offer<A> {
        if home::on_retired_thread() {
            return Offer::Closed;
        }
        loop {
            match self.sender(lane).try_send(item) {
                Ok(()) => {
                    self.sent(lane);
                    return Offer::Accepted;
                }
                Err(TrySendError::Closed(_)) => return Offer::Closed,
                Err(TrySendError::Full(back))
                    if lane == Lane::Normal && self.mailbox.overflow == Overflow::DropOldest =>
                {
                    self.evict_oldest();
                    item = back;
                }
                Err(TrySendError::Full(back)) => return Offer::Full(back),
            }
        }
    }

    pub(crate) async fn tell<M>(self: &Arc<Self>, msg: M, lane: Lane) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        let (cell, item) = match self.offer_tell(msg, lane) {
            Ok(()) => return Ok(()),
            Err(Refused::Full(cell, _)) if !self.may_wait(lane) => {
                return Err(self.refused(&cell, SendError::MailboxFull));
            }
            Err(Refused::Full(cell, item)) => (cell, item),
            Err(Refused::Closed(cell)) => return Err(self.closed(&cell)),
        };
        // Not in the `if`: what is refused is shown to user code, and the state would be locked meanwhile.
        let stalled = match *self.state.borrow() {
            State::Stalled { since } => Some(since),
            _ => None,
        };
        if let Some(since) = stalled {
            return Err(self.refused(&cell, |msg| SendError::Stalled { msg, since }));
        }
        tokio::select! {
            // In this order: the end of the runtime closes the queue, and then ends the timer.
            biased;
            sent = self.sender(lane).send(item) => match sent {
                Ok(()) => { self.sent(lane); Ok(()) }
                Err(_) => Err(self.closed(&cell)),
            },
            () = self.core.sleep(self.limits.ask) => Err(self.refused(&cell, SendError::TimedOutInQueue)),
        }
    }

    pub(crate) fn try_tell<M>(self: &Arc<Self>, msg: M, lane: Lane) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        match self.offer_tell(msg, lane) {
            Ok(()) => Ok(()),
            Err(Refused::Full(cell, _)) => Err(self.refused(&cell, SendError::MailboxFull)),
            Err(Refused::Closed(cell)) => Err(self.closed(&cell)),
        }
    }

    fn offer_tell<M>(self: &Arc<Self>, msg: M, lane: Lane) -> Result<(), Refused<A, M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        let cell = Arc::new(TellCell::new(msg, self.core.times(u64::MAX)));
        match self.offer(cell.clone(), lane) {
            Offer::Accepted => Ok(()),
            Offer::Full(item) if lane == Lane::Normal && self.mailbox.overflow == Overflow::DropNewest => {
                self.core.dead_letter(&self.name, item.message(), DeadReason::Overflow);
                Ok(())
            }
            Offer::Full(item) => Err(Refused::Full(cell, item)),
            Offer::Closed => Err(Refused::Closed(cell)),
        }
    }

    fn closed<M>(&self, cell: &TellCell<M>) -> SendError<M> {
        self.refused(cell, |msg| self.refusal(msg))
    }

    fn refused<M>(&self, cell: &TellCell<M>, error: impl FnOnce(M) -> SendError<M>) -> SendError<M> {
        let error = error(cell.take().expect("a message that was not accepted is still in its cell"));
        self.core.rejected(&self.name, message_name::<M>(), error.code());
        error
    }

    /// Why a closed mailbox takes nothing.
    pub(crate) fn refusal<M>(&self, msg: M) -> SendError<M> {
        if home::on_retired_thread() {
            return SendError::Stopped { msg, why: StopReason::Fenced };
        }
        match &*self.state.borrow() {
            State::Stopped { why } => SendError::Stopped { msg, why: why.clone() },
            _ => SendError::Stopping(msg),
        }
    }
}
