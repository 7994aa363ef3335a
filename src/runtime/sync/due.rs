//! When the sweep has to look at what waits in a queue: the earliest deadline in it. A sender adds its deadline after its message
//! is in the queue; the sweep takes the whole, looks, and puts back what is left. Easy to get wrong: a message may come beside the
//! look, so the sweep clears before it looks, and a queue that holds something is never without a next look.
//!
//! loom and shuttle run this very file (`checks/`).
use crate::sync::primitives::{AtomicU64, Ordering};

/// The earliest deadline that somebody has to look for; `u64::MAX` for none.
pub(crate) struct Due(AtomicU64);

impl Due {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// A message with this deadline is in the queue. Deadlines mostly come in order, so this is one load.
    pub(crate) fn note(&self, deadline: u64) {
        if deadline < self.0.load(Ordering::SeqCst) {
            self.0.fetch_min(deadline, Ordering::SeqCst);
        }
    }

    /// Whether to look at the queue now, to be followed by the look and by `note` for what is left in it.
    pub(crate) fn take(&self, now: u64, waits: impl FnOnce() -> bool) -> bool {
        let due = self.0.load(Ordering::SeqCst);
        // Without a deadline something may wait all the same: its sender has not come to say so, or came beside the last clear.
        if due > now && (due != u64::MAX || !waits()) {
            return false;
        }
        self.0.store(u64::MAX, Ordering::SeqCst);
        true
    }
}
