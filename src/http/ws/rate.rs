//! How many messages a connection may send: a token bucket.
//!
//! Easy to get wrong: a rate of 0 means no limit, not nothing.
use std::time::{Duration, Instant};

/// A bucket of `burst` tokens that refills at `per_second`.
#[derive(Debug)]
pub(super) struct Bucket {
    per_second: u32,
    burst: u32,
    tokens: f32,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        Self { per_second, burst, tokens: burst as f32, at: now }
    }

    /// Take a token, or say how long until there is one. The clock is only read when the bucket is empty.
    pub(super) fn take(&mut self, now: impl FnOnce() -> Instant) -> Result<(), Duration> {
        if self.per_second == 0 {
            return Ok(());
        }
        if self.tokens < 1.0 {
            let now = now();
            let refill = now.duration_since(self.at).as_secs_f32() * self.per_second as f32;
            self.tokens = (self.tokens + refill).min(self.burst as f32);
            self.at = now;
            if self.tokens < 1.0 {
                return Err(Duration::from_secs_f32((1.0 - self.tokens) / self.per_second as f32));
            }
        }
        self.tokens -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        for _ in 0..3 {
            bucket.take(|| start).unwrap();
        }
        let wait = bucket.take(|| start).unwrap_err();
        assert!(wait <= Duration::from_millis(101));
        bucket.take(|| start + Duration::from_millis(110)).unwrap();
        bucket.take(|| start + Duration::from_millis(110)).unwrap_err();
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0, 0, start);
        for _ in 0..1_000 {
            bucket.take(|| start).unwrap();
        }
    }
}
