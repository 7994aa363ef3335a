//! The restart policy through the outer door, under virtual time: how the pauses grow, when they start over, and which failures count
//! towards the intensity. The pure part has its properties beside it, in `runtime/policy.rs`.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tieout_runtime::{
    Addr, AskError, Backoff, ChildSpec, Event, OnExhausted, OnRestart, State, StopReason,
    test_kit::{TestRuntime, inject_panic},
};

use crate::actor::{Act, Add, Log, spec};

const SECOND: Duration = Duration::from_secs(1);

fn backoff() -> Backoff {
    Backoff { first: SECOND, max: 10 * SECOND, jitter: 0.0, reset_after: 60 * SECOND }
}

/// Makes it panic; how long it is down, by the virtual clock.
async fn fail(rt: &TestRuntime, addr: &Addr<Act>) -> Duration {
    let mut states = addr.watch();
    let begun = rt.now();
    inject_panic(addr).unwrap();
    states.wait_for(|s| matches!(s, State::Restarting { .. } | State::Stopped { .. })).await.unwrap();
    states.wait_for(|s| matches!(s, State::Running | State::Stopped { .. })).await.unwrap();
    rt.now() - begun
}

fn secs(d: Duration) -> u64 {
    d.as_secs()
}

#[test]
fn the_pause_doubles_with_every_failure_up_to_its_maximum() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let child = spec("act", &Log::default()).backoff(backoff()).intensity(100, SECOND);
        let addr = rt.supervise(child).await.unwrap();
        let mut pauses = Vec::new();
        for _ in 0..6 {
            pauses.push(secs(fail(&rt, &addr).await));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 10, 10]);
    });
    rt.assert_clean();
}

#[test]
fn a_quiet_minute_starts_the_pauses_over_and_a_shorter_one_does_not() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let child = spec("act", &Log::default()).backoff(backoff()).intensity(100, SECOND);
        let addr = rt.supervise(child).await.unwrap();
        assert_eq!(secs(fail(&rt, &addr).await), 1);
        assert_eq!(secs(fail(&rt, &addr).await), 2);
        rt.pass(50 * SECOND).await;
        assert_eq!(secs(fail(&rt, &addr).await), 4, "50 s are no reason to start over");
        rt.pass(61 * SECOND).await;
        assert_eq!(secs(fail(&rt, &addr).await), 1);
    });
    rt.assert_clean();
}

#[test]
fn jitter_takes_off_at_most_its_share() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let child = spec("act", &Log::default())
            .backoff(Backoff { jitter: 0.5, max: SECOND, ..backoff() })
            .intensity(100, SECOND);
        let addr = rt.supervise(child).await.unwrap();
        let mut pauses = Vec::new();
        for _ in 0..20 {
            pauses.push(fail(&rt, &addr).await);
        }
        // The timer is exact to a millisecond.
        let bounds = SECOND / 2..=SECOND + Duration::from_millis(2);
        assert!(pauses.iter().all(|p| bounds.contains(p)), "{pauses:?}");
        pauses.dedup();
        assert!(pauses.len() > 2, "they differ: {pauses:?}");
    });
    rt.assert_clean();
}

#[test]
fn the_intensity_slides_spread_failures_never_exhaust_it_and_dense_ones_do() {
    let rt = TestRuntime::new();
    rt.expect_end("act");
    rt.block_on(async {
        let quick = Backoff { max: SECOND, ..backoff() };
        let child = spec("act", &Log::default()).backoff(quick).intensity(3, 60 * SECOND);
        let addr = rt.supervise(child).await.unwrap();
        // 21 s apart: never more than three in any minute, though a window that was only emptied as a whole would hold more.
        for n in 0..20 {
            fail(&rt, &addr).await;
            assert_eq!(addr.watch().get(), State::Running, "failure {n}");
            rt.pass(20 * SECOND).await;
        }
        rt.pass(60 * SECOND).await;
        for n in 0..3 {
            fail(&rt, &addr).await;
            assert_eq!(addr.watch().get(), State::Running, "failure {n} of the dense ones");
        }
        fail(&rt, &addr).await;
        let end = addr.watch().get();
        assert!(matches!(end, State::Stopped { why: StopReason::Exhausted(_) }), "the fourth in a minute: {end:?}");
    });
    rt.assert_clean();
}

#[test]
fn failed_starts_count_towards_the_intensity_and_lengthen_the_pause() {
    let rt = TestRuntime::new();
    rt.expect_end("flaky");
    rt.block_on(async {
        let starts = Arc::new(AtomicUsize::new(0));
        let (starts2, log) = (starts.clone(), Log::default());
        let child = ChildSpec::new("flaky", move |_| {
            assert!(starts2.fetch_add(1, Ordering::SeqCst) == 0, "only the first start works");
            Act::new(&log)
        });
        let child = child.backoff(backoff()).intensity(4, 60 * SECOND).on_exhausted(OnExhausted::GiveUp);
        let addr = rt.supervise(child).await.unwrap();
        let mut events = rt.events();
        let before = rt.now();
        inject_panic(&addr).unwrap();
        addr.watch().wait_for(|s| matches!(s, State::Stopped { .. })).await.unwrap();
        assert_eq!(starts.load(Ordering::SeqCst), 5, "the first and four restarts");
        assert_eq!(secs(rt.now() - before), 1 + 2 + 4 + 8, "the pauses between them");
        let mut pauses = Vec::new();
        while let Ok(event) = events.try_recv() {
            if let Event::Restarting { attempt, retry_after, .. } = event {
                pauses.push((attempt, secs(retry_after)));
            }
        }
        assert_eq!(pauses, [(1, 1), (2, 2), (3, 4), (4, 8)]);
    });
    rt.assert_clean();
}

#[test]
fn an_ask_that_does_not_want_to_wait_is_told_when_the_next_start_is_due_and_one_that_does_is_answered() {
    let rt = TestRuntime::new();
    rt.block_on(async {
        let child = spec("act", &Log::default()).backoff(Backoff { first: 4 * SECOND, ..backoff() });
        let addr = rt.supervise(child).await.unwrap();
        inject_panic(&addr).unwrap();
        addr.watch().wait_for(|s| matches!(s, State::Restarting { .. })).await.unwrap();
        let now = addr.ask(Add(1)).on_restart(OnRestart::Fail).await.unwrap_err();
        let AskError::Restarting { msg: Add(1), retry_after } = now else { panic!("{now:?}") };
        assert_eq!(retry_after, 4 * SECOND);
        assert_eq!(addr.ask(Add(2)).await.unwrap(), 2);
    });
    rt.assert_clean();
}
