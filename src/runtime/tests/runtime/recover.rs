//! Snapshots: a restart goes on from the last one, never from the state that panicked, and one that no start survives is given up.
//! Under virtual time. Easy to get wrong: a snapshot is taken by the clock, so a test says which one it relies on.
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use tieout_runtime::{
    AbortReason, Addr, AskError, ChildSpec, Event, Events, EventsError, GroupSpec, Mailbox, Overflow, OwnContext,
    Recover, RestartReason, Runtime, Strategy,
    test_kit::{TestRuntime, inject_panic, stall},
};

use crate::actor::{Add, Log, hold, quick, spec, stop};

const EVERY: Duration = Duration::from_secs(1);

/// Counts; what its snapshots hold is the test's to say.
pub(crate) struct Kept {
    n: u64,
    take: Arc<dyn Fn(u64) -> u64 + Send + Sync>,
}
impl Actor for Kept {
    type Context = Context<Self>;
}
impl Recover for Kept {
    type Snapshot = u64;
    fn snapshot(&self) -> u64 {
        (self.take)(self.n)
    }
}

/// One that starts from zero or its snapshot, after `check` has seen that.
pub(crate) fn kept(
    every: Duration,
    take: impl Fn(u64) -> u64 + Send + Sync + 'static,
    check: impl Fn(Option<u64>) + Send + Sync + 'static,
) -> ChildSpec<Kept> {
    let take: Arc<dyn Fn(u64) -> u64 + Send + Sync> = Arc::new(take);
    let build = move |_: &mut Context<Kept>, last: Option<&u64>| {
        check(last.copied());
        Kept { n: last.copied().unwrap_or_default(), take: take.clone() }
    };
    ChildSpec::recovering("kept", every, build).backoff(quick())
}

#[derive(Message)]
#[rtype(result = "u64")]
pub(crate) struct Plus(pub u64);
impl Handler<Plus> for Kept {
    type Result = u64;
    fn handle(&mut self, m: Plus, _: &mut Context<Self>) -> u64 {
        self.n += m.0;
        self.n
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Spoil;
impl Handler<Spoil> for Kept {
    type Result = ();
    fn handle(&mut self, _: Spoil, _: &mut Context<Self>) {
        self.n = 666;
        panic!("spoilt");
    }
}

/// A second of work elsewhere, for nothing.
async fn late() {
    let nothing = tokio::time::timeout(EVERY, std::future::pending::<()>()).await;
    assert!(nothing.is_err());
}

/// Adds in a second, as the actor's own future.
#[derive(Message)]
#[rtype(result = "u64")]
struct Later;
impl Handler<Later> for Kept {
    type Result = ResponseActFuture<Self, u64>;
    fn handle(&mut self, _: Later, _: &mut Context<Self>) -> Self::Result {
        Box::pin(late().into_actor(self).map(|(), act, _| {
            act.n += 1_000;
            act.n
        }))
    }
}

/// Answers in a second, without the actor.
#[derive(Message)]
#[rtype(result = "u64")]
struct Detached;
impl Handler<Detached> for Kept {
    type Result = ResponseFuture<u64>;
    fn handle(&mut self, _: Detached, _: &mut Context<Self>) -> Self::Result {
        let n = self.n;
        Box::pin(async move {
            late().await;
            n
        })
    }
}

fn seen(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

#[test]
fn a_restart_goes_on_from_the_last_snapshot_and_without_one_from_nothing() {
    let rt = TestRuntime::new();
    let lent = Arc::new(Mutex::new(Vec::new()));
    rt.block_on(async {
        let lent2 = lent.clone();
        let addr = rt.supervise(kept(EVERY, |n| n, move |last| lent2.lock().unwrap().push(last))).await.unwrap();
        assert_eq!(addr.ask(Plus(1)).await.unwrap(), 1);
        addr.ask(Spoil).await.unwrap_err();
        assert_eq!(addr.ask(Plus(40)).await.unwrap(), 40, "before the first period: from nothing");
        rt.pass(EVERY + EVERY / 2).await;
        let age = rt.health().actors[0].snapshot_age.expect("one was taken");
        assert!((EVERY / 4..EVERY).contains(&age), "{age:?}");
        assert_eq!(addr.ask(Plus(2)).await.unwrap(), 42);
        addr.ask(Spoil).await.unwrap_err();
        assert_eq!(addr.ask(Plus(0)).await.unwrap(), 40, "not what came after it, nor what the panic left");
    });
    assert_eq!(*lent.lock().unwrap(), [None, None, Some(40)]);
    rt.assert_clean();
}

#[test]
fn a_snapshot_that_no_start_survives_is_given_up_and_the_next_start_goes_without() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let check = |last: Option<u64>| assert!(last != Some(13), "cannot go on from 13");
        let addr = rt.supervise(kept(EVERY, |n| n, check)).await.unwrap();
        let mut events = rt.events();
        assert_eq!(addr.ask(Plus(13)).await.unwrap(), 13);
        rt.pass(EVERY + EVERY / 2).await;
        addr.ask(Spoil).await.unwrap_err();
        assert_eq!(addr.ask(Plus(1)).await.unwrap(), 1, "from nothing");
        assert_eq!(rt.health().actors[0].snapshot_age, None);
        let events = seen(&mut events);
        let failed = |e: &&Event| matches!(e, Event::Restarting { reason: RestartReason::StartFailed, .. });
        assert_eq!(events.iter().filter(failed).count(), 2, "{events:?}");
        let given_up = |e: &&Event| matches!(e, Event::SnapshotDiscarded { failed_starts: 2, .. });
        assert_eq!(events.iter().filter(given_up).count(), 1, "{events:?}");
    });
    rt.assert_clean();
}

