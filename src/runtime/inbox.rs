//! An actor's queue: the bounded channel, what was put back in front of it, and the hand, a batch that the pump works
//! off without taking the lock for each message. Locking is left to `shared`. Easy to get wrong: a hand is also read by the watchdog while
//! the pump is stuck in it, so the pump never removes an item; it moves a cursor, and each envelope itself sees to being handled once.
use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, Context};
use tokio::sync::mpsc;

use super::{close::Queue, envelope::Envelope, hand::Hand as Batch};

/// An envelope on its way.
pub(crate) type Item<A> = Arc<dyn Envelope<A>>;

/// A batch of envelopes in the pump's hand.
pub(crate) type Hand<A> = Batch<Item<A>>;

/// Messages the pump takes out of the channel in one go; one release of permits for all.
const AHEAD: usize = 32;

/// Mailboxes smaller than this are taken from one by one; in larger ones what is taken ahead counts towards the bound.
const EXACT_BELOW: usize = 4 * AHEAD;

/// What became of a request for a new hand.
pub(crate) enum Deal<A: Actor<Context = Context<A>>> {
    Hand(Arc<Hand<A>>),
    Empty,
    Closed,
}

/// A hand taken from its pump.
pub(crate) struct Reclaimed<A: Actor<Context = Context<A>>> {
    pub(crate) running: Option<Item<A>>,
    _hand: Arc<Hand<A>>,
}

pub(crate) struct Inbox<A: Actor<Context = Context<A>>> {
    /// Goes before the channel: left over in the hand of a panicked instance, or looked at by the sweep and put back.
    front: VecDeque<Item<A>>,
    pub(crate) rx: mpsc::Receiver<Item<A>>,
    pub(crate) hand: Arc<Hand<A>>,
    ahead: usize,
    /// Nothing in the channel was sent before this (coarse clock): spares the sweep a look.
    pub(crate) oldest: u64,
}

impl<A: Actor<Context = Context<A>>> Inbox<A> {
    /// Holds at most `capacity` waiting messages, hand included, except that the sweep of a mailbox of less than
    /// `EXACT_BELOW` may hold one more while its actor is stuck.
    pub(crate) fn new(capacity: usize) -> (mpsc::Sender<Item<A>>, Self) {
        let (ahead, in_channel) = if capacity < EXACT_BELOW { (1, capacity) } else { (AHEAD, capacity - AHEAD) };
        let (tx, rx) = mpsc::channel(in_channel);
        (tx, Self { front: VecDeque::new(), rx, hand: Hand::<A>::empty(), ahead, oldest: 0 })
    }

    /// Deals the next hand. `spare` is empty; it comes back with the old hand's items, to be dropped outside of the lock.
    pub(crate) fn deal(&mut self, spare: &mut Vec<Item<A>>, now: u64, cx: &mut TaskContext<'_>) -> Deal<A> {
        let items = Hand::<A>::refill(&mut self.hand, spare);
        if self.front.is_empty() {
            match self.rx.poll_recv_many(cx, items, self.ahead) {
                Poll::Pending => {
                    self.oldest = now;
                    return Deal::Empty;
                }
                Poll::Ready(0) => return Deal::Closed,
                Poll::Ready(_) => {}
            }
            if let Some(last) = items.last() {
                self.oldest = last.times().sent;
            }
        } else {
            items.extend(self.front.drain(..));
        }
        Deal::Hand(self.hand.clone())
    }

    /// Takes the hand from its pump: what waited in it goes to the front, what was being handled is in `running`. To be
    /// dropped outside of the lock.
    pub(crate) fn reclaim(&mut self) -> Reclaimed<A> {
        let hand = mem::replace(&mut self.hand, Hand::<A>::empty());
        let (running, rest) = hand.look();
        for item in rest.iter().rev() {
            self.front.push_front(item.clone());
        }
        Reclaimed { running: running.cloned(), _hand: hand }
    }

    pub(crate) fn put_back(&mut self, item: Item<A>) {
        self.front.push_front(item);
    }

    /// Waiting messages outside of the channel.
    pub(crate) fn taken(&self) -> usize {
        self.front.len() + self.hand.look().1.len()
    }
}

impl<A: Actor<Context = Context<A>>> Queue for Inbox<A> {
    type Item = Item<A>;

    fn close(&mut self) {
        self.rx.close();
    }

    fn try_take(&mut self) -> Option<Item<A>> {
        self.front.pop_front().or_else(|| self.rx.try_recv().ok())
    }
}
