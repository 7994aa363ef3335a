//! The control lane and recipients. Easy to get wrong: order is promised within a lane, so every check across lanes holds the actor
//! until both lanes are filled.
use std::time::Duration;

use tieout_runtime::{AskError, CONTROL_MAILBOX, Event, Mailbox, OnRestart, Overflow, Recipient, SendError};

use crate::actor::{Act, Add, Boom, Do, LIMIT, ViaAtomic, block, event, hold, one, stop};

/// Writes down when it was handled.
#[derive(actix::Message)]
#[rtype(result = "usize")]
struct Note(String);
impl actix::Handler<Note> for Act {
    type Result = usize;
    fn handle(&mut self, m: Note, _: &mut actix::Context<Self>) -> usize {
        self.log.say(m.0);
        self.log.lines().len()
    }
}

fn note(text: &str, n: usize) -> Note {
    Note(format!("{text}{n}"))
}

#[tokio::test]
async fn control_messages_pass_a_full_mailbox_and_keep_their_order() {
    let (rt, addr, log) = one(|s| s.mailbox(Mailbox::bounded(200).overflow(Overflow::Reject))).await;
    let open = hold(&addr).await;
    let mut flood = 0;
    while addr.try_tell(note("normal", flood)).is_ok() {
        flood += 1;
    }
    addr.control().try_tell(note("control", 0)).unwrap();
    addr.control().tell(note("control", 1)).await.unwrap();
    let control = addr.control();
    let mut asked = std::pin::pin!(control.ask(note("control", 2)));
    assert!(futures_util::poll!(&mut asked).is_pending());
    open.send(()).unwrap();
    assert_eq!(asked.await.unwrap(), 3, "before every normal message but those in the pump's hand");
    // The mailbox is still full of normal messages, and refuses.
    let room = async {
        while addr.mailbox_depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, room).await.expect("the mailbox is worked off");
    addr.ask(note("last", 0)).await.unwrap();
    let expected: Vec<_> = (0..3)
        .map(|n| format!("control{n}"))
        .chain((0..flood).map(|n| format!("normal{n}")))
        .chain(["last0".into()])
        .collect();
    assert_eq!(log.lines(), expected);
    stop(rt).await;
}

#[tokio::test]
async fn the_control_lane_has_its_own_bound_and_never_drops() {
    let (rt, addr, log) = one(|s| s.mailbox(Mailbox::bounded(1).overflow(Overflow::DropOldest))).await;
    let open = hold(&addr).await;
    let accepted = (0..1_000).filter(|n| addr.control().try_tell(note("c", *n)).is_ok()).count();
    assert_eq!(accepted, CONTROL_MAILBOX);
    assert_eq!(addr.mailbox_depth(), CONTROL_MAILBOX);
    assert!(matches!(addr.control().try_tell(note("no", 0)), Err(SendError::MailboxFull(_))));
    let late = addr.control().ask(note("late", 0)).timeout(Duration::from_millis(20)).await;
    assert!(matches!(late, Err(AskError::TimedOutInQueue(_))), "{late:?}");
    open.send(()).unwrap();
    assert_eq!(addr.control().ask(note("c", 64)).await.unwrap(), 65);
    assert_eq!(log.lines(), (0..65).map(|n| format!("c{n}")).collect::<Vec<_>>());
    stop(rt).await;
}

#[tokio::test]
async fn a_flood_of_control_messages_does_not_starve_the_normal_lane() {
    let (rt, addr, log) = one(|s| s).await;
    let open = hold(&addr).await;
    addr.try_tell(note("normal", 0)).unwrap();
    for n in 0..CONTROL_MAILBOX {
        addr.control().try_tell(note("control", n)).unwrap();
    }
    open.send(()).unwrap();
    addr.ask(note("last", 0)).await.unwrap();
    let at = log.lines().iter().position(|line| line == "normal0").unwrap();
    assert!((1..32).contains(&at), "the normal message came at {at}");
    stop(rt).await;
}

