//! A handler that blocks is named, and by policy the process ends or everybody moves to a fresh thread. In raw actix it stops
//! every actor of its thread, and nobody is told.
use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use tieout_runtime::{Addr, AskError, Event, Events, OnRestart, OnStall, Runtime, State};

use crate::actor::{Act, Add, Do, LIMIT, Log, ViaFuture, block, event, spec, state};

const STUCK_AFTER: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_stuck_handler_is_named_with_its_actor_message_and_duration() {
    let log = Log::default();
    let rt = Runtime::builder().stall_after(STUCK_AFTER).start().unwrap();
    let addr = rt.supervise(spec("act", &log)).await.unwrap();
    let mut events = rt.events();
    let (gate, open, _entered) = block();
    addr.tell(gate).await.unwrap();
    let found = event(&mut events, "the stall", |e| matches!(e, Event::Stalled(_))).await;
    let Event::Stalled(stall) = found else { unreachable!() };
    assert_eq!(&*stall.actor, "act");
    assert!(stall.message.ends_with("::Block"), "{}", stall.message);
    assert!(stall.for_ >= STUCK_AFTER);
    let health = rt.health();
    assert!(!health.ok());
    assert_eq!(health.stalled.unwrap().actor, stall.actor);
    assert!(matches!(addr.watch().get(), State::Stalled { .. }));
    let got = addr.ask(Add(1)).on_restart(OnRestart::Fail).await.unwrap_err();
    assert!(matches!(got, AskError::Stalled { msg: Add(1), .. }), "{got:?}");
    open.send(()).unwrap();
    event(&mut events, "the recovery", |e| matches!(e, Event::Recovered(_))).await;
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1_001, "reporting changes nothing");
    assert!(rt.health().ok(), "{:?}", rt.health());
    assert!(rt.shutdown(LIMIT).await.clean());
}

#[tokio::test]
async fn a_reply_future_that_blocks_the_thread_outside_of_any_actor_is_found_too() {
    let rt = Runtime::builder().stall_after(STUCK_AFTER).start().unwrap();
    let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
    let mut events = rt.events();
    let (open, gate) = std::sync::mpsc::channel();
    addr.tell(ViaFuture(Do::Block(gate))).await.unwrap();
    let found = event(&mut events, "the stall", |e| matches!(e, Event::Stalled(_))).await;
    let Event::Stalled(stall) = found else { unreachable!() };
    assert_eq!(&*stall.actor, "(task)");
    drop(open);
    event(&mut events, "the recovery", |e| matches!(e, Event::Recovered(_))).await;
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1);
    assert!(rt.shutdown(LIMIT).await.clean());
}

#[tokio::test]
async fn fail_fast_calls_the_owner_with_the_name() {
    let said = Arc::new(Mutex::new(String::new()));
    let said2 = said.clone();
    let rt = Runtime::builder()
        .stall_after(STUCK_AFTER)
        .on_stall(OnStall::FailFast)
        .on_fatal(move |why| *said2.lock().unwrap() = why.to_owned())
        .start()
        .unwrap();
    let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
    let mut events = rt.events();
    let (gate, open, _entered) = block();
    addr.tell(gate).await.unwrap();
    event(&mut events, "the stall", |e| matches!(e, Event::Stalled(_))).await;
    open.send(()).unwrap();
    event(&mut events, "the recovery", |e| matches!(e, Event::Recovered(_))).await;
    let why = said.lock().unwrap().clone();
    assert!(why.contains("actor act has been stuck in") && why.contains("::Block"), "{why}");
    assert!(rt.shutdown(LIMIT).await.clean());
}

/// Two stuck handlers of one actor, the first on a thread that was given up, which is all that may be.
struct Twice {
    rt: Runtime,
    addr: Addr<Act>,
    events: Events,
    open: [mpsc::Sender<()>; 2],
}

async fn stuck_twice() -> Twice {
    let rt =
        Runtime::builder().stall_after(STUCK_AFTER).on_stall(OnStall::Rehome).max_leaked_threads(1).start().unwrap();
    let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
    let mut events = rt.events();
    let (first, open_first, _entered) = block();
    addr.tell(first).await.unwrap();
    event(&mut events, "the move", |e| matches!(e, Event::Rehomed { .. })).await;
    let (second, open_second, _entered) = block();
    addr.tell(second).await.unwrap();
    let stays = event(&mut events, "that it stays", |e| matches!(e, Event::NotRehomed { .. })).await;
    let Event::NotRehomed { stall, leaked_threads: 1 } = stays else { panic!("{stays:?}") };
    assert_eq!((&*stall.actor, rt.health().leaked_threads), ("act", 1), "the bound holds");
    Twice { rt, addr, events, open: [open_first, open_second] }
}

#[tokio::test]
async fn threads_given_up_are_bounded_and_reported_at_shutdown() {
    let Twice { rt, addr, open, .. } = stuck_twice().await;
    state(&addr, "the second stall", |s| matches!(s, State::Stalled { .. })).await;
    let report = rt.shutdown(Duration::from_millis(300)).await;
    assert_eq!(report.timed_out.len(), 1, "{report:?}");
    assert_eq!(report.leaked_threads.len(), 2, "both threads are still in their handlers: {report:?}");
    drop(open);
}

#[tokio::test]
async fn what_could_not_be_moved_moves_when_a_thread_given_up_before_has_ended() {
    let Twice { rt, addr, mut events, open: [first, second] } = stuck_twice().await;
    drop(first);
    event(&mut events, "the late move", |e| matches!(e, Event::Rehomed { .. })).await;
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1, "by an instance of its own");
    assert_eq!(rt.health().stalled, None);
    drop(second);
    assert!(rt.shutdown(LIMIT).await.clean());
}
