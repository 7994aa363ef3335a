//! When a message was sent and by when it must be done. The clock is `Core`'s.
use std::time::{Duration, Instant};

/// Coarse milliseconds since the runtime's start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) sent: u64,
    pub(crate) deadline: u64,
    /// When it was sent, exactly, if it is a sample for `Builder::on_handled`.
    pub(crate) sample: Option<Instant>,
}

impl Times {
    pub(crate) fn expired(&self, now: u64) -> bool {
        self.deadline <= now
    }

    pub(crate) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(now.saturating_sub(self.sent))
    }
}