#[tokio::test]
async fn control_asks_have_deadlines_and_wait_for_an_atomic_reply() {
    let (rt, addr, _) = one(|s| s.ask_timeout(Duration::from_millis(100))).await;
    let (open, wait) = tokio::sync::oneshot::channel();
    let mut atomic = std::pin::pin!(addr.ask(ViaAtomic(Do::Wait(wait))).timeout(LIMIT));
    assert!(futures_util::poll!(&mut atomic).is_pending());
    let begun = async {
        while addr.mailbox_depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, begun).await.expect("the atomic reply is begun");
    let late = addr.control().ask(Add(1)).await;
    assert!(matches!(late, Err(AskError::TimedOutInQueue(Add(1)))), "{late:?}");
    open.send(()).unwrap();
    atomic.await.unwrap();
    assert_eq!(addr.control().ask(Add(1)).await.unwrap(), 2, "the late one was not handled");
    stop(rt).await;
}

#[tokio::test]
async fn a_panic_in_a_control_message_is_named_and_the_lane_survives() {
    let (rt, addr, _) = one(|s| s).await;
    let Err(AskError::Panicked(info)) = addr.control().ask(Boom).await else { panic!("no panic reported") };
    assert!(info.message.unwrap().ends_with("::Boom"));
    assert_eq!(addr.control().ask(Add(3)).await.unwrap(), 3);
    stop(rt).await;
}

#[tokio::test]
async fn a_stop_drains_both_lanes_and_refuses_new_control_messages() {
    let (rt, addr, log) = one(|s| s).await;
    let open = hold(&addr).await;
    addr.try_tell(note("n", 0)).unwrap();
    addr.control().try_tell(note("c", 0)).unwrap();
    let stopping = tokio::spawn({
        let addr = addr.clone();
        async move { addr.stop(LIMIT).await }
    });
    let closed = async {
        while addr.control().try_tell(note("late", 0)).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, closed).await.expect("the lane closes");
    open.send(()).unwrap();
    stopping.await.unwrap().unwrap();
    let lines: Vec<_> = log.lines().into_iter().filter(|line| !line.starts_with("late")).collect();
    assert_eq!(lines, ["c0", "n0", "stopped at 1000"]);
    assert!(matches!(addr.control().ask(Add(1)).await, Err(AskError::Stopped { .. })));
    stop(rt).await;
}

#[tokio::test]
async fn a_recipient_is_the_same_handle_without_the_actors_type() {
    fn is_send_sync_clone<T: Send + Sync + Clone + 'static>(t: T) -> T {
        t
    }
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(1).overflow(Overflow::Reject))).await;
    let to: Recipient<Add> = is_send_sync_clone(addr.recipient::<Add>());
    assert_eq!((to.name(), format!("{to:?}")), ("act", "Recipient(act)".to_owned()));
    assert_eq!(to.ask(Add(1)).await.unwrap(), 1);
    let open = hold(&addr).await;
    to.tell(Add(10)).await.unwrap();
    assert!(matches!(to.try_tell(Add(2)), Err(SendError::MailboxFull(Add(2)))));
    assert!(matches!(to.ask(Add(2)).await, Err(AskError::MailboxFull(Add(2)))));
    open.send(()).unwrap();
    let drained = async {
        while addr.mailbox_depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, drained).await.expect("the queue is worked off");
    assert_eq!(to.ask(Add(0)).await.unwrap(), 1_011);
    let (gate, open, _entered) = block();
    addr.tell(gate).await.unwrap();
    let quick = to.clone().timeout(Duration::from_millis(20)).on_restart(OnRestart::Fail);
    assert!(quick.ask(Add(5)).await.is_err());
    open.send(()).unwrap();
    addr.stop(LIMIT).await.unwrap();
    assert!(matches!(to.ask(Add(5)).await, Err(AskError::Stopped { msg: Add(5), .. })));
    stop(rt).await;
}

#[tokio::test]
async fn a_recipient_follows_its_actor_through_a_restart() {
    let (rt, addr, _) = one(|s| s).await;
    let to = addr.recipient::<Add>();
    let mut events = rt.events();
    to.tell(Add(5)).await.unwrap();
    addr.ask(Boom).await.unwrap_err();
    event(&mut events, "the restart", |e| matches!(e, Event::Restarted { restarts: 1, .. })).await;
    assert_eq!(to.ask(Add(2)).await.unwrap(), 2);
    stop(rt).await;
}
