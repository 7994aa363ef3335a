//! The sweep's look at a queue under every interleaving with senders and a pump: no deadline in it is forgotten, and no message is
//! expired twice. `Actor` repeats the few lines of `sweep.rs`, `agenda.rs` and `ask.rs` around `due` and `listed`. Easy to get wrong: an ask may slip in beside a
//! look, so what is promised is the look after that.
use crate::{
    interleave::{interleave, thread},
    queue::{Receiver, Sender},
    sync::close::Queue,
    sync::due::Due,
    sync::listed::Listed,
    sync::primitives::{Arc, AtomicUsize, Mutex, Ordering, lock},
};

const TELL: u64 = u64::MAX;
const CAPACITY: usize = 3;
/// The time at which the deadlines of the asks here have passed.
const LATE: u64 = 5;

struct Actor {
    tx: Arc<Sender<u64>>,
    rx: Mutex<Receiver<u64>>,
    waiting: AtomicUsize,
    due: Due,
    listed: Listed,
    /// Whether it is on the watchdog's list.
    on_list: Mutex<bool>,
    expired: AtomicUsize,
}

impl Actor {
    fn new() -> Arc<Self> {
        let tx = Sender::new(CAPACITY);
        let rx = Mutex::new(Receiver { front: Default::default(), sender: tx.clone() });
        let (waiting, expired) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { tx, rx, waiting, due: Due::new(), listed: Listed::new(), on_list: Mutex::new(false), expired })
    }

    fn send(&self, deadline: u64) {
        // The place that is granted first, as `tx.capacity()` shows it.
        self.waiting.fetch_add(1, Ordering::AcqRel);
        assert!(self.tx.try_send(deadline).is_ok(), "there is room");
        if self.listed.enter() {
            *lock(&self.on_list) = true;
        }
        if deadline != TELL {
            self.due.note(deadline);
        }
    }

    fn sweep(&self, now: u64) {
        if !self.due.take(now, || self.waiting.load(Ordering::Acquire) > 0) {
            return;
        }
        let mut next = None::<u64>;
        {
            let mut rx = lock(&self.rx);
            let mut kept = std::collections::VecDeque::new();
            while let Some(deadline) = rx.try_take() {
                if deadline <= now {
                    self.expired.fetch_add(1, Ordering::AcqRel);
                    self.waiting.fetch_sub(1, Ordering::AcqRel);
                } else {
                    next = Some(next.map_or(deadline, |next| next.min(deadline)));
                    kept.push_back(deadline);
                }
            }
            rx.front = kept;
        }
        if let Some(next) = next {
            self.due.note(next.min(now + 1));
        }
    }

    /// A tick of the watchdog: sweeps the actor if it is on the list, and takes it off if nothing is left.
    fn tick(&self, now: u64) {
        if !*lock(&self.on_list) {
            return;
        }
        self.sweep(now);
        let busy = || self.waiting.load(Ordering::Acquire) > 0;
        let mut on_list = lock(&self.on_list);
        if !busy() && self.listed.leave(busy) {
            *on_list = false;
        }
    }

    /// The pump takes a message; whether it was an ask.
    fn pump(&self) -> bool {
        let taken = lock(&self.rx).try_take();
        if taken.is_some() {
            self.waiting.fetch_sub(1, Ordering::AcqRel);
        }
        taken.is_some_and(|deadline| deadline != TELL)
    }
}

#[test]
fn an_ask_beside_a_look_is_expired_by_the_next_ones_though_a_tell_is_before_it() {
    interleave(|| {
        let actor = Actor::new();
        actor.send(TELL);
        let sender = actor.clone();
        let sender = thread::spawn(move || sender.send(LATE));
        actor.sweep(LATE);
        sender.join().unwrap();
        actor.sweep(LATE + 1);
        actor.sweep(LATE + 2);
        assert_eq!(actor.expired.load(Ordering::Acquire), 1);
    });
}

#[test]
fn an_ask_in_an_empty_queue_is_never_forgotten() {
    interleave(|| {
        let actor = Actor::new();
        let sender = actor.clone();
        let sender = thread::spawn(move || sender.send(LATE));
        actor.sweep(LATE);
        sender.join().unwrap();
        actor.sweep(LATE);
        actor.sweep(LATE + 1);
        assert_eq!(actor.expired.load(Ordering::Acquire), 1);
    });
}

#[test]
fn an_ask_is_handled_or_expired_beside_pump_and_look() {
    interleave(|| {
        let actor = Actor::new();
        actor.send(LATE);
        let (pump, sweeper) = (actor.clone(), actor.clone());
        let pump = thread::spawn(move || pump.pump());
        sweeper.sweep(LATE);
        let handled = pump.join().unwrap();
        actor.sweep(LATE + 1);
        assert_eq!(actor.expired.load(Ordering::Acquire) + usize::from(handled), 1);
    });
}

#[test]
fn an_ask_is_never_off_the_list_while_it_waits() {
    interleave(|| {
        let actor = Actor::new();
        actor.send(TELL);
        let (sender, pump) = (actor.clone(), actor.clone());
        let sender = thread::spawn(move || sender.send(LATE));
        let pump = thread::spawn(move || pump.pump());
        actor.tick(LATE);
        sender.join().unwrap();
        let handled = pump.join().unwrap();
        for tick in 1..4 {
            actor.tick(LATE + tick);
        }
        assert_eq!(actor.expired.load(Ordering::Acquire) + usize::from(handled), 1);
    });
}

#[test]
fn an_actor_that_is_done_leaves_the_list() {
    interleave(|| {
        let actor = Actor::new();
        let sender = actor.clone();
        let sender = thread::spawn(move || sender.send(LATE));
        actor.tick(LATE);
        sender.join().unwrap();
        for tick in 1..4 {
            actor.tick(LATE + tick);
        }
        assert!(!*lock(&actor.on_list));
    });
}
