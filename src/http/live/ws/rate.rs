//! How many messages a connection may send: a token bucket, kept as the moment at which it is full again.
//!
//! Easy to get wrong: a rate of 0 means no limit, not nothing.
use std::time::{Duration, Instant};

/// A bucket of `burst` tokens that refills at `per_second`; full in the beginning.
#[derive(Debug)]
pub(super) struct Bucket {
    /// For one token; none is no limit.
    refill: Option<Duration>,
    burst: u32,
    full_at: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let refill = (per_second > 0).then(|| Duration::from_secs(1) / per_second);
        Self { refill, burst, full_at: now }
    }

    /// Take a token, or say how long until there is one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(refill) = self.refill else { return Ok(()) };
        let full_at = self.full_at.max(now) + refill;
        match full_at.duration_since(now).checked_sub(refill * self.burst) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, at: Instant) -> usize {
        (0..1_000).take_while(|_| bucket.take(at).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_only_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        assert_eq!(taken(&mut bucket, start), 3);
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(110)), 1);
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(310)), 2);
    }

    #[test]
    fn a_long_silence_saves_up_no_more_than_one_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::new(50, 100, start);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(3)), 100);
        bucket.take(start + Duration::from_secs(3)).unwrap_err();
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(60)), 100);
    }

    #[test]
    fn zero_is_no_limit() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0, 0, start);
        assert_eq!(taken(&mut bucket, start), 1_000);
    }
}