#[test]
fn starts_that_fail_on_a_snapshot_count_towards_the_intensity() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let check = |last: Option<u64>| assert!(last.is_none(), "never from a snapshot");
        let spec = kept(EVERY, |n| n, check).snapshot_tries(9).intensity(3, Duration::from_secs(60));
        let addr = rt.supervise(spec).await.unwrap();
        rt.pass(EVERY + EVERY / 2).await;
        addr.ask(Spoil).await.unwrap_err();
        let got = addr.ask(Plus(1)).await.unwrap_err();
        assert!(
            matches!(&got, AskError::Stopped { .. }) && got.to_string().contains("more than 3 restarts"),
            "{got:?}"
        );
        rt.expect_end("kept");
        rt.expect_dead_letters(1);
    });
    rt.assert_clean();
}

#[test]
fn a_panic_while_a_snapshot_is_taken_is_the_actors_and_the_one_before_is_used() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let take = |n: u64| {
            assert!(n != 42, "cannot be copied");
            n
        };
        let addr = rt.supervise(kept(EVERY, take, |_| {})).await.unwrap();
        let mut events = rt.events();
        assert_eq!(addr.ask(Plus(40)).await.unwrap(), 40);
        rt.pass(EVERY + EVERY / 2).await;
        assert_eq!(addr.ask(Plus(2)).await.unwrap(), 42);
        rt.pass(EVERY).await;
        assert_eq!(addr.ask(Plus(0)).await.unwrap(), 40);
        let events = seen(&mut events);
        let info = events.iter().find_map(|e| if let Event::Panicked(info) = e { Some(info) } else { None });
        assert_eq!(info.expect("a panic").message, Some("(snapshot)"), "{events:?}");
    });
    rt.assert_clean();
}

#[test]
fn replies_under_way_at_a_panic_do_not_reach_into_the_recovered_instance() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let addr: Addr<Kept> = rt.supervise(kept(EVERY, |n| n, |_| {})).await.unwrap();
        assert_eq!(addr.ask(Plus(40)).await.unwrap(), 40);
        rt.pass(EVERY + EVERY / 2).await;
        let (own, detached, spoilt) = tokio::join!(addr.ask(Later), addr.ask(Detached), addr.ask(Spoil));
        spoilt.unwrap_err();
        let own = own.unwrap_err();
        assert!(matches!(own, AskError::Aborted(AbortReason::ActorPanicked(_))), "{own:?}");
        assert_eq!(detached.unwrap(), 40, "a future without the actor outlives it");
        rt.pass(EVERY * 2).await;
        assert_eq!(addr.ask(Plus(0)).await.unwrap(), 40, "what the lost future would have added is not there");
    });
    rt.assert_clean();
}

#[test]
fn a_stuck_actor_takes_one_snapshot_afterwards_and_not_those_it_missed() {
    let rt = TestRuntime::new();
    let taken = Arc::new(AtomicU64::new(0));
    rt.block_on(async {
        let taken2 = taken.clone();
        let take = move |n| {
            taken2.fetch_add(1, Ordering::Relaxed);
            n
        };
        let addr = rt.supervise(kept(EVERY, take, |_| {})).await.unwrap();
        stall(&addr, EVERY * 60).unwrap();
        rt.settle().await;
        assert_eq!(taken.load(Ordering::Relaxed), 1);
    });
    rt.assert_clean();
}

