//! Moving everybody off a stuck thread: the queue is answered, and the zombie, when it comes back, changes nothing any more. Easy to
//! get wrong: a late effect can only be seen to be refused after it was tried, so each test waits for the zombie to have come back.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use actix::prelude::*;
use futures_util::FutureExt;
use tieout_runtime::{
    AbortReason, Addr, AskError, Backoff, ChildSpec, Event, OnStall, Runtime, StartError, State, StopError, StopReason,
};

use crate::{
    actor::{Act, Add, LIMIT, Log, event, spec, stop},
    recover::{Plus, Spoil, kept},
};

const STUCK_AFTER: Duration = Duration::from_millis(200);
const STUCK_FOR: Duration = Duration::from_millis(1_500);

/// Blocks the thread; nobody can end it early.
fn stuck() {
    let (_held, gate) = mpsc::channel::<()>();
    assert!(gate.recv_timeout(STUCK_FOR).is_err());
}

/// What the zombie tries when it comes back.
struct Tried {
    tell: String,
    stop: Option<Result<(), StopError>>,
    start: Option<Result<(), StartError>>,
}

/// Sets a timer, is stuck, and then tries every effect there is: tell, stop of another, start, timer, stop of itself, reply.
#[derive(Message)]
#[rtype(result = "u64")]
struct StuckThenAll(Addr<Act>, Runtime, tokio::sync::oneshot::Sender<()>, mpsc::Sender<Tried>);
impl Handler<StuckThenAll> for Act {
    type Result = u64;
    fn handle(&mut self, m: StuckThenAll, ctx: &mut Context<Self>) -> u64 {
        let StuckThenAll(neighbour, rt, entered, tried) = m;
        ctx.run_later(Duration::from_millis(1), |act, _| act.log.say("late timer"));
        entered.send(()).unwrap();
        stuck();
        let tell = neighbour.try_tell(Add(1_000_000)).map_or_else(|e| e.to_string(), |()| "accepted".to_owned());
        let stop = neighbour.stop(LIMIT).now_or_never();
        let start = rt.supervise(spec("late", &self.log)).now_or_never().map(|r| r.map(drop));
        self.sum += 1_000_000;
        ctx.stop();
        tried.send(Tried { tell, stop, start }).unwrap();
        self.sum
    }
}

/// Is stuck, and then answers by a future that never ends.
#[derive(Message)]
#[rtype(result = "u64")]
struct StuckThenNever(tokio::sync::oneshot::Sender<()>);
impl Handler<StuckThenNever> for Act {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, StuckThenNever(entered): StuckThenNever, _: &mut Context<Self>) -> Self::Result {
        entered.send(()).unwrap();
        stuck();
        Box::pin(std::future::pending())
    }
}

fn runtime() -> Runtime {
    Runtime::builder().stall_after(STUCK_AFTER).on_stall(OnStall::Rehome).start().unwrap()
}

/// Waits until no thread is given up any more: the zombie has done all it could.
async fn zombie_gone(rt: &Runtime) {
    let gone = async {
        while rt.health().leaked_threads > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, gone).await.expect("the zombie's thread ends");
}

#[tokio::test]
async fn a_reply_that_a_zombie_begins_to_compute_takes_no_place_in_flight() {
    let rt = runtime();
    let addr = rt.supervise(spec("act", &Log::default()).max_in_flight(1)).await.unwrap();
    let (entered_tx, entered) = tokio::sync::oneshot::channel();
    let asked = tokio::spawn({
        let addr = addr.clone();
        async move { addr.ask(StuckThenNever(entered_tx)).await }
    });
    entered.await.unwrap();
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 1, "by the new instance");
    asked.await.unwrap().unwrap_err();
    zombie_gone(&rt).await;
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 2, "the one place is free");
    assert_eq!(rt.health().actors[0].replies_in_flight, 0);
    assert!(rt.shutdown(LIMIT).await.timed_out.is_empty(), "and nothing is waited for");
}

