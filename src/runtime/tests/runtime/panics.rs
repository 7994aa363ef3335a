//! Panics cost one message, and whoever asked is told what, where and in which message. In raw actix the asker and all who
//! queued get `Closed`, the actor is gone, and a second panic in its hooks ends the process.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tieout_runtime::{AbortReason, AskError, ChildSpec, Event, OnExhausted, Restart, StartError, State, StopReason};

use crate::actor::{
    Act, Add, Boom, Do, LIMIT, Log, StopYourself, ViaActFuture, ViaAtomic, ViaFuture, block, event, one, quick, spec,
    state, stop,
};

#[tokio::test]
async fn the_asker_learns_text_place_and_message_and_the_queue_waits_for_the_new_instance() {
    let (rt, addr, _) = one(|s| s).await;
    assert_eq!(addr.ask(Add(2)).await.unwrap(), 2);
    let (gate, open, entered) = block();
    let held = tokio::spawn({
        let addr = addr.clone();
        async move { addr.ask(gate).await }
    });
    tokio::task::spawn_blocking(move || entered.recv_timeout(LIMIT).unwrap()).await.unwrap();
    let queued = tokio::spawn({
        let addr = addr.clone();
        async move { tokio::join!(addr.ask(Boom), addr.ask(Add(5)), addr.ask(Add(5))) }
    });
    let depth = async {
        while addr.mailbox_depth() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, depth).await.expect("three messages wait behind the blocked one");
    open.send(()).unwrap();
    assert_eq!(held.await.unwrap().unwrap(), 1_002);
    let (boom, five, ten) = queued.await.unwrap();
    let AskError::Panicked(info) = boom.unwrap_err() else { panic!("not a panic") };
    assert_eq!(info.text, "boom at 1002");
    assert_eq!(&*info.actor, "act");
    assert!(info.location.unwrap().contains("actor.rs"));
    assert!(info.message.unwrap().ends_with("::Boom"));
    assert_eq!((five.unwrap(), ten.unwrap()), (5, 10), "what queued was handled by the new instance, in order");
    assert_eq!(rt.health().actors[0].restarts, 1);
    stop(rt).await;
}

#[tokio::test]
async fn a_told_message_that_panics_is_reported_as_an_event() {
    let (rt, addr, _) = one(|s| s).await;
    let mut events = rt.events();
    addr.tell(Boom).await.unwrap();
    let Event::Panicked(info) = event(&mut events, "the panic", |e| matches!(e, Event::Panicked(_))).await else {
        unreachable!()
    };
    assert_eq!(info.text, "boom at 0");
    event(&mut events, "the new start", |e| matches!(e, Event::Restarted { restarts: 1, .. })).await;
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1);
    stop(rt).await;
}

#[tokio::test]
async fn a_failed_first_start_is_the_answer_of_supervise() {
    let (rt, _, log) = one(|s| s).await;
    let in_factory = ChildSpec::<Act>::new("factory", |_| panic!("no factory"));
    let StartError::Panicked(info) = rt.supervise(in_factory).await.unwrap_err() else { panic!("another error") };
    assert_eq!(info.text, "no factory");
    let log2 = log.clone();
    let in_started = ChildSpec::new("started", move |_| Act { panic_in_started: true, ..Act::new(&log2) });
    let StartError::Panicked(info) = rt.supervise(in_started).await.unwrap_err() else { panic!("another error") };
    assert_eq!(info.text, "not today");
    let log2 = log.clone();
    let stops = ChildSpec::new("stops", move |ctx: &mut actix::Context<Act>| {
        actix::ActorContext::stop(ctx);
        Act::new(&log2)
    });
    assert_eq!(rt.supervise(stops).await.unwrap_err(), StartError::StoppedItself("stops".into()));
    assert_eq!(rt.health().actors.len(), 1, "nothing dead is left in the registry");
    stop(rt).await;
}

