//! The future of a reply. The default deadline costs no timer: the watchdog's sweep expires what is past it; only
//! `.timeout(d)` and waiting for room in a full mailbox arm one. Easy to get wrong: look at the reply slot before the timer,
//! so that a reply that is there is never thrown away.
use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{Actor, Context, Handler, Message};
use tokio::time::{Instant, Sleep};

use super::{
    addr::Offer,
    envelope::AskCell,
    error::AskError,
    host,
    inbox::Item,
    shared::{Shared, may_wait},
    state::State,
};

/// What an ask does while its actor is being restarted or is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnRestart {
    /// The message waits in the queue until its deadline.
    Wait,
    /// The ask fails at once with `Restarting` or `Stalled`.
    Fail,
}

type Room<'a> = Pin<Box<dyn Future<Output = bool> + Send + 'a>>;

/// An ask under way; await it.
#[must_use = "an ask does nothing unless awaited"]
pub struct Ask<'a, A: Actor<Context = Context<A>>, M: Message> {
    shared: &'a Arc<Shared<A>>,
    msg: Option<M>,
    timeout: Option<Duration>,
    on_restart: OnRestart,
    cell: Option<Arc<AskCell<M>>>,
    /// Waiting for room in the mailbox.
    room: Option<Room<'a>>,
    timer: Option<(Pin<Box<Sleep>>, Instant)>,
}

impl<A: Actor<Context = Context<A>>, M: Message> Unpin for Ask<'_, A, M> {}

impl<'a, A, M> Ask<'a, A, M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    <A as Handler<M>>::Result: 'static,
    M: Message + Send + 'static,
    M::Result: Send,
{
    pub(crate) fn new(shared: &'a Arc<Shared<A>>, msg: M) -> Self {
        Self { shared, msg: Some(msg), timeout: None, on_restart: OnRestart::Wait, cell: None, room: None, timer: None }
    }

    /// The deadline of this ask, in place of the actor's `ask_timeout`; exact to a millisecond.
    pub fn timeout(mut self, d: Duration) -> Self {
        self.timeout = Some(d);
        self
    }

    /// What to do while the actor is down; `Wait` by default.
    pub fn on_restart(mut self, on_restart: OnRestart) -> Self {
        self.on_restart = on_restart;
        self
    }

    /// First poll: puts the message into the mailbox.
    fn start(&mut self, msg: M, cx: &mut TaskContext<'_>) -> Result<(), AskError<M>> {
        if host::inside(self.shared.id) {
            return Err(AskError::SelfAsk(msg));
        }
        let msg = self.check_state(msg)?;
        let times = self.shared.core.times(self.timeout.map_or(self.shared.ask_limit, |d| self.shared.core.coarse(d)));
        let cell = Arc::new(AskCell::new(msg, cx.waker().clone(), times));
        let offer = self.shared.offer(cell.clone());
        self.cell = Some(cell);
        match offer {
            Offer::Accepted => {
                if let Some(d) = self.timeout {
                    self.arm(d);
                }
                Ok(())
            }
            Offer::Closed => Err(self.undelivered(|shared, msg| shared.refusal(msg).into())),
            Offer::Full(item) if may_wait(self.shared.mailbox) => self.wait_for_room(item),
            Offer::Full(_) => Err(self.undelivered(|_, msg| AskError::MailboxFull(msg))),
        }
    }

    fn check_state(&self, msg: M) -> Result<M, AskError<M>> {
        if self.on_restart == OnRestart::Wait {
            return Ok(msg);
        }
        match *self.shared.state.borrow() {
            State::Restarting { retry_after, .. } => Err(AskError::Restarting { msg, retry_after }),
            State::Stalled { since } => Err(AskError::Stalled { msg, since }),
            _ => Ok(msg),
        }
    }

    fn wait_for_room(&mut self, item: Item<A>) -> Result<(), AskError<M>> {
        if let State::Stalled { since } = *self.shared.state.borrow() {
            return Err(self.undelivered(|_, msg| AskError::Stalled { msg, since }));
        }
        let shared = self.shared;
        self.room = Some(Box::pin(async move { shared.tx.send(item).await.is_ok() }));
        self.arm(self.timeout.unwrap_or(self.shared.limits.ask));
        Ok(())
    }

    fn arm(&mut self, d: Duration) {
        self.timer = Some((Box::pin(self.shared.core.sleep(d)), Instant::now()));
    }

    fn undelivered(&self, error: impl FnOnce(&Shared<A>, M) -> AskError<M>) -> AskError<M> {
        let msg = self.cell.as_ref().and_then(|cell| cell.withdraw());
        error(self.shared, msg.expect("a message that was not accepted is still in its cell"))
    }

    fn poll_timer(&mut self, cx: &mut TaskContext<'_>) -> Poll<AskError<M>> {
        let Some((timer, since)) = &mut self.timer else { return Poll::Pending };
        if timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let ran_for = since.elapsed();
        Poll::Ready(match self.cell.as_ref().and_then(|cell| cell.withdraw()) {
            Some(msg) => AskError::TimedOutInQueue(msg),
            None => AskError::TimedOutRunning { ran_for },
        })
    }
}

impl<A, M> Future for Ask<'_, A, M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    <A as Handler<M>>::Result: 'static,
    M: Message + Send + 'static,
    M::Result: Send,
{
    type Output = Result<M::Result, AskError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(msg) = this.msg.take() {
            this.start(msg, cx)?;
        } else {
            let cell = this.cell.as_ref().expect("a started ask has its cell");
            if let Poll::Ready(outcome) = cell.poll(cx) {
                this.cell = None;
                return Poll::Ready(outcome);
            }
        }
        if let Some(room) = &mut this.room
            && let Poll::Ready(sent) = room.as_mut().poll(cx)
        {
            this.room = None;
            if !sent {
                return Poll::Ready(Err(this.undelivered(|shared, msg| shared.refusal(msg).into())));
            }
            this.shared.after_send();
            // The timer stays: the sweep goes by the order of entry and would see this one late.
        }
        this.poll_timer(cx).map(Err)
    }
}

impl<A: Actor<Context = Context<A>>, M: Message> Drop for Ask<'_, A, M> {
    fn drop(&mut self) {
        if let Some(cell) = &self.cell {
            cell.abandon();
        }
    }
}
