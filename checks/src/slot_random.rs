//! The reply slot against a model, for random sequences of calls: the slow and obvious version is an enum. Easy to get wrong:
//! the model knows no threads; those are `slot`'s.
use std::task::{Poll, Waker};

use proptest::prelude::*;

use crate::sync::reply::{GivenUp, Slot};

#[derive(Debug, Clone, Copy)]
enum Call {
    Reply,
    Later,
    Deliver,
    Fail,
    Poll,
    GiveUp,
}

#[derive(Debug, PartialEq)]
enum Model {
    Queued,
    Later,
    Done(Result<u8, Option<u8>>),
    Gone,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 20 } else { 2_000 }, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_slot_does_what_an_enum_would(calls in prop::collection::vec(
        prop::sample::select(vec![Call::Reply, Call::Later, Call::Deliver, Call::Fail, Call::Poll, Call::GiveUp]), 1..12))
    {
        let (mut asker, slot) = Slot::<u8, u8, Option<u8>, ()>::pair(1, Waker::noop().clone(), ());
        let mut model = Model::Queued;
        for call in calls {
            match call {
                Call::Reply => match slot.begin() {
                    Some((1, turn)) => { prop_assert_eq!(&model, &Model::Queued); turn.reply(2); model = Model::Done(Ok(2)); }
                    other => { prop_assert!(other.is_none()); prop_assert_ne!(&model, &Model::Queued); }
                },
                Call::Later => if let Some((_, turn)) = slot.begin() {
                    prop_assert_eq!(&model, &Model::Queued);
                    turn.later();
                    model = Model::Later;
                },
                Call::Deliver => { slot.deliver(3); if model == Model::Later { model = Model::Done(Ok(3)); } }
                Call::Fail => {
                    prop_assert_eq!(slot.fail(|message| message), model == Model::Queued);
                    model = match model {
                        Model::Queued => Model::Done(Err(Some(1))),
                        Model::Later => Model::Done(Err(None)),
                        settled => settled,
                    };
                }
                Call::Poll => match asker.poll(Waker::noop()) {
                    Poll::Ready(outcome) => { prop_assert_eq!(model, Model::Done(outcome)); model = Model::Gone; }
                    Poll::Pending => prop_assert!(!matches!(model, Model::Done(_))),
                },
                Call::GiveUp => match asker.give_up() {
                    GivenUp::Message(1) => { prop_assert_eq!(model, Model::Queued); model = Model::Gone; }
                    GivenUp::Outcome(outcome) => { prop_assert_eq!(model, Model::Done(outcome)); model = Model::Gone; }
                    GivenUp::Running => prop_assert!(matches!(model, Model::Later | Model::Gone)),
                    GivenUp::Message(_) | GivenUp::Settling => prop_assert!(false, "not without a second thread"),
                },
            }
        }
    }
}
