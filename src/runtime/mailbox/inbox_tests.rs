//! The inbox under random sequences of everything that is done to it: every message comes to exactly one end, messages of a lane are
//! handled in order, and the bound holds. Easy to get wrong: the envelope here only carries a number (`Times::sent`); that a
//! message is handled once although two pumps come to it is the slot's promise, checked in `checks/`.
use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    task::{Context as TaskContext, Waker},
};

use actix::{Actor, Context};
use proptest::prelude::*;
use tokio::sync::mpsc::error::TrySendError;

use crate::{
    mailbox::{
        envelope::{Envelope, Failure, Item},
        inbox::{CONTROL_MAILBOX, Deal, Doors, Hand, Inbox},
        replies::Replies,
        times::Times,
    },
    sync::{
        close::{End, Queue},
        primitives::Mutex,
    },
};

struct Nobody;
impl Actor for Nobody {
    type Context = Context<Self>;
}

struct Numbered(Times);
impl Envelope<Nobody> for Numbered {
    fn message(&self) -> &'static str {
        "numbered"
    }
    fn times(&self) -> &Times {
        &self.0
    }
    fn run(&self, _: &Item<Nobody>, _: &mut Nobody, _: &mut Context<Nobody>, _: &Arc<Replies<Nobody>>) {}
    fn deliver(&self, _: &mut dyn Any) {}
    fn fail(&self, _: &Failure) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy)]
enum Call {
    Send,
    /// Until there is no room.
    Fill,
    SendOrEvict,
    SendControl,
    Pump,
    /// Begins the next message and does not end it.
    Crash,
    Sweep,
    /// Before any deadline.
    Look,
    Close,
}

struct World {
    doors: Doors<Nobody>,
    inbox: Mutex<Inbox<Nobody>>,
    hand: Option<(Arc<Hand<Nobody>>, usize)>,
    /// By lane.
    sent: [usize; 2],
    next: u64,
    ends: BTreeMap<u64, &'static str>,
    /// In the order handled, by lane.
    handled: [Vec<u64>; 2],
}

/// Control messages have odd numbers.
fn lane(number: u64) -> usize {
    (number % 2) as usize
}

impl World {
    fn new(capacity: usize) -> Self {
        let (doors, inbox) = Inbox::new(capacity);
        let (ends, handled) = (BTreeMap::new(), [Vec::new(), Vec::new()]);
        Self { doors, inbox: Mutex::new(inbox), hand: None, sent: [0; 2], next: 0, ends, handled }
    }

    fn inbox(&mut self) -> &mut Inbox<Nobody> {
        self.inbox.get_mut().unwrap()
    }

    fn end(&mut self, item: &Item<Nobody>, how: &'static str) {
        let number = item.times().sent;
        if how == "handled" {
            self.handled[lane(number)].push(number);
        }
        assert_eq!(self.ends.insert(number, how), None, "{number} ended twice, the second time {how}");
    }

    fn send(&mut self, control: bool, evict: bool) {
        self.sent[usize::from(control)] += 1;
        self.next += 2;
        // Every fourth of the normal ones has a deadline, which is past when the sweep comes.
        let deadline = if !control && self.next.is_multiple_of(8) { 1 } else { u64::MAX };
        let times = Times { sent: self.next + u64::from(control), deadline, sample: None };
        let mut item: Item<Nobody> = Arc::new(Numbered(times));
        loop {
            let tx = if control { &self.doors.control } else { &self.doors.tx };
            item = match tx.try_send(item) {
                Ok(()) => {
                    self.doors.control_waiting.fetch_add(isize::from(control), SeqCst);
                    return;
                }
                Err(TrySendError::Full(item)) if evict && !control => {
                    match self.inbox().take_normal() {
                        Some(oldest) => self.end(&oldest, "evicted"),
                        // All that waits is in the hand: as at the door, the newer one is tried again once that moved on.
                        None => return self.end(&item, "returned"),
                    }
                    item
                }
                Err(TrySendError::Full(item) | TrySendError::Closed(item)) => return self.end(&item, "returned"),
            };
        }
    }

