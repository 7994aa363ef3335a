//! The queue's hand-overs under every interleaving: from a fenced pump to its successor, and at the end, beside late senders.
//! `Actor` repeats the few lines of `Shared` (`next`, `raise_epoch`, `finish`, `after_send`) that tie the checked files together.
//! Easy to get wrong: keep it in step with `shared.rs`; what differs there is not proved here.
use std::{future::poll_fn, task::Waker};

use crate::{
    interleave::{block_on, interleave, thread},
    queue::{Receiver, Sender},
    sync::close::{End, Queue},
    sync::hand::Hand,
    sync::primitives::{Arc, AtomicUsize, Mutex, Ordering, lock},
    sync::reply::{Asker, Slot},
};

type Item = Arc<Slot<u8, u8, &'static str, ()>>;

struct Inbox {
    rx: Receiver<Item>,
    hand: Arc<Hand<Item>>,
}

impl Queue for Inbox {
    type Item = Item;
    fn close(&mut self) {
        self.rx.close();
    }
    fn try_take(&mut self) -> Option<Item> {
        self.rx.try_take()
    }
}

struct Actor {
    tx: Arc<Sender<Item>>,
    inbox: Mutex<Inbox>,
    epoch: AtomicUsize,
    end: End,
}

impl Actor {
    fn new(capacity: usize) -> Arc<Self> {
        let tx = Sender::new(capacity);
        let rx = Receiver { front: Default::default(), sender: tx.clone() };
        let inbox = Mutex::new(Inbox { rx, hand: Hand::empty() });
        Arc::new(Self { tx, inbox, epoch: AtomicUsize::new(0), end: End::new() })
    }

    /// Sends and waits; `None` when the door was shut.
    fn ask(&self, message: u8) -> Option<Result<u8, &'static str>> {
        let (mut asker, slot): (Asker<u8, u8, &'static str, ()>, _) = Slot::pair(message, Waker::noop().clone(), ());
        self.tx.try_send(slot).ok()?;
        self.end.sent(|| End::empty(&self.inbox, stopped));
        Some(block_on(poll_fn(|cx| asker.poll(cx.waker()))))
    }

    fn fenced(&self, epoch: usize) -> bool {
        self.epoch.load(Ordering::Acquire) != epoch
    }

    /// One hand of the pump of `epoch`; false when it found nothing or is fenced.
    fn pump(&self, epoch: usize, spare: &mut Vec<Item>) -> bool {
        let hand = {
            let mut inbox = lock(&self.inbox);
            if self.fenced(epoch) {
                return false;
            }
            let inbox = &mut *inbox;
            let items = Hand::refill(&mut inbox.hand, spare);
            while let Some(item) = inbox.rx.try_take() {
                items.push(item);
            }
            inbox.hand.clone()
        };
        spare.clear();
        let mut at = 0;
        while !self.fenced(epoch)
            && let Some(item) = hand.begin(at)
        {
            if let Some((message, turn)) = item.begin() {
                turn.reply(message + 100);
            }
            hand.end(at);
            at += 1;
        }
        at > 0
    }

    /// Fences the pump: what waited in its hand goes to the front, what it was handling is failed.
    fn fence(&self) -> usize {
        let mut inbox = lock(&self.inbox);
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(epoch, Ordering::Release);
        let hand = std::mem::replace(&mut inbox.hand, Hand::empty());
        let (running, rest) = hand.look();
        for item in rest.iter().rev() {
            inbox.rx.front.push_front(item.clone());
        }
        drop(inbox);
        if let Some(item) = running {
            item.fail(|_| "moved");
        }
        epoch
    }

    fn finish(&self) {
        if self.end.begin() {
            self.fence();
            End::empty(&self.inbox, stopped);
        }
    }
}

fn stopped(item: Item) {
    item.fail(|message| if message.is_some() { "stopped" } else { "aborted" });
}

#[test]
fn an_ask_beside_the_end_is_refused_or_told() {
    interleave(|| {
        let actor = Actor::new(2);
        let actor2 = actor.clone();
        let asker = thread::spawn(move || actor2.ask(1));
        actor.finish();
        // A message left behind would leave the asker waiting: the checker calls it a deadlock.
        assert!(matches!(asker.join().unwrap(), None | Some(Err("stopped"))));
    });
}

#[test]
fn two_asks_beside_pump_and_end_all_come_to_an_outcome() {
    interleave(|| {
        let actor = Actor::new(1);
        let (a, b) = (actor.clone(), actor.clone());
        let asker = thread::spawn(move || a.ask(1));
        let pump = thread::spawn(move || b.pump(0, &mut Vec::new()));
        actor.finish();
        let outcome = asker.join().unwrap();
        pump.join().unwrap();
        assert!(matches!(outcome, None | Some(Ok(101)) | Some(Err("stopped" | "moved" | "aborted"))), "{outcome:?}");
    });
}

#[test]
fn a_fenced_hand_goes_on_with_its_successor() {
    interleave(|| {
        let actor = Actor::new(2);
        let mut askers = Vec::new();
        for message in [1, 2] {
            let (asker, slot) = Slot::pair(message, Waker::noop().clone(), ());
            assert!(actor.tx.try_send(slot).is_ok());
            askers.push(asker);
        }
        let zombie = actor.clone();
        let zombie = thread::spawn(move || zombie.pump(0, &mut Vec::new()));
        let epoch = actor.fence();
        while actor.pump(epoch, &mut Vec::new()) {}
        zombie.join().unwrap();
        for (asker, message) in askers.iter_mut().zip([1, 2]) {
            let outcome = block_on(poll_fn(|cx| asker.poll(cx.waker())));
            assert!(outcome == Ok(message + 100) || outcome == Err("moved"), "{outcome:?}");
        }
    });
}

#[test]
fn a_look_names_only_what_is_being_handled() {
    interleave(|| {
        let actor = Actor::new(2);
        for message in [1, 2] {
            assert!(actor.tx.try_send(Slot::pair(message, Waker::noop().clone(), ()).1).is_ok());
        }
        let pump = actor.clone();
        let pump = thread::spawn(move || pump.pump(0, &mut Vec::new()));
        let hand = lock(&actor.inbox).hand.clone();
        let (running, rest) = hand.look();
        assert!(rest.len() + usize::from(running.is_some()) <= 2);
        drop(hand);
        pump.join().unwrap();
        let hand = lock(&actor.inbox).hand.clone();
        assert!(hand.look().0.is_none() && hand.look().1.is_empty(), "the pump is done with its hand");
    });
}
