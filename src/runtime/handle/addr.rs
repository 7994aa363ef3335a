//! The handle to a logical actor: valid on any thread and across restarts. Asking is in `ask`, telling in `tell`. Easy to get wrong:
//! `tell` waits for room, `try_tell` never does; under `Overflow::DropNewest` both succeed while the message is dropped and counted.
use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Duration,
};

use crate::{
    handle::{
        error::{StopError, StopReason},
        recover::Recover,
        send_error::SendError,
        state::State,
        watch::Watch,
    },
    host::{hosted::Hosted, shared::Shared},
    mailbox::door::Lane,
    thread::home,
    tree::shutdown::wait_stopped,
};
use actix::{Actor, Context, Handler, Message};

/// Handle to a supervised actor. Cheap to clone, `Send + Sync`, follows the actor through restarts and moves.
pub struct Addr<A: Actor<Context = Context<A>>> {
    pub(crate) shared: Arc<Shared<A>>,
}

impl<A: Actor<Context = Context<A>>> Clone for Addr<A> {
    fn clone(&self) -> Self {
        self.shared.handles.another();
        Self { shared: self.shared.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Addr<A> {
    fn drop(&mut self) {
        if self.shared.handles.one_less() {
            unreferenced(&self.shared);
        }
    }
}

/// The last handle was dropped of an actor that stops by that: it drains, within its `stop_timeout`.
fn unreferenced<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>) {
    let core = shared.core.clone();
    // Guarded: it wakes those who watch the state, whose executors are users'.
    core.guarded("(a drop of the last handle)", || shared.drain());
    let shared = shared.clone();
    core.control.spawn(async move {
        if !wait_stopped(&shared.core, &*shared, shared.limits.stop).await {
            shared.end(StopReason::TimedOut);
        }
    });
}

/// Two addresses are equal when they are of one actor.
impl<A: Actor<Context = Context<A>>> PartialEq for Addr<A> {
    fn eq(&self, other: &Self) -> bool {
        self.shared.id == other.shared.id
    }
}

impl<A: Actor<Context = Context<A>>> Eq for Addr<A> {}

impl<A: Actor<Context = Context<A>>> Hash for Addr<A> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.shared.id.hash(state);
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for Addr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr({})", self.shared.name)
    }
}

impl<A: Actor<Context = Context<A>>> Addr<A> {
    /// One more handle; none of an actor that stops because its last was dropped.
    pub(crate) fn another(shared: Arc<Shared<A>>) -> Option<Self> {
        if shared.handles.revive() { Some(Self { shared }) } else { None }
    }

    /// The actor's name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The actor's state, now and on every change.
    pub fn watch(&self) -> Watch<State> {
        Watch::new(&self.shared.state)
    }

    /// Messages waiting in the mailbox.
    pub fn mailbox_depth(&self) -> usize {
        self.shared.health().mailbox_depth
    }

    /// Sends a message without awaiting its handling. Under `Overflow::Wait` it waits for room, at most for the actor's
    /// `ask_timeout`. Messages of one sender are handled in the order sent.
    ///
    /// Cancel safety: the message is sent in whole or, when the future is dropped while it waits for room, dropped with it.
    pub async fn tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        self.shared.tell(msg, Lane::Normal).await
    }

    /// Sends a message if there is room now. Callable from any thread, never blocks.
    pub fn try_tell<M>(&self, msg: M) -> Result<(), SendError<M>>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        self.shared.try_tell(msg, Lane::Normal)
    }

    /// The last snapshot, also of an actor that is gone: what it was like at its end, if that was in order.
    pub fn last_snapshot(&self) -> Option<Arc<A::Snapshot>>
    where
        A: Recover,
    {
        self.shared.recovery()?.last()?.downcast().ok()
    }

    /// Takes no more messages, handles those accepted, awaits replies in flight, then stops; past `within` it is ended.
    /// It does not come back, whatever its restart policy. Awaiting it inside the actor's own handler times out.
    ///
    /// Cancel safety: once polled, the actor stops. When the future is dropped it goes on draining, and `within` is nobody's any more.
    pub async fn stop(&self, within: Duration) -> Result<(), StopError> {
        if home::on_retired_thread() {
            return Err(StopError::Fenced(self.shared.name.clone()));
        }
        self.shared.drain();
        if wait_stopped(&self.shared.core, &*self.shared, within).await {
            return Ok(());
        }
        self.shared.end(StopReason::TimedOut);
        Err(StopError::TimedOut { name: self.shared.name.clone(), within })
    }
}
