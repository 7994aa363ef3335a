//! An actor's queue: the bounded channel, what was put back in front of it, and the hand, a batch that the pump works
//! off without taking the lock for each message. Locking is left to `shared`. Easy to get wrong: a hand is also read by the watchdog while
//! the pump is stuck in it, so the pump never removes an item; it moves a cursor, and each envelope itself sees to being handled once.
use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, Context};
use tokio::sync::mpsc;

use crate::{
    mailbox::envelope::Item,
    sync::{close::Queue, hand::Hand as Batch},
};

/// A batch of envelopes in the pump's hand.
pub(crate) type Hand<A> = Batch<Item<A>>;

/// Messages the control lane holds; past it `try_tell` is refused, `tell` and `ask` wait for room until their deadline.
pub const CONTROL_MAILBOX: usize = 64;

/// Messages the pump takes out of the channel in one go; one release of permits for all.
const AHEAD: usize = 32;

/// Mailboxes smaller than this are taken from one by one; in larger ones what is taken ahead counts towards the bound.
const EXACT_BELOW: usize = 4 * AHEAD;

/// What became of a request for a new hand.
pub(crate) enum Deal<A: Actor<Context = Context<A>>> {
    Hand(Arc<Hand<A>>),
    Urgent(Item<A>),
    Empty,
    Closed,
}

/// A hand taken from its pump.
pub(crate) struct Reclaimed<A: Actor<Context = Context<A>>> {
    pub(crate) running: Option<Item<A>>,
    pub(crate) hand: Arc<Hand<A>>,
}

/// Where senders put messages.
pub(crate) struct Doors<A: Actor<Context = Context<A>>> {
    pub(crate) tx: mpsc::Sender<Item<A>>,
    pub(crate) control: mpsc::Sender<Item<A>>,
    /// Roughly how many control messages wait: the pump's cheap look.
    pub(crate) control_waiting: Arc<AtomicIsize>,
}

pub(crate) struct Inbox<A: Actor<Context = Context<A>>> {
    /// Goes before the channel: left over in the hand of a panicked instance, or looked at by the sweep and put back.
    pub(crate) front: VecDeque<Item<A>>,
    /// Places of the channel that messages at the front go on taking up.
    held: Vec<mpsc::OwnedPermit<Item<A>>>,
    pub(crate) rx: mpsc::Receiver<Item<A>>,
    pub(crate) hand: Arc<Hand<A>>,
    control: mpsc::Receiver<Item<A>>,
    /// The control message being handled; none of the hand is then.
    pub(crate) urgent: Option<Item<A>>,
    control_waiting: Arc<AtomicIsize>,
    ahead: usize,
}

impl<A: Actor<Context = Context<A>>> Inbox<A> {
    /// Holds at most `capacity` waiting messages, hand included; one of less than `EXACT_BELOW` may hold one more, in the hand, while
    /// a control message goes first.
    pub(crate) fn new(capacity: usize) -> (Doors<A>, Self) {
        let (ahead, in_channel) = if capacity < EXACT_BELOW { (1, capacity) } else { (AHEAD, capacity - AHEAD) };
        let (tx, rx) = mpsc::channel(in_channel);
        let (control_tx, control) = mpsc::channel(CONTROL_MAILBOX);
        let control_waiting = Arc::new(AtomicIsize::new(0));
        let doors = Doors { tx, control: control_tx, control_waiting: control_waiting.clone() };
        let hand = Hand::<A>::empty();
        let front = VecDeque::new();
        (doors, Self { front, held: Vec::new(), rx, hand, control, urgent: None, control_waiting, ahead })
    }

    /// The next control message, which is then being handled.
    pub(crate) fn take_urgent(&mut self) -> Option<Item<A>> {
        let item = self.control.try_recv().ok()?;
        self.control_waiting.fetch_sub(1, Ordering::Relaxed);
        self.urgent = Some(item.clone());
        Some(item)
    }

    /// The longest waiting normal message.
    pub(crate) fn take_normal(&mut self) -> Option<Item<A>> {
        let item = self.front.pop_front();
        self.held.truncate(self.front.len());
        item.or_else(|| self.rx.try_recv().ok())
    }

