//! The store's time: one clock for all replicas of an installation.
//!
//! A SQLite store has one process, whose clock it takes. On PostgreSQL it is the server's: leases and ages are compared by
//! replicas whose own clocks may be minutes apart. The one thing easy to get wrong: the server is asked with each probe,
//! not with each call, and in between the time goes on by this machine's monotonic clock, which nobody sets.
use super::sql_types::now_us;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A reading that took longer says too little about when the server looked at its clock.
const SHARP: Duration = Duration::from_millis(100);

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds since the epoch, by whoever keeps the time.
#[derive(Debug)]
pub(crate) enum Clock {
    /// This machine.
    Own,
    /// A server; what its clock is ahead of our monotonic one.
    Server(AtomicI64),
}

impl Clock {
    /// A server's; this machine's until it is asked.
    pub(crate) fn of_server() -> Self {
        Self::Server(AtomicI64::new(now_us() - micros(STARTED.elapsed())))
    }

    /// The server said `server_us` between `asked` and now; a slow answer changes nothing.
    pub(crate) fn correct(&self, server_us: i64, asked: Instant) {
        if asked.elapsed() <= SHARP {
            self.set(server_us, asked);
        }
    }

    /// As [`Clock::correct`], however slow the answer was: the first one is better than this machine's clock.
    pub(crate) fn set(&self, server_us: i64, asked: Instant) {
        if let Self::Server(ahead) = self {
            let when = STARTED.elapsed().saturating_sub(asked.elapsed() / 2);
            ahead.store(server_us - micros(when), Ordering::Relaxed);
        }
    }

    /// The time.
    pub(crate) fn now_us(&self) -> i64 {
        match self {
            Self::Own => now_us(),
            Self::Server(ahead) => ahead.load(Ordering::Relaxed) + micros(STARTED.elapsed()),
        }
    }
}

/// A duration in the store's unit.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_time_goes_on_between_readings_whatever_ours_is() {
        let clock = Clock::of_server();
        assert!((clock.now_us() - now_us()).abs() < 1_000_000, "it begins with this machine's");
        clock.set(5_000_000, Instant::now());
        let first = clock.now_us();
        assert!((5_000_000..6_000_000).contains(&first), "{first}");
        assert!(clock.now_us() >= first);
        clock.correct(9_000_000, Instant::now());
        assert!((9_000_000..10_000_000).contains(&clock.now_us()));
        let long_ago = Instant::now().checked_sub(SHARP * 2).unwrap();
        clock.correct(1, long_ago);
        assert!(clock.now_us() >= 9_000_000, "a slow answer was believed");
    }
}
