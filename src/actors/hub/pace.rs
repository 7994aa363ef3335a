//! How often a shard turns: at once while little happens, and at ticks once waking for each thing would cost more than
//! the thing.
//!
//! Waking a thread costs as much as several writes. Easy to get wrong: the first thing after a pause must not wait, so
//! only things that follow each other closely begin the ticks.
use std::time::{Duration, Instant};

/// Ticks of one direction.
#[derive(Debug)]
pub struct Pace {
    origin: Instant,
    window: Duration,
    last: Option<Instant>,
    next: Option<Instant>,
}

impl Pace {
    /// Ticks every `window`, at multiples of it since `origin`: shards that share both wake together. Zero: none.
    pub fn new(origin: Instant, window: Duration) -> Self {
        Self { origin, window, last: None, next: None }
    }

    /// When the next turn may be, if that is later than now.
    pub fn wait(&self, now: Instant) -> Option<Instant> {
        self.next.filter(|next| *next > now)
    }

    /// There is a turn now.
    pub fn turn(&mut self, now: Instant) {
        let close = self.last.is_some_and(|last| now.duration_since(last) < self.window * 2);
        self.last = Some(now);
        self.next = (close && !self.window.is_zero()).then(|| {
            let ticks = now.duration_since(self.origin).as_nanos() / self.window.as_nanos() + 1;
            self.origin + Duration::from_nanos((ticks * self.window.as_nanos()) as u64)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn things_far_apart_never_wait() {
        let origin = Instant::now();
        let mut pace = Pace::new(origin, 2 * MS);
        for at in 0..20 {
            let now = origin + at * 5 * MS;
            assert_eq!(pace.wait(now), None, "at {at}");
            pace.turn(now);
        }
    }

    #[test]
    fn things_close_together_wait_for_the_tick() {
        let origin = Instant::now();
        let mut pace = Pace::new(origin, 2 * MS);
        pace.turn(origin + 7 * MS);
        assert_eq!(pace.wait(origin + 7 * MS), None, "the second does not wait");
        pace.turn(origin + 7 * MS + MS / 2);
        let tick = origin + 8 * MS;
        assert_eq!(pace.wait(origin + 7 * MS + MS / 2), Some(tick));
        assert_eq!(pace.wait(tick), None);
        pace.turn(tick);
        assert_eq!(pace.wait(tick), Some(origin + 10 * MS));
        pace.turn(origin + 40 * MS);
        assert_eq!(pace.wait(origin + 40 * MS), None, "after a pause all is as in the beginning");
    }

    #[test]
    fn no_window_is_no_waiting() {
        let origin = Instant::now();
        let mut pace = Pace::new(origin, Duration::ZERO);
        for _ in 0..3 {
            pace.turn(origin);
            assert_eq!(pace.wait(origin), None);
        }
    }
}
