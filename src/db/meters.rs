//! What the store counts of itself.
use metrics::{counter, gauge, histogram};
use std::time::Instant;

/// A caller who waits for a connection.
pub(crate) struct Waiting(Instant);

impl Waiting {
    pub(crate) fn begin() -> Self {
        gauge!("tieout_store_waiting").increment(1.0);
        Self(Instant::now())
    }

    pub(crate) fn end(self, served: bool) {
        if served {
            histogram!("tieout_store_wait_seconds").record(self.0.elapsed().as_secs_f64());
            counter!("tieout_store_calls_total").increment(1);
        } else {
            refused("busy");
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        gauge!("tieout_store_waiting").decrement(1.0);
    }
}

/// A caller was refused: `away` at once, `busy` after waiting.
pub(crate) fn refused(reason: &'static str) {
    counter!("tieout_store_refused_total", "reason" => reason).increment(1);
}

/// A pool's connections, at a probe.
pub(crate) fn connections(open: u32, idle: u32) {
    gauge!("tieout_store_connections", "state" => "idle").set(f64::from(idle));
    gauge!("tieout_store_connections", "state" => "busy").set(f64::from(open.saturating_sub(idle)));
}

/// Whether calls are served.
pub(crate) fn up(up: bool) {
    gauge!("tieout_store_up").set(if up { 1.0 } else { 0.0 });
}