#[tokio::test]
async fn a_listener_that_lags_is_told_how_many_events_it_missed() {
    let told = Arc::new(AtomicU64::new(0));
    let told2 = told.clone();
    let count = move |_: &Event| {
        told2.fetch_add(1, Ordering::Relaxed);
    };
    let rt = Runtime::builder().on_event(count).start().unwrap();
    let mailbox = Mailbox::bounded(1).overflow(Overflow::DropNewest);
    let addr = rt.supervise(spec("act", &Log::default()).mailbox(mailbox)).await.unwrap();
    let before = told.load(Ordering::Relaxed);
    let mut events = rt.events();
    let open = hold(&addr).await;
    for n in 0..1_000 {
        addr.try_tell(Add(n)).unwrap();
    }
    let happened = told.load(Ordering::Relaxed) - before;
    assert!(happened >= 999, "each message but the waiting one is a dead letter: {happened}");
    let missed = match events.recv().await {
        Err(EventsError::MissedDeadLetters(missed)) => missed,
        other => panic!("it is not told: {other:?}"),
    };
    let kept = seen(&mut events).len() as u64;
    assert_eq!(missed + kept, happened);
    assert!(kept <= 256, "what is kept for a listener is bounded: {kept}");
    open.send(()).unwrap();
    stop(rt).await;
}

/// Stops itself: from its handler, or from a timer, where it says itself that a snapshot is due.
#[derive(Message)]
#[rtype(result = "()")]
struct Leave {
    from_a_timer: bool,
}
impl Handler<Leave> for Kept {
    type Result = ();
    fn handle(&mut self, m: Leave, ctx: &mut Context<Self>) {
        if !m.from_a_timer {
            return ctx.stop();
        }
        ctx.run_later(Duration::from_millis(1), |kept, ctx| {
            assert!(ctx.keep_snapshot(kept));
            ctx.stop();
        });
    }
}

#[test]
fn every_orderly_end_leaves_a_last_snapshot() {
    let never = Duration::from_secs(1_000_000);
    for how in ["ctx.stop() in a handler", "in a timer", "stop", "group stop", "group restart", "shutdown"] {
        let rt = TestRuntime::new();
        let addr = rt.block_on(async {
            let group = rt.group(GroupSpec::new("group", Strategy::OneForAll)).unwrap();
            let frail = group.supervise(spec("frail", &Log::default())).await.unwrap();
            let addr = group.supervise(kept(never, |n| n, |_| {})).await.unwrap();
            addr.ask(Plus(142)).await.unwrap();
            assert_eq!(addr.last_snapshot(), None, "{how}");
            match how {
                "ctx.stop() in a handler" => addr.ask(Leave { from_a_timer: false }).await.unwrap(),
                "in a timer" => {
                    addr.ask(Leave { from_a_timer: true }).await.unwrap();
                    rt.pass(Duration::from_secs(1)).await;
                }
                "stop" => addr.stop(Duration::from_secs(1)).await.unwrap(),
                "group stop" => assert!(group.stop(Duration::from_secs(1)).await.clean()),
                "group restart" => {
                    let mut restarts = group.restarts();
                    inject_panic(&frail).unwrap();
                    restarts.wait_for(|n| *n == 1).await.unwrap();
                }
                _ => assert!(rt.shutdown(Duration::from_secs(1)).await.clean()),
            }
            if matches!(how, "ctx.stop() in a handler" | "in a timer" | "group restart") {
                assert_eq!(addr.ask(Plus(1)).await.unwrap(), 143, "{how}: the next instance goes on from it");
            }
            addr
        });
        assert_eq!(addr.last_snapshot().as_deref(), Some(&142), "{how}");
    }
}

#[test]
fn a_panic_leaves_no_last_snapshot_of_the_torn_state() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let addr = rt.supervise(kept(Duration::from_secs(1_000_000), |n| n, |_| {})).await.unwrap();
        addr.ask(Plus(142)).await.unwrap();
        inject_panic(&addr).unwrap();
        assert_eq!(addr.ask(Plus(1)).await.unwrap(), 1);
        assert_eq!(addr.last_snapshot(), None);
    });
    rt.assert_clean();
}
