//! Stopping drains in reverse start order under deadlines, with the reactor alive, and says what was left. Raw actix drops
//! queued asks, cuts asynchronous ones, runs `stopped()` without a reactor, and joins nothing.
use std::time::Duration;

use tieout_runtime::{Addr, AskError, EventsError, Restart, Runtime, SendError, StartError, State, StopReason};

use crate::actor::{Act, Add, Do, LIMIT, Log, StopYourself, ViaActFuture, ViaFuture, block, one, spec, state};

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_drains_queues_and_replies_in_reverse_start_order() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    let first = rt.supervise(spec("first", &log)).await.unwrap();
    let second = rt.supervise(spec("second", &log)).await.unwrap();
    let (gate, open, entered) = block();
    second.tell(gate).await.unwrap();
    tokio::task::spawn_blocking(move || entered.recv_timeout(LIMIT).unwrap()).await.unwrap();
    for _ in 0..100 {
        first.tell(Add(1)).await.unwrap();
        second.tell(Add(1)).await.unwrap();
    }
    let (reply, wait) = tokio::sync::oneshot::channel();
    let (reply2, wait2) = tokio::sync::oneshot::channel();
    let late = tokio::spawn({
        let second = second.clone();
        async move { tokio::join!(second.ask(ViaFuture(Do::Wait(wait))), second.ask(ViaActFuture(Do::Wait(wait2)))) }
    });
    let queued = async {
        while second.mailbox_depth() < 102 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, queued).await.expect("everything is queued");
    let stopping = tokio::spawn({
        let rt = rt.clone();
        async move { rt.shutdown(LIMIT).await }
    });
    state(&second, "the drain", |s| *s == State::Stopping).await;
    assert!(matches!(second.tell(Add(9)).await, Err(SendError::Stopping(Add(9)))));
    open.send(()).unwrap();
    reply.send(()).unwrap();
    reply2.send(()).unwrap();
    let report = stopping.await.unwrap();
    assert!(report.clean(), "{report:?}");
    assert_eq!(report.drained.iter().map(|n| &**n).collect::<Vec<_>>(), ["second", "first"]);
    assert_eq!(report.dead_letters, 0);
    assert_eq!(log.lines(), ["stopped at 1101", "stopped at 100"], "on_stop ran, with a reactor, after the queue");
    let (future, act_future) = late.await.unwrap();
    assert_eq!((future.unwrap(), act_future.unwrap()), (7, 1_101), "replies in flight were awaited");
    let Err(AskError::Stopped { msg: Add(1), why: StopReason::Requested }) = first.ask(Add(1)).await else {
        panic!("not stopped")
    };
    assert!(matches!(rt.supervise(spec("late", &log)).await, Err(StartError::ShuttingDown(_))));
    assert_eq!(rt.shutdown(LIMIT).await, report, "a second shutdown gives the same report");
    assert!(!rt.health().thread_alive);
}

#[tokio::test]
async fn an_actor_that_does_not_drain_in_time_is_ended_and_its_queue_becomes_dead_letters() {
    let (rt, addr, _) = one(|s| s).await;
    let (gate, open, entered) = block();
    addr.tell(gate).await.unwrap();
    tokio::task::spawn_blocking(move || entered.recv_timeout(LIMIT).unwrap()).await.unwrap();
    addr.tell(Add(1)).await.unwrap();
    let queued = tokio::spawn({
        let addr = addr.clone();
        async move { addr.ask(Add(2)).await }
    });
    let depth = async {
        while addr.mailbox_depth() < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, depth).await.expect("two messages wait");
    let report = rt.shutdown(Duration::from_millis(50)).await;
    assert_eq!(report.timed_out.len(), 1, "{report:?}");
    assert_eq!(report.dead_letters, 2, "{report:?}");
    let [leaked] = &report.leaked_threads[..] else { panic!("{report:?}") };
    assert!(leaked.starts_with("actix-rt|system:"), "as other tools name it: {leaked}");
    let got = queued.await.unwrap().unwrap_err();
    assert!(matches!(got, AskError::Stopped { msg: Add(2), why: StopReason::TimedOut }), "{got:?}");
    drop(open);
}

#[tokio::test]
async fn a_stopped_actor_does_not_come_back_whatever_its_restart_type() {
    let log = Log::default();
    let rt = Runtime::builder().start().unwrap();
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        let addr = rt.supervise(spec(&format!("{restart:?}"), &log).restart(restart)).await.unwrap();
        addr.tell(Add(1)).await.unwrap();
        addr.stop(LIMIT).await.unwrap();
        assert_eq!(addr.watch().get(), State::Stopped { why: StopReason::Requested });
    }
    assert_eq!(log.lines(), ["stopped at 1"; 3]);
    assert!(rt.shutdown(LIMIT).await.clean());
}

#[tokio::test]
async fn a_temporary_actor_that_finishes_leaves_nothing_behind() {
    let (rt, addr, log) = one(|s| s.restart(Restart::Temporary)).await;
    addr.ask(StopYourself).await.unwrap();
    let end = state(&addr, "the end", |s| matches!(s, State::Stopped { .. })).await;
    assert_eq!(end, State::Stopped { why: StopReason::Finished });
    assert_eq!(log.lines(), ["stopped at 0"]);
    assert!(rt.health().actors.is_empty());
    assert!(rt.shutdown(LIMIT).await.clean());
}

