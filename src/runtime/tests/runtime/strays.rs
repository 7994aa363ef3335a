//! User code that panics where no actor has its turn: callbacks, destructors of messages, panics that somebody caught. The runtime goes
//! on, says so, and blames nobody else. Easy to get wrong: whose panic a note is of.
use std::{
    panic::{AssertUnwindSafe, catch_unwind, panic_any, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use actix::{Context, Handler, ResponseFuture};
use tieout_runtime::{AbortReason, AskError, Event, Mailbox, Overflow, Runtime, State};

use crate::actor::{Act, Add, Do, LIMIT, Log, ViaFuture, event, hold, one, spec, state, stop};

const DEADLINE: Duration = Duration::from_millis(300);

/// Panics when it is dropped unhandled, with a payload that panics when it is dropped.
struct Bomb;
impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic_any(Twice);
        }
    }
}
struct Twice;
impl Drop for Twice {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("again");
        }
    }
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct Armed(Bomb);
impl Handler<Armed> for Act {
    type Result = ();
    fn handle(&mut self, m: Armed, _: &mut Context<Self>) {
        std::mem::forget(m.0);
    }
}

/// Default deadlines of an actor that is none of the test's business fire.
async fn deadlines_work(rt: &Runtime) {
    let addr = rt.supervise(spec("bystander", &Log::default()).ask_timeout(DEADLINE)).await.unwrap();
    let open = hold(&addr).await;
    let begun = Instant::now();
    let late = addr.ask(Add(1)).await;
    assert!(matches!(late, Err(AskError::TimedOutInQueue(Add(1)))), "{late:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(open);
    addr.stop(LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_message_whose_destructor_panics_in_a_queue_harms_nobody_and_is_reported() {
    let rt = Runtime::builder().start().unwrap();
    let mut events = rt.events();
    let addr = rt.supervise(spec("act", &Log::default()).ask_timeout(DEADLINE)).await.unwrap();
    let open = hold(&addr).await;
    addr.try_tell(Armed(Bomb)).unwrap();
    addr.try_tell(Armed(Bomb)).unwrap();
    let behind = tokio::spawn({
        let addr = addr.clone();
        async move { addr.ask(Add(1)).timeout(LIMIT).await }
    });
    let queued = async {
        while addr.mailbox_depth() < 3 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, queued).await.expect("all are queued");
    addr.stop(Duration::from_millis(50)).await.unwrap_err();
    let told = behind.await.unwrap();
    assert!(matches!(told, Err(AskError::Stopped { msg: Add(1), .. })), "{told:?}");
    let said = event(&mut events, "the panic", |e| matches!(e, Event::StrayPanic { .. })).await;
    let Event::StrayPanic { place, .. } = said else { unreachable!() };
    assert!(place.ends_with("::Armed"), "{place}");
    event(&mut events, "the end", |e| matches!(e, Event::Stopped { .. })).await;
    let counted = async {
        while rt.health().stray_panics < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, counted).await.expect("both are counted");
    drop(open);
    deadlines_work(&rt).await;
    let report = rt.shutdown(LIMIT).await;
    assert!(report.clean(), "{report:?}");
    assert_eq!(report.dead_letters_by_reason[0], ("stopped", 3));
}

#[tokio::test]
async fn a_message_that_is_pushed_out_with_a_panicking_destructor_does_not_panic_in_its_pusher() {
    let (rt, addr, _) = one(|s| s.mailbox(Mailbox::bounded(1).overflow(Overflow::DropOldest))).await;
    let open = hold(&addr).await;
    addr.try_tell(Armed(Bomb)).unwrap();
    addr.try_tell(Add(1)).unwrap();
    drop(open);
    let worked_off = async {
        while addr.mailbox_depth() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, worked_off).await.expect("the queue is worked off");
    assert_eq!(addr.ask(Add(0)).await.unwrap(), 1_001);
    stop(rt).await;
}

#[tokio::test]
async fn callbacks_that_always_panic_end_nothing_and_are_counted() {
    let rt = Runtime::builder()
        .on_event(|_| panic!("on_event"))
        .on_rejected(|_| panic!("on_rejected"))
        .on_handled(1, |_| panic!("on_handled"))
        .start()
        .unwrap();
    let callbacks = ["on_event", "on_rejected", "on_handled"].map(|callback| (callback, rt.events()));
    let mailbox = Mailbox::bounded(1).overflow(Overflow::Reject);
    let addr = rt.supervise(spec("act", &Log::default()).mailbox(mailbox)).await.unwrap();
    let open = hold(&addr).await;
    addr.try_tell(Add(1)).unwrap();
    addr.try_tell(Add(1)).unwrap_err();
    drop(open);
    for (callback, mut events) in callbacks {
        let of = |e: &Event| matches!(e, Event::StrayPanic { place, text } if *place == callback && text.starts_with(callback));
        event(&mut events, callback, of).await;
    }
    deadlines_work(&rt).await;
    assert!(rt.health().stray_panics >= 3 && rt.health().watchdog_late.is_none());
    stop(rt).await;
}

#[tokio::test]
async fn a_watchdog_that_a_callback_holds_up_is_replaced_and_deadlines_go_on() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let held = AtomicBool::new(false);
    let on_event = move |e: &Event| {
        if matches!(e, Event::DeadLetter { .. }) && !held.swap(true, Ordering::SeqCst) {
            let _ = gate.lock().unwrap().recv_timeout(LIMIT * 2);
        }
    };
    let rt = Runtime::builder().on_event(on_event).start().unwrap();
    let mut events = rt.events();
    let addr = rt.supervise(spec("act", &Log::default()).ask_timeout(DEADLINE)).await.unwrap();
    let busy = hold(&addr).await;
    addr.ask(Add(1)).await.unwrap_err(); // its letter is the one that holds
    let said = event(&mut events, "the other watchdog", |e| matches!(e, Event::WatchdogReplaced { .. })).await;
    assert!(matches!(said, Event::WatchdogReplaced { held_up } if held_up > Duration::from_secs(2)), "{said:?}");
    assert!(rt.health().watchdog_late.is_none());
    deadlines_work(&rt).await;
    drop((open, busy));
    deadlines_work(&rt).await;
    stop(rt).await;
}

/// Catches a panic of its own and goes on.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Caught;
impl Handler<Caught> for Act {
    type Result = ();
    fn handle(&mut self, _: Caught, _: &mut Context<Self>) {
        catch_unwind(|| panic!("caught by the user")).unwrap_err();
    }
}

/// A reply that never comes.
#[derive(actix::Message)]
#[rtype(result = "u64")]
struct Lost;
impl Handler<Lost> for Act {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Lost, _: &mut Context<Self>) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

/// An earlier panic of the same turn was caught, another is resumed.
#[derive(actix::Message)]
#[rtype(result = "()")]
struct Resumed;
impl Handler<Resumed> for Act {
    type Result = ();
    fn handle(&mut self, _: Resumed, _: &mut Context<Self>) {
        catch_unwind(|| panic!("caught by the user")).unwrap_err();
        resume_unwind(Box::new("the real one"));
    }
}

/// The same in a reply's future.
#[derive(actix::Message)]
#[rtype(result = "u64")]
struct ResumedLater;
impl Handler<ResumedLater> for Act {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: ResumedLater, _: &mut Context<Self>) -> Self::Result {
        Box::pin(async { resume_unwind(Box::new("the real one")) })
    }
}

#[tokio::test]
async fn a_panic_that_was_caught_is_nobodys() {
    let rt = Runtime::builder().start().unwrap();
    let log = Log::default();
    let addr = rt.supervise(spec("act", &log)).await.unwrap();
    let other = rt.supervise(spec("other", &log)).await.unwrap();
    for _ in 0..20 {
        addr.ask(Caught).await.unwrap();
        let (gone, gate) = tokio::sync::oneshot::channel::<()>();
        drop(gone);
        assert_eq!(other.ask(ViaFuture(Do::Wait(gate))).await.unwrap(), 7);
        let AskError::Panicked(info) = other.ask(ResumedLater).await.unwrap_err() else { panic!("not panicked") };
        assert_eq!((&*info.actor, info.location.as_deref()), ("other", None), "{info}");
        assert!(!info.text.contains("caught"), "{info}");
    }
    // A reply that is lost after the panic of another.
    addr.ask(Caught).await.unwrap();
    let lost = tokio::spawn({
        let other = other.clone();
        async move { other.ask(Lost).await }
    });
    let under_way = async {
        while rt.health().actors.iter().all(|a| a.replies_in_flight == 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, under_way).await.expect("it is being answered");
    other.stop(Duration::from_millis(50)).await.unwrap_err();
    let told = lost.await.unwrap().unwrap_err();
    assert!(matches!(told, AskError::Aborted(AbortReason::ActorStopped(_))), "{told:?}");
    stop(rt).await;
}

#[tokio::test]
async fn a_resumed_panic_is_reported_with_its_own_text_and_no_other_place() {
    let (rt, addr, _) = one(|s| s).await;
    let AskError::Panicked(info) = addr.ask(Resumed).await.unwrap_err() else { panic!("not panicked") };
    assert_eq!((&*info.text, info.location), ("the real one", None));
    let AskError::Panicked(info) = addr.ask(ViaFuture(Do::Panic)).await.unwrap_err() else { panic!("not panicked") };
    assert_eq!(info.text, "late boom");
    assert!(info.location.is_some_and(|at| at.contains("actor.rs")), "of its own panic");
    stop(rt).await;
}

#[tokio::test]
async fn a_callback_may_use_the_runtime_that_calls_it() {
    let rt_slot: Arc<Mutex<Option<Runtime>>> = Arc::default();
    let (slot, calls) = (rt_slot.clone(), Arc::new(AtomicUsize::new(0)));
    let calls2 = calls.clone();
    let on_event = move |_: &Event| {
        let rt = slot.lock().unwrap().clone();
        if let Some(rt) = rt {
            calls2.fetch_add(1, Ordering::SeqCst);
            let _ = (rt.health(), rt.lookup::<Act>("act"));
        }
    };
    let rt = Runtime::builder().on_event(on_event).start().unwrap();
    *rt_slot.lock().unwrap() = Some(rt.clone());
    let addr = rt.supervise(spec("act", &Log::default())).await.unwrap();
    let _ = addr.ask(StopTheArbiter).await;
    let begun = Instant::now();
    let again = rt.supervise(spec("later", &Log::default())).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(again.ask(Add(1)).await.unwrap(), 1);
    assert!(calls.load(Ordering::SeqCst) > 0);
    rt_slot.lock().unwrap().take();
    rt.shutdown(LIMIT).await;
}

#[derive(actix::Message)]
#[rtype(result = "()")]
struct StopTheArbiter;
impl Handler<StopTheArbiter> for Act {
    type Result = ();
    fn handle(&mut self, _: StopTheArbiter, _: &mut Context<Self>) {
        actix_rt::Arbiter::current().stop();
    }
}

#[tokio::test]
async fn a_start_that_was_stuck_is_no_running_actor_before_it_is_through() {
    let (entered, inside) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let (entered, gate) = (Mutex::new(entered), Mutex::new(gate));
    let stuck = Duration::from_millis(150);
    let rt = Runtime::builder().stall_after(stuck).start().unwrap();
    let mut events = rt.events();
    let log = Log::default();
    let (started, wait_for_it) = tokio::sync::oneshot::channel::<()>();
    let wait_for_it = Mutex::new(Some(wait_for_it));
    let child = tieout_runtime::ChildSpec::new("act", move |ctx: &mut Context<Act>| {
        use actix::{AsyncContext, WrapFuture};
        entered.lock().unwrap().send(()).unwrap();
        let _ = gate.lock().unwrap().recv_timeout(LIMIT);
        let wait = wait_for_it.lock().unwrap().take().unwrap();
        ctx.wait(async move { drop(wait.await) }.into_actor(&Act::new(&Log::default())));
        Act::new(&log)
    });
    let starting = tokio::spawn({
        let rt = rt.clone();
        async move { rt.supervise(child).await }
    });
    tokio::task::spawn_blocking(move || inside.recv_timeout(LIMIT).unwrap()).await.unwrap();
    event(&mut events, "the stall", |e| matches!(e, Event::Stalled(_))).await;
    open.send(()).unwrap();
    event(&mut events, "the recovery", |e| matches!(e, Event::Recovered(_))).await;
    let addr = rt.lookup::<Act>("act").unwrap();
    assert_eq!(addr.watch().get(), State::Starting, "it waits in its start");
    started.send(()).unwrap();
    starting.await.unwrap().unwrap();
    state(&addr, "that it runs", |s| *s == State::Running).await;
    event(&mut events, "that it started", |e| matches!(e, Event::Started { .. })).await;
    stop(rt).await;
}

#[test]
fn a_destructor_that_panics_while_a_dropped_runtime_ends_its_actors_is_caught() {
    let rt = Runtime::builder().start().unwrap();
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let addr = tokio.block_on(rt.supervise(spec("act", &Log::default()))).unwrap();
    let open = tokio.block_on(async {
        let (gate, open, entered) = crate::actor::block();
        addr.tell(gate).await.unwrap();
        entered.recv_timeout(LIMIT).unwrap();
        open
    });
    addr.try_tell(Armed(Bomb)).unwrap();
    assert!(catch_unwind(AssertUnwindSafe(|| drop(rt))).is_ok());
    assert!(matches!(addr.watch().get(), State::Stopped { .. }));
    drop(open);
}