    /// One step of a pump: a control message, or the next of the hand, or a new hand.
    fn pump(&mut self, crash: bool) {
        if let Some(item) = self.inbox().take_urgent() {
            return self.urgent(&item, crash);
        }
        if let Some((hand, at)) = self.hand.take()
            && let Some(item) = hand.begin(at)
        {
            if crash {
                return self.reclaim();
            }
            self.end(item, "handled");
            hand.end(at);
            self.hand = Some((hand.clone(), at + 1));
            return;
        }
        let mut spare = Vec::new();
        match self.inbox().deal(&mut spare, &mut TaskContext::from_waker(Waker::noop())) {
            Deal::Hand(hand) => {
                self.hand = Some((hand, 0));
                self.pump(crash);
            }
            Deal::Urgent(item) => self.urgent(&item, crash),
            Deal::Empty | Deal::Closed => {
                assert_eq!(self.waiting(0) + self.waiting(1), 0, "an empty inbox holds nothing")
            }
        }
    }

    fn urgent(&mut self, item: &Item<Nobody>, crash: bool) {
        if crash {
            return self.reclaim();
        }
        self.end(item, "handled");
        self.inbox().urgent = None;
    }

    /// A panic or a move to another thread.
    fn reclaim(&mut self) {
        self.hand = None;
        let reclaimed = self.inbox().reclaim();
        if let Some(item) = reclaimed.running {
            self.end(&item, "aborted");
        }
    }

    fn sweep(&mut self) {
        let tx = self.doors.tx.clone();
        let (late, next) = self.inbox().take_expired(1, &tx);
        assert!(next.is_none_or(|next| next == u64::MAX), "what is past its deadline was left");
        for item in late {
            assert_eq!(item.times().deadline, 1, "what is not past its deadline was taken");
            self.end(&item, "expired");
        }
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Send => self.send(false, false),
            Call::Fill => (0..150).for_each(|_| self.send(false, false)),
            Call::SendOrEvict => self.send(false, true),
            Call::SendControl => self.send(true, false),
            Call::Pump => self.pump(false),
            Call::Crash => self.pump(true),
            Call::Sweep => self.sweep(),
            Call::Look => {
                let tx = self.doors.tx.clone();
                let (late, _) = self.inbox().take_expired(0, &tx);
                assert!(late.is_empty(), "too early");
            }
            Call::Close => self.inbox().close(),
        }
    }

    /// Messages of a lane that came to no end yet.
    fn waiting(&self, lane_: usize) -> usize {
        self.sent[lane_] - self.ends.keys().filter(|n| lane(**n) == lane_).count()
    }

    fn finish(&mut self) {
        self.reclaim();
        let mut left = Vec::new();
        End::empty(&self.inbox, |item| left.push(item));
        for item in left {
            self.end(&item, "stopped");
        }
    }
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        12 => Just(Call::Send),
        1 => Just(Call::Fill),
        3 => Just(Call::SendOrEvict),
        3 => Just(Call::SendControl),
        12 => Just(Call::Pump),
        1 => Just(Call::Crash),
        2 => Just(Call::Sweep),
        2 => Just(Call::Look),
    ];
    (prop::collection::vec(call, 0..400), prop::option::of(0..400usize)).prop_map(|(mut calls, close)| {
        if let Some(at) = close.filter(|at| *at < calls.len()) {
            calls.insert(at, Call::Close);
        }
        calls
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_message_comes_to_one_end_in_order_within_the_bound(
        capacity in prop_oneof![1..5usize, 126..132usize],
        calls in calls(),
    ) {
        let mut world = World::new(capacity);
        for call in calls {
            world.call(call);
            // One more: in the hand, while a control message goes first.
            prop_assert!(world.waiting(0) <= capacity + 1, "{} wait in a mailbox of {capacity}", world.waiting(0));
            prop_assert!(world.waiting(1) <= CONTROL_MAILBOX, "{} wait in the control lane", world.waiting(1));
        }
        world.finish();
        prop_assert_eq!(world.waiting(0) + world.waiting(1), 0, "a message came to no end");
        for handled in &world.handled {
            prop_assert!(handled.is_sorted(), "out of order: {handled:?}");
        }
    }
}
