//! How often a shard turns: at once while little happens, and at ticks once waking for each thing would cost more than
//! the thing.
//!
//! Waking a thread costs as much as several writes. Easy to get wrong: the first thing after a pause must not wait, so
//! only things that follow each other closely begin the ticks.
use std::time::{Duration, Instant};

/// One direction's turns.
#[derive(Debug)]
pub struct Pace {
    window: Duration,
    last: Option<Instant>,
    close: bool,
}

impl Pace {
    /// At most one turn in `window` once they follow each other closely. Zero: as many as there are.
    pub fn new(window: Duration) -> Self {
        Self { window, last: None, close: false }
    }

    /// How long a turn is to wait for company, if it is.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let last = self.last.filter(|_| self.close)?;
        // Naps end late, never early: what is left of nearly nothing is not worth one.
        Some(self.window.saturating_sub(now.duration_since(last))).filter(|left| *left > self.window / 4)
    }

    /// Whether turns follow each other closely.
    pub fn is_busy(&self) -> bool {
        self.close
    }

    /// There is a turn now.
    pub fn turn(&mut self, now: Instant) {
        self.close = self.last.is_some_and(|last| now.duration_since(last) < self.window * 2);
        self.last = Some(now);
    }

    /// The turn took until now, from when the next one is counted: the longer a turn, the more has come in the
    /// meantime, and what is about to come is to go along.
    pub fn ended(&mut self, now: Instant) {
        self.last = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn turns_far_apart_never_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(2 * MS);
        for at in 0..20 {
            let now = start + at * 5 * MS;
            assert!(pace.wait(now).is_none(), "at {at}");
            pace.turn(now);
        }
    }

    #[test]
    fn turns_close_together_wait_for_the_tick() {
        let start = Instant::now();
        let mut pace = Pace::new(2 * MS);
        pace.turn(start);
        assert!(pace.wait(start).is_none(), "the second does not wait");
        pace.turn(start + MS / 2);
        assert!(pace.wait(start + MS).is_some());
        let tick = start + 2 * MS;
        assert!(pace.wait(tick).is_none());
        pace.turn(tick);
        assert!(pace.wait(tick).is_some());
        let later = start + 40 * MS;
        pace.turn(later);
        assert!(pace.wait(later).is_none(), "after a pause all is as in the beginning");
    }

    #[test]
    fn the_wait_counts_from_the_end_of_a_long_turn() {
        let start = Instant::now();
        let mut pace = Pace::new(2 * MS);
        for at in [0, 1] {
            pace.turn(start + at * MS);
        }
        pace.ended(start + 8 * MS);
        assert_eq!(pace.wait(start + 8 * MS), Some(2 * MS), "what came meanwhile waits for company");
        assert!(pace.wait(start + 10 * MS).is_none());
        pace.turn(start + 10 * MS);
        assert!(pace.is_busy(), "the length of a turn is no pause");
    }

    #[test]
    fn no_window_is_no_waiting() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::ZERO);
        for _ in 0..3 {
            pace.turn(start);
            assert!(pace.wait(start).is_none());
        }
    }
}