#[tokio::test]
async fn a_runtime_dropped_without_shutdown_tells_every_asker() {
    let (rt, addr, _) = one(|s| s).await;
    drop(rt);
    let got = addr.ask(Add(1)).await.unwrap_err();
    assert!(matches!(got, AskError::Stopped { why: StopReason::ThreadLost, .. }), "{got:?}");
}

#[test]
fn the_runtime_refuses_to_compile_where_panics_abort() {
    let source = include_str!("../../lib.rs");
    let at = source.find("#[cfg(panic = \"abort\")]").expect("the guard is there");
    let guard: String = source[at..].lines().take(2).collect::<Vec<_>>().join("\n");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("guard.rs");
    std::fs::write(&file, guard).unwrap();
    let compile = |panic: &str| {
        std::process::Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()))
            .args(["--crate-type=lib", "--emit=metadata", "-C", &format!("panic={panic}"), "--out-dir"])
            .arg(dir.path())
            .arg(&file)
            .output()
            .unwrap()
    };
    assert!(compile("unwind").status.success());
    let refused = compile("abort");
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("catches panics"), "{refused:?}");
}

/// A runtime whose shutdown waits for the sender.
async fn slow_to_stop() -> (Runtime, Addr<Act>, tokio::task::JoinHandle<bool>, tokio::sync::oneshot::Sender<()>) {
    let (rt, addr, _) = one(|s| s).await;
    let (open, gate) = tokio::sync::oneshot::channel();
    let asked = addr.clone();
    let asking = tokio::spawn(async move { asked.ask(ViaFuture(Do::Wait(gate))).await.is_ok() });
    let under_way = async {
        while rt.health().actors[0].replies_in_flight == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, under_way).await.expect("it is being answered");
    (rt, addr, asking, open)
}

#[tokio::test]
async fn every_caller_of_a_shutdown_waits_for_the_one_report() {
    let (rt, addr, asking, open) = slow_to_stop().await;
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let rt = rt.clone();
            tokio::spawn(async move { rt.shutdown(LIMIT).await })
        })
        .collect();
    state(&addr, "the drain", |s| *s == State::Stopping).await;
    let early = tokio::time::timeout(Duration::from_millis(50), rt.shutdown(Duration::ZERO)).await;
    assert!(early.is_err(), "it is not clean at once: {early:?}");
    open.send(()).unwrap();
    assert!(asking.await.unwrap(), "the drain was not cut short");
    let report = rt.shutdown(LIMIT).await;
    assert_eq!((report.clean(), report.drained.len()), (true, 1), "{report:?}");
    for caller in callers {
        assert_eq!(caller.await.unwrap(), report);
    }
}

#[tokio::test]
async fn a_shutdown_whose_caller_goes_away_comes_to_its_end_and_ends_its_threads() {
    for again in [true, false] {
        let (rt, addr, asking, open) = slow_to_stop().await;
        drop(addr);
        assert!(tokio::time::timeout(Duration::from_millis(30), rt.shutdown(LIMIT)).await.is_err());
        let mut events = rt.events();
        match again {
            true => {
                let second = tokio::spawn(async move { rt.shutdown(LIMIT).await });
                open.send(()).unwrap();
                let report = second.await.unwrap();
                assert_eq!((report.clean(), report.drained.len()), (true, 1), "{report:?}");
            }
            false => {
                drop(rt);
                open.send(()).unwrap();
            }
        }
        assert!(asking.await.unwrap(), "the drain goes on");
        // The channel of the events closes with the last of the runtime, on whichever thread that is.
        let closed = async { while !matches!(events.recv().await, Err(EventsError::Ended)) {} };
        tokio::time::timeout(LIMIT, closed).await.expect("nothing of the runtime is left");
    }
}

/// Awaits the shutdown of its own runtime in a reply, or beside it.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct ShutDown(Runtime);
impl actix::Handler<ShutDown> for Act {
    type Result = ();
    fn handle(&mut self, m: ShutDown, ctx: &mut actix::Context<Self>) {
        use actix::{AsyncContext, WrapFuture};
        ctx.spawn(async move { drop(m.0.shutdown(LIMIT).await) }.into_actor(self));
    }
}

#[tokio::test]
async fn a_shutdown_that_an_actor_asked_for_outlives_the_actor() {
    let (rt, addr, log) = one(|s| s).await;
    let other = rt.supervise(spec("other", &log)).await.unwrap();
    other.tell(Add(1)).await.unwrap();
    addr.tell(ShutDown(rt.clone())).await.unwrap();
    state(&addr, "its own end", |s| matches!(s, State::Stopped { .. })).await;
    let report = rt.shutdown(LIMIT).await;
    assert_eq!((report.clean(), report.drained.len()), (true, 2), "{report:?}");
    assert!(!rt.health().thread_alive);
}

#[tokio::test]
async fn a_start_beside_a_shutdown_is_refused_or_stopped_with_the_others() {
    for _ in 0..50 {
        let rt = Runtime::builder().start().unwrap();
        let starting = tokio::spawn({
            let rt = rt.clone();
            async move { rt.supervise(spec("act", &Log::default())).await }
        });
        let report = rt.shutdown(LIMIT).await;
        assert!(report.clean(), "{report:?}");
        match starting.await.unwrap() {
            Ok(addr) => assert!(matches!(addr.watch().get(), State::Stopped { .. }), "{:?}", addr.watch().get()),
            Err(e) => assert!(matches!(e, StartError::ShuttingDown(_)), "{e}"),
        }
    }
}