#[tokio::test]
async fn failed_starts_count_and_exhaustion_ends_in_a_named_state() {
    let starts = Arc::new(AtomicUsize::new(0));
    let log = Log::default();
    let rt = tieout_runtime::Runtime::builder().start().unwrap();
    let (starts2, log2) = (starts.clone(), log.clone());
    let flaky = ChildSpec::new("flaky", move |_| {
        assert!(starts2.fetch_add(1, Ordering::SeqCst) == 0, "only the first start works");
        Act::new(&log2)
    });
    let flaky = flaky.backoff(quick()).intensity(3, Duration::from_secs(60)).on_exhausted(OnExhausted::Escalate);
    let addr = rt.supervise(flaky).await.unwrap();
    assert!(matches!(addr.ask(Boom).await, Err(AskError::Panicked(_))));
    let end = state(&addr, "the end", |s| matches!(s, State::Stopped { .. })).await;
    assert!(matches!(end, State::Stopped { why: StopReason::Exhausted(_) }), "{end:?}");
    assert_eq!(starts.load(Ordering::SeqCst), 4, "the first and three restarts");
    let Err(AskError::Stopped { msg, why: StopReason::Exhausted(why) }) = addr.ask(Add(9)).await else {
        panic!("not stopped")
    };
    assert_eq!(msg, Add(9));
    assert!(why.contains("only the first start works"), "{why}");
    let mut failed = rt.failed();
    failed.wait_for(Option::is_some).await.unwrap();
    let failed = rt.health().failed.unwrap();
    assert_eq!(&*failed.name, "flaky");
    assert!(failed.cause.contains("only the first start works"), "{failed:?}");
    stop(rt).await;
}

#[tokio::test]
async fn restart_types_decide_who_comes_back() {
    let log = Log::default();
    let rt = tieout_runtime::Runtime::builder().start().unwrap();
    let cases =
        [(Restart::Permanent, true, true), (Restart::Transient, true, false), (Restart::Temporary, false, false)];
    for (restart, after_panic, after_stop) in cases {
        let addr = rt.supervise(spec(&format!("{restart:?}-panic"), &log).restart(restart)).await.unwrap();
        assert!(addr.ask(Boom).await.is_err());
        assert_eq!(addr.ask(Add(1)).await.is_ok(), after_panic, "{restart:?} after a panic");
        let addr = rt.supervise(spec(&format!("{restart:?}-stop"), &log).restart(restart)).await.unwrap();
        addr.ask(StopYourself).await.unwrap();
        assert_eq!(addr.ask(Add(1)).await.is_ok(), after_stop, "{restart:?} after it stopped itself");
    }
    stop(rt).await;
}

#[tokio::test]
async fn an_actor_whose_hooks_panic_too_does_not_end_the_process() {
    let log = Log::default();
    let rt = tieout_runtime::Runtime::builder().start().unwrap();
    let log2 = log.clone();
    let child = ChildSpec::new("hooks", move |_| Act { panic_in_hooks: true, ..Act::new(&log2) });
    let addr = rt.supervise(child.backoff(quick())).await.unwrap();
    assert!(matches!(addr.ask(Boom).await, Err(AskError::Panicked(_))));
    assert_eq!(addr.ask(Add(4)).await.unwrap(), 4);
    // A graceful stop does run the hooks; their panic ends the actor, not the process.
    let _ = addr.stop(LIMIT).await;
    state(&addr, "the end", |s| matches!(s, State::Stopped { .. })).await;
    stop(rt).await;
}

#[tokio::test]
async fn a_panic_in_any_kind_of_asynchronous_reply_reaches_its_asker() {
    let (rt, addr, _) = one(|s| s).await;
    let Err(AskError::Panicked(info)) = addr.ask(ViaFuture(Do::Panic)).await else { panic!("not a panic") };
    assert_eq!(info.text, "late boom");
    assert_eq!(rt.health().actors[0].restarts, 0, "a detached future is not the actor");
    let got = addr.ask(ViaActFuture(Do::Panic)).await.unwrap_err();
    let AskError::Aborted(AbortReason::ActorPanicked(info)) = got else { panic!("{got:?}") };
    assert_eq!(info.text, "late boom");
    let got = addr.ask(ViaAtomic(Do::Panic)).await.unwrap_err();
    assert!(matches!(got, AskError::Aborted(AbortReason::ActorPanicked(_))), "{got:?}");
    assert_eq!(addr.ask(Add(4)).await.unwrap(), 4);
    stop(rt).await;
}