#[tokio::test]
async fn stuck_for_longer_than_the_watchdog_allows_the_queue_is_answered_and_the_zombies_late_effects_are_refused() {
    let (log, rt) = (Log::default(), runtime());
    let addr = rt.supervise(spec("act", &log)).await.unwrap();
    let neighbour = rt.supervise(spec("neighbour", &log)).await.unwrap();
    assert_eq!(addr.ask(Add(5)).await.unwrap(), 5);
    let mut events = rt.events();
    let (entered_tx, entered) = tokio::sync::oneshot::channel();
    let (tried_tx, tried) = mpsc::channel();
    let message = StuckThenAll(neighbour.clone(), rt.clone(), entered_tx, tried_tx);
    let asked = tokio::spawn({
        let addr = addr.clone();
        async move { addr.ask(message).await }
    });
    entered.await.unwrap();
    let begun = Instant::now();
    let (queued, beside) = tokio::join!(addr.ask(Add(1)), neighbour.ask(Add(2)));
    assert_eq!((queued.unwrap(), beside.unwrap()), (1, 2), "by new instances, which count from zero");
    assert!(begun.elapsed() < STUCK_FOR && tried.try_recv().is_err(), "while the handler is still stuck");
    let moved = event(&mut events, "the move", |e| matches!(e, Event::Rehomed { .. })).await;
    let Event::Rehomed { stall, actors: 2 } = moved else { panic!("{moved:?}") };
    assert_eq!(&*stall.actor, "act");
    assert!(stall.message.ends_with("::StuckThenAll") && stall.for_ >= STUCK_AFTER, "{stall:?}");
    let got = asked.await.unwrap().unwrap_err();
    let AskError::Aborted(AbortReason::Rehomed { ran_for }) = got else { panic!("{got:?}") };
    assert!((STUCK_AFTER..STUCK_FOR).contains(&ran_for), "not the late reply: {ran_for:?}");
    let health = rt.health();
    assert!(health.ok() && health.leaked_threads == 1, "{health:?}");

    let tried = tokio::task::spawn_blocking(move || tried.recv_timeout(LIMIT).unwrap()).await.unwrap();
    assert!(tried.tell.contains(&StopReason::Fenced.to_string()), "late tell: {}", tried.tell);
    assert!(matches!(tried.stop, Some(Err(StopError::Fenced(_)))), "late stop of another: {:?}", tried.stop);
    assert!(matches!(tried.start, Some(Err(StartError::Fenced(_)))), "late start: {:?}", tried.start);
    zombie_gone(&rt).await;
    assert_eq!(log.lines(), Vec::<String>::new(), "neither its timer nor its `stopped()` ran");
    assert_eq!(addr.ask(Add(1)).await.unwrap(), 2, "nor did it stop or close the queue of its successor");
    assert_eq!(neighbour.ask(Add(0)).await.unwrap(), 2, "and its message did not arrive");
    stop(rt).await;
}

/// Is stuck in `started()` at its first restart.
struct SlowStart {
    starts: Arc<AtomicUsize>,
}
impl Actor for SlowStart {
    type Context = Context<Self>;
    fn started(&mut self, _: &mut Context<Self>) {
        if self.starts.fetch_add(1, Ordering::Relaxed) == 1 {
            stuck();
        }
    }
}
#[derive(Message)]
#[rtype(result = "()")]
struct Fail;
impl Handler<Fail> for SlowStart {
    type Result = ();
    fn handle(&mut self, _: Fail, _: &mut Context<Self>) {
        // Without the hook: to print the first backtrace of a large binary can take longer than `STUCK_AFTER`.
        std::panic::resume_unwind(Box::new("asked to"));
    }
}
#[derive(Message)]
#[rtype(result = "usize")]
struct Starts;
impl Handler<Starts> for SlowStart {
    type Result = usize;
    fn handle(&mut self, _: Starts, _: &mut Context<Self>) -> usize {
        self.starts.load(Ordering::Relaxed)
    }
}

#[tokio::test]
async fn an_instance_that_comes_out_of_its_start_too_late_never_runs() {
    let rt = runtime();
    let starts = Arc::default();
    // Longer than what is left of the zombie's stall, so that it comes back to an actor that is down.
    let pause = STUCK_FOR + Duration::from_millis(500);
    let backoff = Backoff { first: pause, max: pause, jitter: 0.0, ..Backoff::default() };
    let spec = ChildSpec::new("slow", move |_| SlowStart { starts: Arc::clone(&starts) }).backoff(backoff);
    let addr = rt.supervise(spec).await.unwrap();
    let mut events = rt.events();
    assert!(addr.ask(Fail).await.is_err());
    let stuck = event(&mut events, "the stall", |e| matches!(e, Event::Stalled(_))).await;
    let Event::Stalled(stall) = stuck else { unreachable!() };
    assert!(stall.message.contains("started()"), "{stall:?}");
    assert_eq!(addr.ask(Starts).await.unwrap(), 3, "the one after it answers");
    assert!(addr.ask(Fail).await.is_err());
    zombie_gone(&rt).await;
    let restarted = std::iter::from_fn(|| events.try_recv().ok()).filter(|e| matches!(e, Event::Restarted { .. }));
    assert_eq!(restarted.count(), 1, "the zombie did not say that it runs");
    assert!(matches!(addr.watch().get(), State::Restarting { .. }));
    stop(rt).await;
}

#[tokio::test]
async fn a_move_goes_on_from_the_last_snapshot_and_a_late_snapshot_of_the_zombie_is_refused() {
    let rt = runtime();
    // The zombie comes back in the middle of two snapshots of its successor: there is time to ask for the last before the next.
    let every = Duration::from_millis(400);
    // The second of its snapshots that is worth something is stuck, and then lies.
    let taken = AtomicUsize::new(0);
    let take = move |n| {
        if n >= 40 && taken.fetch_add(1, Ordering::Relaxed) == 1 {
            stuck();
            return 1_000_000;
        }
        n
    };
    let addr = rt.supervise(kept(every, take, |_| {})).await.unwrap();
    let mut events = rt.events();
    assert_eq!(addr.ask(Plus(40)).await.unwrap(), 40);
    let moved = event(&mut events, "the move", |e| matches!(e, Event::Rehomed { .. })).await;
    let Event::Rehomed { stall, .. } = moved else { unreachable!() };
    assert_eq!(stall.message, "(snapshot)");
    assert_eq!(addr.ask(Plus(2)).await.unwrap(), 42, "from the first snapshot");
    zombie_gone(&rt).await;
    addr.ask(Spoil).await.unwrap_err();
    assert_eq!(addr.ask(Plus(0)).await.unwrap(), 42, "from the successor's own");
    stop(rt).await;
}
