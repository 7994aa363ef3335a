//! The test kit: one thread, virtual time, probes, faults on demand. What it says of an actor must be what a `Runtime` would do, and a
//! test that leaves something behind must fail.
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use actix::prelude::*;
use futures_util::future::LocalBoxFuture;
use tieout_runtime::{
    AbortReason, Addr, AskError, ChildSpec, Event, Mailbox, OnStall, Overflow, Restart, Runtime, SendError, State,
    StopReason,
    test_kit::{INJECTED, Probe, TestRuntime, inject_panic, stall},
};

use crate::actor::{Act, Add, Do, LIMIT, Log, ViaFuture, spec};

/// Longer than any test may take for real.
const AGES: Duration = Duration::from_secs(600);

#[test]
fn a_timer_of_ten_minutes_ticks_at_once_and_by_the_virtual_clock() {
    let began = Instant::now();
    let rt = TestRuntime::new();
    let ticks = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    rt.block_on(async {
        let ticks = ticks.clone();
        let child =
            ChildSpec::new("timer", move |_| Act { timer: Some((AGES, ticks.clone())), ..Act::new(&Log::default()) });
        rt.supervise(child).await.unwrap();
        rt.pass(AGES * 3 + Duration::from_secs(1)).await;
    });
    assert_eq!(ticks.load(std::sync::atomic::Ordering::Relaxed), 3);
    assert!(rt.now() > AGES * 3, "{:?}", rt.now());
    rt.assert_clean();
    assert!(began.elapsed() < LIMIT, "half an hour went by in {:?}", began.elapsed());
}

#[test]
fn a_probe_records_in_order_answers_as_told_and_outlives_a_restart() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let probe = Probe::<Add>::start(&rt, "probe").await.unwrap();
        let unanswered = probe.addr().ask(Add(1)).await.unwrap_err();
        assert!(matches!(unanswered, AskError::Aborted(AbortReason::ReplyDropped)), "{unanswered:?}");
        probe.reply_with(|m| m.0 * 10);
        assert_eq!(probe.addr().ask(Add(2)).await.unwrap(), 20);
        inject_panic(probe.addr()).unwrap();
        assert_eq!(probe.addr().ask(Add(3)).await.unwrap(), 30);
        for n in 1..=3 {
            probe.expect(Add(n)).await;
        }
        let before = rt.now();
        probe.expect_none(AGES).await;
        assert!(rt.now() - before >= AGES);
        probe.addr().tell(Add(4)).await.unwrap();
        assert_eq!(probe.next().await, Add(4));
        assert_eq!(probe.recorded(), 0);
    });
    rt.assert_clean();
}

/// Whether the test kit complains, and how.
fn complaint(f: impl FnOnce() + std::panic::UnwindSafe) -> String {
    match std::panic::catch_unwind(f) {
        Ok(()) => "no complaint".to_owned(),
        Err(said) => said.downcast_ref::<String>().cloned().unwrap_or_default(),
    }
}

#[test]
fn a_probe_that_gets_another_message_none_or_too_many_fails_the_test_and_names_the_line() {
    let wait_for = |what: fn(&Probe<Add>) -> LocalBoxFuture<'_, ()>| {
        complaint(move || {
            let rt = TestRuntime::new();
            rt.block_on(async {
                let probe = Probe::<Add>::start(&rt, "probe").await.unwrap();
                probe.addr().tell(Add(1)).await.unwrap();
                what(&probe).await;
            });
        })
    };
    let other = wait_for(|p| Box::pin(p.expect(Add(2))));
    assert!(other.contains("expected Add(2), got Some(Add(1))") && other.contains("kit.rs"), "{other}");
    let some = wait_for(|p| Box::pin(p.expect_none(AGES)));
    assert!(some.contains("expected nothing for 600s, got Add(1)"), "{some}");
    let none = wait_for(|p| {
        Box::pin(async {
            p.expect(Add(1)).await;
            p.next().await;
        })
    });
    assert!(none.contains("was sent nothing within 10s"), "{none}");
}

#[test]
fn an_injected_panic_is_a_panic_like_any_other() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
        let mut events = rt.events();
        assert_eq!(addr.ask(Add(5)).await.unwrap(), 5);
        inject_panic(&addr).unwrap();
        assert_eq!(addr.ask(Add(1)).await.unwrap(), 1, "the queue waited for the new instance");
        let mut panicked = None;
        while let Ok(event) = events.try_recv() {
            if let Event::Panicked(info) = event {
                panicked = Some(info);
            }
        }
        let info = panicked.expect("the panic is an event");
        assert_eq!((&*info.actor, &*info.text, info.message), ("act", INJECTED, Some("(injected panic)")));
    });
    rt.assert_clean();
}

