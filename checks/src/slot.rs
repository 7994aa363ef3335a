//! The reply slot under every interleaving: an ask ends exactly once, an asker is never left waiting, no value is lost or
//! dropped twice. Easy to get wrong: an assertion about who won needs the other side's word as well.
use std::{
    future::poll_fn,
    sync::atomic::{AtomicUsize as Count, Ordering::SeqCst},
    task::Waker,
};

use crate::{
    interleave::{block_on, interleave, thread},
    sync::primitives::Arc,
    sync::reply::{Asker, GivenUp, Parcel, Slot},
};

/// A value that is counted: made, and dropped once. Boxed, so that Miri sees a second drop or a leak.
pub(crate) struct Counted(#[allow(dead_code)] Box<u8>, std::sync::Arc<Count>);

impl Counted {
    fn new(alive: &std::sync::Arc<Count>) -> Self {
        alive.fetch_add(1, SeqCst);
        Self(Box::new(7), alive.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        assert!(self.1.fetch_sub(1, SeqCst) > 0, "dropped twice");
    }
}

/// What an ask failed with: the message, if no handler has seen it.
type Failed = Option<Counted>;
type TestSlot = Slot<Counted, Counted, Failed, ()>;
type TestAsker = Asker<Counted, Counted, Failed, ()>;

fn pair(alive: &std::sync::Arc<Count>) -> (TestAsker, Arc<TestSlot>) {
    Slot::pair(Counted::new(alive), Waker::noop().clone(), ())
}

fn wait(mut asker: TestAsker) -> Result<Counted, Failed> {
    block_on(poll_fn(|cx| asker.poll(cx.waker())))
}

/// Whether the handler saw the message, and so replied.
fn handle(slot: &TestSlot, alive: &std::sync::Arc<Count>) -> bool {
    let Some((message, turn)) = slot.begin() else { return false };
    drop(message);
    turn.reply(Counted::new(alive));
    true
}

fn nothing_left(alive: &Count) {
    assert_eq!(alive.load(SeqCst), 0, "a value was lost");
}

#[test]
fn an_asker_is_woken_for_the_reply() {
    interleave(|| {
        let alive = std::sync::Arc::default();
        let (asker, slot) = pair(&alive);
        let alive2 = alive.clone();
        let actor = thread::spawn(move || handle(&slot, &alive2));
        assert!(wait(asker).is_ok());
        assert!(actor.join().unwrap());
        nothing_left(&alive);
    });
}

#[test]
fn a_late_reply_reaches_an_asker_that_moved_to_another_task() {
    interleave(|| {
        let alive = std::sync::Arc::default();
        let (mut asker, slot) = pair(&alive);
        let alive2 = alive.clone();
        let actor = thread::spawn(move || {
            let Some((message, turn)) = slot.begin() else { return false };
            drop(message);
            turn.later();
            slot.deliver(Counted::new(&alive2));
            true
        });
        let early = asker.poll(Waker::noop()); // registers another waker, in between
        if early.is_pending() {
            assert!(wait(asker).is_ok());
        }
        drop(early);
        assert!(actor.join().unwrap());
        nothing_left(&alive);
    });
}

#[test]
fn reply_and_deadline_decide_between_them() {
    interleave(|| {
        let alive = std::sync::Arc::default();
        let (asker, slot) = pair(&alive);
        let (slot2, alive2) = (slot.clone(), alive.clone());
        let actor = thread::spawn(move || handle(&slot2, &alive2));
        let sweep = thread::spawn(move || slot.fail(|message| message));
        let outcome = wait(asker);
        let (handled, unseen) = (actor.join().unwrap(), sweep.join().unwrap());
        match &outcome {
            Ok(_) => assert!(handled && !unseen),
            Err(Some(_)) => assert!(!handled && unseen, "given back, so no handler may have seen it"),
            Err(None) => assert!(handled && !unseen),
        }
        drop(outcome);
        nothing_left(&alive);
    });
}

#[test]
fn a_late_reply_and_two_failures_leave_one_outcome() {
    interleave(|| {
        let alive = std::sync::Arc::default();
        let (asker, slot) = pair(&alive);
        let (message, turn) = slot.begin().unwrap();
        drop(message);
        turn.later();
        let (slot2, alive2) = (slot.clone(), alive.clone());
        let reply = thread::spawn(move || slot2.deliver(Counted::new(&alive2)));
        let slot3 = slot.clone();
        let sweep = thread::spawn(move || assert!(!slot3.fail(|message| message)));
        assert!(!slot.fail(|message| message));
        assert!(!matches!(wait(asker), Err(Some(_))));
        reply.join().unwrap();
        sweep.join().unwrap();
        drop(slot);
        nothing_left(&alive);
    });
}

#[test]
fn an_asker_that_gives_up_gets_its_message_or_the_handler_does() {
    interleave(|| {
        let alive = std::sync::Arc::default();
        let (mut asker, slot) = pair(&alive);
        let (slot2, alive2) = (slot.clone(), alive.clone());
        let actor = thread::spawn(move || handle(&slot2, &alive2));
        let sweep = thread::spawn(move || slot.fail(|message| message));
        let given_up = asker.give_up();
        if matches!(given_up, GivenUp::Settling) {
            // The promise: the outcome is on its way and wakes.
            assert!(matches!(wait(asker), Err(Some(_)) | Err(None) | Ok(_)));
        } else {
            drop(asker);
        }
        let (handled, unseen) = (actor.join().unwrap(), sweep.join().unwrap());
        match &given_up {
            GivenUp::Message(_) => assert!(!handled && !unseen),
            GivenUp::Running | GivenUp::Outcome(Ok(_)) | GivenUp::Outcome(Err(None)) => assert!(handled && !unseen),
            GivenUp::Outcome(Err(Some(_))) => assert!(!handled && unseen),
            GivenUp::Settling => assert!(handled != unseen),
        }
        drop(given_up);
        nothing_left(&alive);
    });
}

#[test]
fn a_dropped_ask_leaves_nothing_behind() {
    interleave(|| {
        let alive = std::sync::Arc::default();
        let (asker, slot) = pair(&alive);
        let (slot2, alive2) = (slot.clone(), alive.clone());
        let actor = thread::spawn(move || handle(&slot2, &alive2));
        let sweep = thread::spawn(move || slot.fail(|message| message));
        drop(asker);
        actor.join().unwrap();
        sweep.join().unwrap();
        nothing_left(&alive);
    });
}

#[test]
fn a_tell_is_taken_once() {
    interleave(|| {
        let alive = std::sync::Arc::default();
        let parcel = Arc::new(Parcel::new(Counted::new(&alive), ()));
        let parcel2 = parcel.clone();
        let other = thread::spawn(move || parcel2.take().is_some());
        let mine = parcel.take().is_some();
        assert_ne!(mine, other.join().unwrap());
        drop(parcel);
        nothing_left(&alive);
    });
}
