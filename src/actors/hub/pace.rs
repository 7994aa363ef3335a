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

    /// Whether a turn must wait for the next tick.
    pub fn must_wait(&self, now: Instant) -> bool {
        // Ticks come late, never early, but a late turn may be followed by a punctual tick.
        self.close && self.last.is_some_and(|last| now.duration_since(last) < self.window * 3 / 4)
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
            assert!(!pace.must_wait(now), "at {at}");
            pace.turn(now);
        }
    }

    #[test]
    fn turns_close_together_wait_for_the_tick() {
        let start = Instant::now();
        let mut pace = Pace::new(2 * MS);
        pace.turn(start);
        assert!(!pace.must_wait(start), "the second does not wait");
        pace.turn(start + MS / 2);
        assert!(pace.must_wait(start + MS));
        let tick = start + 2 * MS;
        assert!(!pace.must_wait(tick));
        pace.turn(tick);
        assert!(pace.must_wait(tick));
        let later = start + 40 * MS;
        pace.turn(later);
        assert!(!pace.must_wait(later), "after a pause all is as in the beginning");
    }

    #[test]
    fn no_window_is_no_waiting() {
        let start = Instant::now();
        let mut pace = Pace::new(Duration::ZERO);
        for _ in 0..3 {
            pace.turn(start);
            assert!(!pace.must_wait(start));
        }
    }
}
