//! The future of a reply. The default deadline costs no timer, nor does a long one of its own: the watchdog's sweep expires what is
//! past it; a short `.timeout(d)`, the control lane and waiting for room in a full mailbox arm one. Easy to get wrong: look at the reply slot before the timer,
//! so that a reply that is there is never thrown away.
use std::{
    future::Future,
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{Actor, Context, Handler, Message};
use tokio::time::Instant;

use crate::{
    handle::{addr::Addr, error::AskError, state::State},
    host::shared::Shared,
    mailbox::{
        dead::DeadReason,
        door::{Lane, Offer},
        envelope::{AskHalf, AskSlot, Item, message_name},
    },
    sync::reply::GivenUp,
    thread::{cycle::Edge, home, timer::Timer},
};

/// From here on a deadline of an ask's own is left to the sweep: at most 5 % late, and without a timer.
pub const SWEPT_FROM: Duration = Duration::from_secs(1);

/// What an ask does while its actor is being restarted or is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnRestart {
    /// The message waits in the queue until its deadline.
    Wait,
    /// The ask fails at once with `Restarting` or `Stalled`.
    Fail,
}

type Room = Pin<Box<dyn Future<Output = bool> + Send>>;

/// An ask under way; await it. It borrows nothing.
///
/// Cancel safety: nothing is sent before the first poll. Dropping it withdraws a message that no handler has seen; one that is being
/// handled runs on, and its reply is thrown away.
#[must_use = "an ask does nothing unless awaited"]
pub struct Ask<A: Actor<Context = Context<A>>, M: Message> {
    addr: Addr<A>,
    lane: Lane,
    msg: Option<M>,
    timeout: Option<Duration>,
    on_restart: OnRestart,
    /// Set by the first poll, until there is an outcome.
    asker: Option<AskHalf<M>>,
    /// Waiting for room in the mailbox.
    room: Option<Room>,
    timer: Option<(Timer, Instant)>,
    /// Of an ask inside the turn of an actor that takes no message until it is answered.
    edge: Option<Edge>,
}

impl<A: Actor<Context = Context<A>>> Addr<A> {
    /// Sends a message and awaits the reply, at most for the actor's `ask_timeout`, or as `.timeout(d)` says. Nothing is
    /// sent before the first poll. Dropping the future withdraws a message that no handler has seen. The future borrows nothing, so an
    /// actor may write `self.addr.ask(m).into_actor(self)`; it counts as a handle to the actor.
    pub fn ask<M>(&self, msg: M) -> Ask<A, M>
    where
        A: Handler<M, Result: 'static>,
        M: Message<Result: Send> + Send + 'static,
    {
        Ask::new(self.clone(), msg, Lane::Normal)
    }
}

impl<A: Actor<Context = Context<A>>, M: Message> Unpin for Ask<A, M> {}

