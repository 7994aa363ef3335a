//! Properties of the restart policy: it decides as a slow one that keeps every failure for ever, and its pauses stay within
//! their bounds. Easy to get wrong: a failure that exhausts the window is no failure in a row, for it has no pause.
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{Ledger, Verdict, pause};
use crate::handle::spec::{Backoff, OnExhausted, Policy, Restart};

/// The obvious way: every failure is kept for ever and looked through again at each.
#[derive(Default)]
struct Naive {
    failures: Vec<Instant>,
    in_a_row: u32,
}

impl Naive {
    /// (whether it is exhausted, the pause without jitter); it ran for `ran` before, if it came up at all.
    fn failed(&mut self, p: &Policy, now: Instant, ran: Option<Duration>) -> (bool, Duration) {
        let quiet = self.failures.is_empty() || ran.is_some_and(|ran| ran >= p.backoff.reset_after);
        self.failures.push(now);
        if self.failures.iter().filter(|t| now - **t < p.window).count() > p.max_failures {
            if quiet {
                self.in_a_row = 0;
            }
            return (true, Duration::ZERO);
        }
        self.in_a_row = if quiet { 1 } else { self.in_a_row + 1 };
        let mut pause = p.backoff.first;
        for _ in 1..self.in_a_row {
            pause = pause.saturating_mul(2).min(p.backoff.max);
        }
        (false, pause.min(p.backoff.max))
    }
}

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

prop_compose! {
    fn any_policy()(
        first in millis(0..500),
        max in millis(0..20_000),
        jitter in -0.5..1.5,
        reset_after in millis(0..5_000),
        max_failures in 0..8_usize,
        window in millis(0..5_000),
    ) -> Policy {
        Policy { backoff: Backoff { first, max, jitter, reset_after }, max_failures, window, on_exhausted: OnExhausted::GiveUp, restart: Restart::Permanent }
    }
}

/// Under Miri each case takes a second.
const CASES: u32 = if cfg!(miri) { 16 } else { 2_000 };

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) })]

    #[test]
    fn the_ledger_decides_as_one_that_keeps_everything(
        p in any_policy(),
        failures in proptest::collection::vec((millis(0..3_000), proptest::option::of(millis(0..3_000)), 0.0..1.0), 0..40),
    ) {
        let (mut now, mut ledger, mut naive) = (Instant::now(), Ledger::default(), Naive::default());
        for (down, ran, random) in failures {
            now += down;
            if let Some(ran) = ran {
                ledger.up(now);
                now += ran;
            }
            let (exhausted, full) = naive.failed(&p, now, ran);
            let verdict = ledger.failed(&p, now, random);
            prop_assert_eq!(verdict == Verdict::Exhausted, exhausted);
            prop_assert_eq!(ledger.attempt(), naive.in_a_row);
            prop_assert!(ledger.failures.len() <= p.max_failures + 1 || exhausted, "the window is not kept for ever");
            if let Verdict::RestartIn(pause) = verdict {
                let jitter = p.backoff.jitter.clamp(0.0, 1.0);
                let least = (full / 1_000).mul_f64(1_000.0 * (1.0 - jitter) * 0.999_999);
                let slack = Duration::from_micros(1); // rounding
                prop_assert!(pause <= full.saturating_add(slack) && pause.saturating_add(slack) >= least, "{:?} not in {:?}..{:?}", pause, least, full);
                prop_assert!(pause <= p.backoff.max.saturating_add(slack));
            }
        }
    }

    #[test]
    fn the_pause_grows_with_the_failures_and_with_chance_and_never_overflows(
        p in any_policy(), attempt in 1..u32::MAX, a in 0.0..1.0, b in 0.0..1.0,
    ) {
        let (less, more) = if a < b { (a, b) } else { (b, a) };
        prop_assert!(pause(&p, attempt, less) <= pause(&p, attempt, more));
        prop_assert!(pause(&p, attempt, a) <= pause(&p, attempt.saturating_add(1), a));
        prop_assert!(pause(&p, attempt, a) <= p.backoff.max.saturating_add(Duration::from_micros(1)));
    }
}

#[test]
fn the_longest_pause_there_is_is_no_overflow() {
    let backoff = Backoff { first: Duration::MAX, max: Duration::MAX, jitter: 0.0, reset_after: Duration::ZERO };
    let (restart, on_exhausted) = (Restart::Permanent, OnExhausted::GiveUp);
    let p = Policy { restart, backoff, max_failures: 1, window: Duration::ZERO, on_exhausted };
    assert_eq!(pause(&p, 2, 1.0), Duration::MAX);
}
