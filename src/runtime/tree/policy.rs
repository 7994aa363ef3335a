//! The restart decision, pure: a sliding window of failures and an exponential pause with jitter. Time and randomness
//! are arguments. Easy to get wrong: the window and the pause reset on different clocks: the window slides over failures, the pause
//! starts over after `reset_after` of running, so that time spent waiting for a restart is no quiet time.
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::handle::spec::Policy;

/// What to do after a failure.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Start again after this pause.
    RestartIn(Duration),
    /// More failures within the window than allowed.
    Exhausted,
}

/// Failures that are counted one by one.
const COUNTED: u32 = 1_000;

/// One actor's failures.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// When, and how many.
    failures: VecDeque<(Instant, usize)>,
    in_a_row: u32,
    /// Since when it has been running, if it is.
    up: Option<Instant>,
}

impl Ledger {
    /// Records a failure at `now` and decides. `random` is uniform in 0..1.
    pub(crate) fn failed(&mut self, policy: &Policy, now: Instant, random: f64) -> Verdict {
        if self.up.take().is_some_and(|up| now.duration_since(up) >= policy.backoff.reset_after) {
            self.in_a_row = 0;
        }
        // Many are counted by the grain, so that no intensity asks for more memory than this.
        let grain = if policy.max_failures > COUNTED as usize { policy.window / COUNTED } else { Duration::ZERO };
        match self.failures.back_mut() {
            Some((t, n)) if now.duration_since(*t) < grain => *n += 1,
            _ => self.failures.push_back((now, 1)),
        }
        while self.failures.front().is_some_and(|(t, _)| now.duration_since(*t) >= policy.window) {
            self.failures.pop_front();
        }
        if self.failures.iter().map(|(_, n)| n).sum::<usize>() > policy.max_failures {
            return Verdict::Exhausted;
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        Verdict::RestartIn(pause(policy, self.in_a_row, random))
    }

    /// It runs since `now`.
    pub(crate) fn up(&mut self, now: Instant) {
        self.up = Some(now);
    }

    /// Failures that count at `now`.
    pub(crate) fn within(&self, policy: &Policy, now: Instant) -> usize {
        self.failures.iter().filter(|(t, _)| now.duration_since(*t) < policy.window).map(|(_, n)| n).sum()
    }

    /// Failures in a row, for display.
    pub(crate) fn attempt(&self) -> u32 {
        self.in_a_row
    }
}

/// The pause before restart number `attempt` (from 1): `first * 2^(attempt-1)`, at most `max`, of which the share
/// `jitter` is scaled by `random`.
fn pause(policy: &Policy, attempt: u32, random: f64) -> Duration {
    let b = policy.backoff;
    let doubled = b.first.saturating_mul(1u32 << (attempt - 1).min(30)).min(b.max);
    let jitter = b.jitter.clamp(0.0, 1.0);
    let share = 1.0 - jitter + jitter * random.clamp(0.0, 1.0);
    // Fails where rounding goes past the longest duration there is.
    Duration::try_from_secs_f64(doubled.as_secs_f64() * share).unwrap_or(doubled)
}

#[cfg(test)]
#[path = "policy_properties.rs"]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::spec::{Backoff, OnExhausted, Restart};

    fn policy() -> Policy {
        Policy {
            restart: Restart::Permanent,
            backoff: Backoff {
                first: Duration::from_millis(100),
                max: Duration::from_secs(1),
                jitter: 0.5,
                reset_after: Duration::from_secs(60),
            },
            max_failures: 3,
            window: Duration::from_secs(10),
            on_exhausted: OnExhausted::GiveUp,
        }
    }

    #[test]
    fn a_fourth_failure_within_the_window_exhausts_and_one_outside_does_not() {
        let t = Instant::now();
        let mut l = Ledger::default();
        for s in [0, 1, 2] {
            assert!(matches!(l.failed(&policy(), t + Duration::from_secs(s), 0.0), Verdict::RestartIn(_)));
        }
        assert!(matches!(l.failed(&policy(), t + Duration::from_secs(10), 0.0), Verdict::RestartIn(_)));
        assert_eq!(l.failed(&policy(), t + Duration::from_millis(10_500), 0.0), Verdict::Exhausted);
    }

    #[test]
    fn the_pause_doubles_up_to_its_maximum_and_resets_after_a_quiet_time() {
        let mut p = policy();
        p.max_failures = 100;
        let t = Instant::now();
        let mut l = Ledger::default();
        let pauses: Vec<_> = (0..6)
            .map(|k| match l.failed(&p, t + Duration::from_secs(k), 1.0) {
                Verdict::RestartIn(d) => d.as_millis(),
                Verdict::Exhausted => panic!("exhausted"),
            })
            .collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(
            l.failed(&p, t + Duration::from_secs(65), 1.0),
            Verdict::RestartIn(Duration::from_secs(1)),
            "a minute in which it did not run is not quiet"
        );
        l.up(t + Duration::from_secs(70));
        assert_eq!(
            l.failed(&p, t + Duration::from_secs(130), 0.0),
            Verdict::RestartIn(Duration::from_millis(50)),
            "it ran for a minute: the first pause, half of it jitter"
        );
    }
}