#[test]
fn faults_are_refused_like_messages() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let addr = rt.supervise(spec("act", &Log::default()).mailbox(Mailbox::bounded(1))).await.unwrap();
        stall(&addr, AGES).unwrap();
        assert!(matches!(inject_panic(&addr), Err(SendError::MailboxFull(()))));
        rt.settle().await;
        addr.stop(LIMIT).await.unwrap();
        assert!(matches!(stall(&addr, AGES), Err(SendError::Stopped { why: StopReason::Requested, .. })));
    });
    rt.assert_clean();
}

#[test]
fn a_stall_is_seen_by_the_watchdog_at_its_virtual_time_and_ends() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seen2 = seen.clone();
    let rt = TestRuntime::with(
        Runtime::builder().stall_after(Duration::from_secs(2)).on_event(move |e| seen2.lock().unwrap().push(e.clone())),
    );
    rt.block_on(async {
        let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
        let before = rt.now();
        stall(&addr, Duration::from_millis(1_500)).unwrap();
        assert_eq!(addr.ask(Add(1)).await.unwrap(), 1);
        assert!(rt.now() - before >= Duration::from_millis(1_500), "nothing else ran meanwhile");
        assert!(!seen.lock().unwrap().iter().any(|e| matches!(e, Event::Stalled(_))), "short of the limit");
        stall(&addr, Duration::from_secs(3)).unwrap();
        rt.settle().await;
        rt.pass(Duration::from_secs(1)).await;
    });
    let seen = seen.lock().unwrap().clone();
    let stalls: Vec<_> = seen.iter().filter_map(|e| if let Event::Stalled(s) = e { Some(s) } else { None }).collect();
    assert_eq!(stalls.len(), 1, "{seen:?}");
    assert_eq!((&*stalls[0].actor, stalls[0].message), ("act", "(injected stall)"));
    assert!((2_000..2_100).contains(&stalls[0].for_.as_millis()), "{:?}", stalls[0]);
    assert!(seen.iter().any(|e| matches!(e, Event::Recovered(_))), "{seen:?}");
    rt.assert_clean();
}

/// Lets time jump with no tick of the watchdog in between, as on a machine that is busy elsewhere.
#[derive(Message)]
#[rtype(result = "()")]
struct TimeJumps(Duration);
impl Handler<TimeJumps> for Act {
    type Result = ();
    fn handle(&mut self, m: TimeJumps, _: &mut Context<Self>) {
        let jump = std::pin::pin!(tokio::time::advance(m.0));
        let _ = jump.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }
}

#[test]
fn a_late_tick_of_the_watchdog_gives_no_verdict_and_forgets_no_stall() {
    let rt = TestRuntime::with(Runtime::builder().stall_after(Duration::from_secs(2)));
    rt.block_on(async {
        let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
        let mut events = rt.events();
        addr.ask(TimeJumps(AGES)).await.unwrap();
        rt.pass(Duration::from_secs(1)).await;
        let got: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        assert!(got.is_empty(), "the machine was late, not the handler: {got:?}");
        stall(&addr, Duration::from_secs(3)).unwrap();
        addr.tell(TimeJumps(AGES)).await.unwrap();
        rt.settle().await;
        rt.pass(Duration::from_secs(1)).await;
        let got: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
        assert!(matches!(got[..], [Event::Stalled(_), Event::Recovered(_)]), "{got:?}");
        assert!(rt.health().ok(), "{:?}", rt.health());
    });
    rt.assert_clean();
}

/// Blocks virtually by telling its own actor to, then tries to have an effect on another.
#[derive(Message)]
#[rtype(result = "()")]
struct TellAfterTheStall(Addr<Act>, Arc<Mutex<String>>);
impl Handler<TellAfterTheStall> for Act {
    type Result = ();
    fn handle(&mut self, m: TellAfterTheStall, _: &mut Context<Self>) {
        *m.1.lock().unwrap() = m.0.try_tell(Add(1_000)).map_or_else(|e| e.to_string(), |()| "accepted".to_owned());
    }
}

