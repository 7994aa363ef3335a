//! An actor's queue: the bounded channel, what was put back in front of it, and the hand, a batch that the pump works
//! off without taking the lock for each message. Locking is left to `shared`. Easy to get wrong: a hand is also read by the watchdog while
//! the pump is stuck in it, so the pump never removes an item; it moves a cursor, and each envelope itself sees to being handled once.
use std::{
    collections::VecDeque,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, Context};
use tokio::sync::mpsc;

use super::envelope::Envelope;

/// An envelope on its way.
pub(crate) type Item<A> = Arc<dyn Envelope<A>>;

/// Messages the pump takes out of the channel in one go; one release of permits for all.
const AHEAD: usize = 32;

/// Mailboxes smaller than this are taken from one by one; in larger ones what is taken ahead counts towards the bound.
const EXACT_BELOW: usize = 4 * AHEAD;

/// A batch of messages in the pump's hand.
pub(crate) struct Hand<A: Actor<Context = Context<A>>> {
    items: Vec<Item<A>>,
    /// `2 * i`: item `i` is next; `2 * i + 1`: it is being handled. One writer, the pump.
    cursor: AtomicUsize,
}

impl<A: Actor<Context = Context<A>>> Hand<A> {
    fn empty() -> Arc<Self> {
        Arc::new(Self { items: Vec::new(), cursor: AtomicUsize::new(0) })
    }

    /// The pump's item number `at`, now being handled.
    pub(crate) fn begin(&self, at: usize) -> Option<&Item<A>> {
        let item = self.items.get(at)?;
        // Release, as is `end`: the watchdog that sees the cursor sees what was done before.
        self.cursor.store(2 * at + 1, Ordering::Release);
        Some(item)
    }

    pub(crate) fn end(&self, at: usize) {
        self.cursor.store(2 * at + 2, Ordering::Release);
    }

    /// What is being handled, and what comes after it.
    pub(crate) fn look(&self) -> (Option<&Item<A>>, &[Item<A>]) {
        let cursor = self.cursor.load(Ordering::Acquire);
        let (at, running) = (cursor / 2, cursor % 2);
        let rest = self.items.get(at + running..).unwrap_or_default();
        (if running == 1 { self.items.get(at) } else { None }, rest)
    }
}

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
        (tx, Self { front: VecDeque::new(), rx, hand: Hand::empty(), ahead, oldest: 0 })
    }

    /// Deals the next hand. `spare` is empty; it comes back with the old hand's items, to be dropped outside of the lock.
    pub(crate) fn deal(&mut self, spare: &mut Vec<Item<A>>, now: u64, cx: &mut TaskContext<'_>) -> Deal<A> {
        if Arc::get_mut(&mut self.hand).is_none() {
            self.hand = Hand::empty(); // the sweep is looking at the old one and will drop it
        }
        let hand = Arc::get_mut(&mut self.hand).expect("nobody else has seen a hand that was just made or is unshared");
        mem::swap(&mut hand.items, spare);
        *hand.cursor.get_mut() = 0;
        if self.front.is_empty() {
            match self.rx.poll_recv_many(cx, &mut hand.items, self.ahead) {
                Poll::Pending => {
                    self.oldest = now;
                    return Deal::Empty;
                }
                Poll::Ready(0) => return Deal::Closed,
                Poll::Ready(_) => {}
            }
            if let Some(last) = hand.items.last() {
                self.oldest = last.times().sent;
            }
        } else {
            hand.items.extend(self.front.drain(..));
        }
        Deal::Hand(self.hand.clone())
    }

    /// Takes the hand from its pump: what waited in it goes to the front, what was being handled is in `running`. To be
    /// dropped outside of the lock.
    pub(crate) fn reclaim(&mut self) -> Reclaimed<A> {
        let hand = mem::replace(&mut self.hand, Hand::empty());
        let (running, rest) = hand.look();
        for item in rest.iter().rev() {
            self.front.push_front(item.clone());
        }
        Reclaimed { running: running.cloned(), _hand: hand }
    }

    pub(crate) fn try_take(&mut self) -> Option<Item<A>> {
        self.front.pop_front().or_else(|| self.rx.try_recv().ok())
    }

    pub(crate) fn put_back(&mut self, item: Item<A>) {
        self.front.push_front(item);
    }

    /// Waiting messages outside of the channel.
    pub(crate) fn taken(&self) -> usize {
        self.front.len() + self.hand.look().1.len()
    }
}
