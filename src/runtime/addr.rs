//! The handle to a logical actor: valid on any thread and across restarts. Asking is in `ask`. Easy to get wrong:
//! `tell` waits for room, `try_tell` never does; under `Overflow::DropNewest` both succeed while the message is dropped and counted.
use std::{fmt, sync::Arc, time::Duration};

use actix::{Actor, Context, Handler, Message};
use tokio::sync::{mpsc::error::TrySendError, watch};

use super::{
    ask::Ask,
    core::Core,
    envelope::TellCell,
    error::{SendError, StopReason, StopTimeout},
    home,
    hosted::Hosted,
    inbox::Item,
    shared::{Shared, may_wait},
    spec::Overflow,
    state::State,
};

/// Handle to a supervised actor. Cheap to clone, `Send + Sync`, follows the actor through restarts and moves.
pub struct Addr<A: Actor<Context = Context<A>>> {
    pub(crate) shared: Arc<Shared<A>>,
}

impl<A: Actor<Context = Context<A>>> Clone for Addr<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for Addr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr({})", self.shared.name)
    }
}

/// What became of an envelope at the mailbox's door.
pub(crate) enum Offer<A: Actor<Context = Context<A>>> {
    Accepted,
    Full(Item<A>),
    Closed,
}

impl<A: Actor<Context = Context<A>>> Addr<A> {
    /// The actor's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The actor's state, now and on every change.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Messages waiting in the mailbox.
    pub fn mailbox_depth(&self) -> usize {
        self.shared.health().mailbox_depth
    }

    /// Sends a message and awaits the reply, at most for the actor's `ask_timeout`, or as `.timeout(d)` says. Nothing is
    /// sent before the first poll. Dropping the future withdraws a message that no handler has seen.
    pub fn ask<M>(&self, msg: M) -> Ask<'_, A, M>
    where
        A: Handler<M>,
        <A as Handler<M>>::Result: 'static,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        Ask::new(&self.shared, msg)
    }

    /// Sends a message without awaiting its handling. Under `Overflow::Wait` it waits for room, at most for the actor's
    /// `ask_timeout`. Messages of one sender are handled in the order sent.
    pub async fn tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
        <A as Handler<M>>::Result: 'static,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let (cell, item) = match self.offer_tell(msg) {
            Ok(()) => return Ok(()),
            Err(Refused::Full(cell, _)) if !may_wait(self.shared.mailbox) => {
                return Err(take(&cell, SendError::MailboxFull));
            }
            Err(Refused::Full(cell, item)) => (cell, item),
            Err(Refused::Closed(cell)) => return Err(self.closed(&cell)),
        };
        if let State::Stalled { since } = *self.shared.state.borrow() {
            return Err(take(&cell, |msg| SendError::Stalled { msg, since }));
        }
        tokio::select! {
            sent = self.shared.tx.send(item) => match sent {
                Ok(()) => { self.shared.after_send(); Ok(()) }
                Err(_) => Err(self.closed(&cell)),
            },
            () = self.shared.core.sleep(self.shared.limits.ask) => Err(take(&cell, SendError::TimedOutInQueue)),
        }
    }

    /// Sends a message if there is room now. Callable from any thread, never blocks.
    pub fn try_tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M>,
        <A as Handler<M>>::Result: 'static,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        match self.offer_tell(msg) {
            Ok(()) => Ok(()),
            Err(Refused::Full(cell, _)) => Err(take(&cell, SendError::MailboxFull)),
            Err(Refused::Closed(cell)) => Err(self.closed(&cell)),
        }
    }

    /// Takes no more messages, handles those accepted, awaits replies in flight, then stops; past `within` it is ended.
    /// It does not come back, whatever its restart policy. Awaiting it inside the actor's own handler times out.
    pub async fn stop(&self, within: Duration) -> Result<(), StopTimeout> {
        self.shared.drain();
        if wait_stopped(&self.shared.core, &*self.shared, within).await {
            return Ok(());
        }
        self.shared.end(StopReason::TimedOut);
        Err(StopTimeout { name: self.shared.name.clone(), within })
    }

    fn offer_tell<M>(&self, msg: M) -> Result<(), Refused<A, M>>
    where
        A: Handler<M>,
        <A as Handler<M>>::Result: 'static,
        M: Message + Send + 'static,
        M::Result: Send,
    {
        let cell = Arc::new(TellCell::new(msg, self.shared.core.times(u64::MAX)));
        match self.shared.offer(cell.clone()) {
            Offer::Accepted => Ok(()),
            Offer::Full(item) if self.shared.mailbox.overflow == Overflow::DropNewest => {
                self.shared.core.dead_letter(&self.shared.name, item.message(), "overflow");
                Ok(())
            }
            Offer::Full(item) => Err(Refused::Full(cell, item)),
            Offer::Closed => Err(Refused::Closed(cell)),
        }
    }

    fn closed<M>(&self, cell: &TellCell<M>) -> SendError<M> {
        take(cell, |msg| self.shared.refusal(msg))
    }
}

enum Refused<A: Actor<Context = Context<A>>, M> {
    Full(Arc<TellCell<M>>, Item<A>),
    Closed(Arc<TellCell<M>>),
}

fn take<M>(cell: &TellCell<M>, error: impl FnOnce(M) -> SendError<M>) -> SendError<M> {
    error(cell.take().expect("a message that was not accepted is still in its cell"))
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    /// Puts an envelope into the mailbox if there is room, or makes room if that is the policy.
    pub(crate) fn offer(&self, item: Item<A>) -> Offer<A> {
        if home::on_retired_thread() {
            return Offer::Closed;
        }
        let mut item = item;
        loop {
            match self.tx.try_send(item) {
                Ok(()) => {
                    self.after_send();
                    return Offer::Accepted;
                }
                Err(TrySendError::Closed(_)) => return Offer::Closed,
                Err(TrySendError::Full(back)) if self.mailbox.overflow == Overflow::DropOldest => {
                    self.evict_oldest();
                    item = back;
                }
                Err(TrySendError::Full(back)) => return Offer::Full(back),
            }
        }
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

/// Waits for the state `Stopped`; false past the limit.
pub(crate) async fn wait_stopped(core: &Core, hosted: &dyn Hosted, within: Duration) -> bool {
    let mut state = hosted.watch();
    core.within(within, state.wait_for(|s| matches!(s, State::Stopped { .. }))).await.is_some()
}