#[test]
fn rehoming_works_under_virtual_time_with_the_same_queue_and_handles() {
    let rt = TestRuntime::with(
        Runtime::builder().stall_after(Duration::from_millis(200)).on_stall(OnStall::Rehome).max_leaked_threads(1),
    );
    rt.block_on(async {
        let log = Log::default();
        let addr = rt.supervise(spec("act", &log)).await.unwrap();
        let neighbour = rt.supervise(spec("neighbour", &log)).await.unwrap();
        assert_eq!(addr.ask(Add(5)).await.unwrap(), 5);
        assert_eq!(neighbour.ask(Add(5)).await.unwrap(), 5);
        for round in 1..=3 {
            stall(&addr, Duration::from_millis(1_500)).unwrap();
            let (queued, beside) = tokio::join!(addr.ask(Add(1)), neighbour.ask(Add(2)));
            assert_eq!((queued.unwrap(), beside.unwrap()), (1, 2), "new instances, both, in round {round}");
            assert_eq!(rt.health().leaked_threads, 0, "the zombie has returned");
        }
        let late = Arc::new(Mutex::new(String::new()));
        addr.ask(TellAfterTheStall(neighbour.clone(), late.clone())).await.unwrap();
        assert_eq!(*late.lock().unwrap(), "accepted", "the successor's own sends are not fenced");
    });
    rt.assert_clean();
}

#[test]
fn an_ask_times_out_at_its_virtual_deadline() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let addr = rt.supervise(spec("act", &Log::default()).ask_timeout(AGES)).await.unwrap();
        let (keep, wait) = tokio::sync::oneshot::channel();
        let before = rt.now();
        let late = addr.ask(ViaFuture(Do::Wait(wait))).await.unwrap_err();
        let took = rt.now() - before;
        assert!(matches!(late, AskError::TimedOutRunning { .. }), "{late:?}");
        assert!((AGES..AGES + Duration::from_millis(100)).contains(&took), "{took:?}");
        drop(keep);
    });
    rt.assert_clean();
}

#[test]
fn assert_clean_names_a_dead_letter_a_bad_end_and_a_reply_that_never_came() {
    let lost = |expected: u64| {
        complaint(move || {
            let rt = TestRuntime::new();
            rt.block_on(async {
                let mailbox = Mailbox::bounded(1).overflow(Overflow::DropNewest);
                let addr = rt.supervise(spec("act", &Log::default()).mailbox(mailbox)).await.unwrap();
                stall(&addr, AGES).unwrap();
                addr.try_tell(Add(1)).unwrap();
            });
            rt.expect_dead_letters(expected);
            rt.assert_clean();
        })
    };
    assert!(lost(0).contains("1 messages were lost, expected 0"));
    assert_eq!(lost(1), "no complaint");

    let ended = |expected: &'static str| {
        complaint(move || {
            let rt = TestRuntime::new();
            rt.block_on(async {
                let addr = rt.supervise(spec("act", &Log::default()).restart(Restart::Temporary)).await.unwrap();
                inject_panic(&addr).unwrap();
                addr.watch().wait_for(|s| matches!(s, State::Stopped { .. })).await.unwrap();
            });
            rt.expect_end(expected);
            rt.assert_clean();
        })
    };
    assert!(ended("another").contains("act ended: actor act panicked"));
    assert_eq!(ended("act"), "no complaint");

    let hung = complaint(|| {
        let rt = TestRuntime::new();
        let (_keep, wait) = tokio::sync::oneshot::channel();
        rt.block_on(async {
            let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
            addr.tell(ViaFuture(Do::Wait(wait))).await.unwrap();
            tokio::task::yield_now().await;
        });
        rt.assert_clean();
    });
    assert!(hung.contains("not at rest") && hung.contains("replies_in_flight: 1"), "{hung}");
}

#[test]
fn a_test_that_waits_for_nothing_is_ended_with_the_state_of_the_actors() {
    let hung = complaint(|| {
        let rt = TestRuntime::new();
        rt.block_on(async {
            rt.supervise(spec("act", &Log::default())).await.unwrap();
            std::future::pending::<()>().await;
        });
    });
    assert!(hung.contains("still waiting after 3600s of virtual time") && hung.contains("\"act\""), "{hung}");
}

#[tokio::test]
async fn faults_and_probes_work_on_a_runtime_with_threads_too() {
    let rt = Runtime::builder().start().unwrap();
    let probe = Probe::<Add>::start(&rt, "probe").await.unwrap();
    inject_panic(probe.addr()).unwrap();
    let begun = Instant::now();
    stall(probe.addr(), Duration::from_millis(50)).unwrap();
    probe.addr().tell(Add(1)).await.unwrap();
    probe.expect(Add(1)).await;
    assert!(begun.elapsed() >= Duration::from_millis(50));
    assert_eq!(rt.health().actors[0].restarts, 1);
    assert!(rt.shutdown(LIMIT).await.clean());
}