impl<A, M> Ask<A, M>
where
    A: Actor<Context = Context<A>> + Handler<M, Result: 'static>,
    M: Message<Result: Send> + Send + 'static,
{
    pub(crate) fn new(addr: Addr<A>, msg: M, lane: Lane) -> Self {
        Self {
            addr,
            lane,
            msg: Some(msg),
            timeout: None,
            on_restart: OnRestart::Wait,
            asker: None,
            room: None,
            timer: None,
            edge: None,
        }
    }

    /// The deadline of this ask, in place of the actor's `ask_timeout`. Below `SWEPT_FROM` it is exact to a millisecond and costs a
    /// timer; from there on the watchdog's sweep keeps it, at most two of its ticks (50 ms) late and never early. `Duration::MAX` is no
    /// deadline.
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
        let msg =
            self.check_caller(msg).and_then(|msg| self.check_state(msg)).inspect_err(|e| self.rejected(e.code()))?;
        let times = self
            .addr
            .shared
            .core
            .times(self.timeout.map_or(self.addr.shared.ask_limit, |d| self.addr.shared.core.coarse(d)));
        let (asker, slot) = AskSlot::pair(msg, cx.waker().clone(), times);
        self.asker = Some(asker);
        let offer = self.addr.shared.offer(slot, self.lane);
        match offer {
            Offer::Accepted => {
                match self.timeout {
                    Some(d) if d < SWEPT_FROM || self.lane == Lane::Control => self.arm(d),
                    None if self.lane == Lane::Control => self.arm(self.addr.shared.limits.ask),
                    _ => self.addr.shared.due.note(times.deadline),
                }
                Ok(())
            }
            Offer::Closed => Err(self.undelivered(|shared, msg| shared.refusal(msg).into())),
            Offer::Full(item) if self.addr.shared.may_wait(self.lane) => self.wait_for_room(item),
            Offer::Full(_) => Err(self.undelivered(|_, msg| AskError::MailboxFull(msg))),
        }
    }

    /// Refuses what would wait for itself.
    fn check_caller(&mut self, msg: M) -> Result<M, AskError<M>> {
        if home::current_actor() == self.addr.shared.id {
            return Err(AskError::SelfAsk(msg));
        }
        match self.addr.shared.core.waits.ask(home::current_actor(), self.addr.shared.id) {
            Ok(edge) => {
                self.edge = edge;
                Ok(msg)
            }
            Err(actors) => {
                self.addr.shared.core.ask_cycle(&actors);
                Err(AskError::Cycle { msg, actors })
            }
        }
    }

    fn rejected(&self, code: &'static str) {
        self.addr.shared.core.rejected(&self.addr.shared.name, message_name::<M>(), code);
    }

    fn check_state(&self, msg: M) -> Result<M, AskError<M>> {
        if self.on_restart == OnRestart::Wait {
            return Ok(msg);
        }
        match *self.addr.shared.state.borrow() {
            State::Restarting { retry_after, .. } => Err(AskError::Restarting { msg, retry_after }),
            State::Stalled { since } => Err(AskError::Stalled { msg, since }),
            _ => Ok(msg),
        }
    }

    fn wait_for_room(&mut self, item: Item<A>) -> Result<(), AskError<M>> {
        let stalled = match *self.addr.shared.state.borrow() {
            State::Stalled { since } => Some(since),
            _ => None,
        };
        if let Some(since) = stalled {
            return Err(self.undelivered(|_, msg| AskError::Stalled { msg, since }));
        }
        let (shared, lane) = (self.addr.shared.clone(), self.lane);
        self.room = Some(Box::pin(async move { shared.sender(lane).send(item).await.is_ok() }));
        self.arm(self.timeout.unwrap_or(self.addr.shared.limits.ask));
        Ok(())
    }

    fn arm(&mut self, d: Duration) {
        self.timer = Some((self.addr.shared.core.sleep(d), Instant::now()));
    }

    fn undelivered(&mut self, error: impl FnOnce(&Shared<A>, M) -> AskError<M>) -> AskError<M> {
        let Some(GivenUp::Message(msg)) = self.asker.take().map(|mut asker| asker.give_up()) else {
            unreachable!("a message that was not accepted is still in its slot");
        };
        let error = error(&self.addr.shared, msg);
        self.rejected(error.code());
        error
    }

    fn poll_timer(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<M::Result, AskError<M>>> {
        let (Some((timer, since)), Some(asker)) = (&mut self.timer, &mut self.asker) else { return Poll::Pending };
        if Pin::new(timer).poll(cx).is_pending() {
            return Poll::Pending;
        }
        let ran_for = since.elapsed();
        let outcome = match asker.give_up() {
            GivenUp::Message(msg) => {
                self.dead_letter(DeadReason::Expired);
                Err(AskError::TimedOutInQueue(msg))
            }
            GivenUp::Outcome(outcome) => outcome,
            GivenUp::Running => Err(AskError::TimedOutRunning { ran_for }),
            GivenUp::Settling => {
                self.timer = None; // the outcome is a moment away, and wakes this task
                return Poll::Pending;
            }
        };
        self.asker = None;
        Poll::Ready(outcome)
    }
}

impl<A, M> Future for Ask<A, M>
where
    A: Actor<Context = Context<A>> + Handler<M, Result: 'static>,
    M: Message<Result: Send> + Send + 'static,
{
    type Output = Result<M::Result, AskError<M>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(msg) = this.msg.take() {
            this.start(msg, cx)?;
        } else {
            let asker = this.asker.as_mut().expect("a started ask has its slot until it is ready");
            if let Poll::Ready(outcome) = asker.poll(cx.waker()) {
                this.asker = None;
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
            this.addr.shared.sent(this.lane);
            // The timer stays: it is exact, and armed already.
        }
        this.poll_timer(cx)
    }
}

impl<A: Actor<Context = Context<A>>, M: Message> Ask<A, M> {
    /// The message was taken back from the mailbox, if it had got there.
    fn dead_letter(&self, reason: DeadReason) {
        if self.room.is_none() {
            self.addr.shared.core.dead_letter(&self.addr.shared.name, message_name::<M>(), reason);
        }
    }
}

impl<A: Actor<Context = Context<A>>, M: Message> Drop for Ask<A, M> {
    fn drop(&mut self) {
        if let Some(mut asker) = self.asker.take()
            && let GivenUp::Message(_) = asker.give_up()
        {
            self.dead_letter(DeadReason::Withdrawn);
        }
    }
}