    /// Deals the next hand. `spare` is empty; it comes back with the old hand's items, to be dropped outside of the lock.
    pub(crate) fn deal(&mut self, spare: &mut Vec<Item<A>>, cx: &mut TaskContext<'_>) -> Deal<A> {
        let items = Hand::<A>::refill(&mut self.hand, spare);
        if self.front.is_empty() {
            match self.rx.poll_recv_many(cx, items, self.ahead) {
                Poll::Ready(0) => return self.poll_control(cx).unwrap_or(Deal::Closed),
                Poll::Pending => return self.poll_control(cx).unwrap_or(Deal::Empty),
                Poll::Ready(_) => {}
            }
        } else {
            // No more than from the channel: what is in the hand takes up no place of it.
            let n = self.front.len().min(self.ahead);
            items.extend(self.front.drain(..n));
            self.held.truncate(self.front.len());
        }
        Deal::Hand(self.hand.clone())
    }

    /// With no normal message left: a control message, or the wish to be woken for one; `None` when there will be none.
    pub(crate) fn poll_control(&mut self, cx: &mut TaskContext<'_>) -> Option<Deal<A>> {
        match self.control.poll_recv(cx) {
            Poll::Pending => Some(Deal::Empty),
            Poll::Ready(None) => None,
            Poll::Ready(Some(item)) => {
                self.control_waiting.fetch_sub(1, Ordering::Relaxed);
                self.urgent = Some(item.clone());
                Some(Deal::Urgent(item))
            }
        }
    }

    /// Moves what waits in the channel to the front, where the sweep can look at it; it goes on counting towards the bound. A sender
    /// that waits for room may take a place before it is held: then this stops when the mailbox is full again.
    fn uncover(&mut self, tx: &mpsc::Sender<Item<A>>) {
        for _ in 0..self.rx.len() {
            if self.front.len() >= tx.max_capacity() {
                return;
            }
            let Ok(item) = self.rx.try_recv() else { return };
            self.front.push_back(item);
            self.held.extend(tx.clone().try_reserve_owned());
        }
    }

    /// Takes out what is past its deadline, which makes room; what else waits stays, in order. With the earliest deadline of that,
    /// `u64::MAX` for tells, or nothing when nothing waits.
    pub(crate) fn take_expired(&mut self, now: u64, tx: &mpsc::Sender<Item<A>>) -> (Vec<Item<A>>, Option<u64>) {
        self.uncover(tx);
        let (mut late, mut next) = (Vec::new(), None::<u64>);
        self.front.retain(|item| {
            let times = item.times();
            if times.expired(now) {
                late.push(item.clone());
            } else {
                next = Some(next.map_or(times.deadline, |next| next.min(times.deadline)));
            }
            !times.expired(now)
        });
        self.held.truncate(self.front.len());
        (late, next)
    }

    /// Takes the hand from its pump: what waited in it goes to the front, what was being handled is in `running`. To be
    /// dropped outside of the lock.
    pub(crate) fn reclaim(&mut self) -> Reclaimed<A> {
        let hand = mem::replace(&mut self.hand, Hand::<A>::empty());
        let (running, rest) = hand.look();
        for item in rest.iter().rev() {
            self.front.push_front(item.clone());
        }
        let running = self.urgent.take().or_else(|| running.cloned());
        Reclaimed { running, hand }
    }

    /// Whether any message waits or is being handled.
    pub(crate) fn holds_any(&self, tx: &mpsc::Sender<Item<A>>) -> bool {
        let (running, rest) = self.hand.look();
        tx.capacity() < tx.max_capacity()
            || !self.control.is_empty()
            || !self.front.is_empty()
            || self.urgent.is_some()
            || running.is_some()
            || !rest.is_empty()
    }

    /// Waiting messages outside of the channel.
    pub(crate) fn taken(&self) -> usize {
        self.front.len() - self.held.len() + self.hand.look().1.len()
    }
}

impl<A: Actor<Context = Context<A>>> Queue for Inbox<A> {
    type Item = Item<A>;

    fn close(&mut self) {
        self.rx.close();
        self.control.close();
        // A held place keeps a closed channel from coming to its end.
        self.held.clear();
    }

    fn try_take(&mut self) -> Option<Item<A>> {
        self.take_normal().or_else(|| {
            let item = self.control.try_recv().ok()?;
            self.control_waiting.fetch_sub(1, Ordering::Relaxed);
            Some(item)
        })
    }
}
