//! The end of a queue: once, by one, and with nobody left waiting in it. The queue outlives the actor, so whoever ends one
//! closes and empties it, and a sender whose message slipped in beside the end empties it again. What happens to a message is the
//! caller's. Easy to get wrong: a channel that was closed may still take a message whose place was granted before.
//!
//! loom and shuttle run this very file against late senders (`checks/`). Mutation loom caught: `sent` without its look at the flag
//! (the late asker waits for ever, which the checker reports as a deadlock).
use crate::sync::primitives::{AtomicBool, Mutex, Ordering, fence, lock};

/// What can be closed and emptied.
pub(crate) trait Queue {
    type Item;
    /// Takes nothing new; what was granted a place may still come.
    fn close(&mut self);
    fn try_take(&mut self) -> Option<Self::Item>;
}

/// Whether a queue has come to its end.
pub(crate) struct End(AtomicBool);

impl End {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// True for the one who is to end it; `empty` comes after this, or a late message stays behind.
    pub(crate) fn begin(&self) -> bool {
        let first = !self.0.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst); // the flag before the look at the queue; see `sent`
        first
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// After each send that succeeded, and after a fence (`Listed::enter` has it): one beside the end empties the queue itself.
    pub(crate) fn sent(&self, empty: impl FnOnce()) {
        if self.has_begun() {
            empty();
        }
    }

    /// Closes the queue and hands over what is in it, outside of its lock.
    pub(crate) fn empty<Q: Queue>(queue: &Mutex<Q>, mut each: impl FnMut(Q::Item)) {
        loop {
            let item = {
                let mut queue = lock(queue);
                queue.close();
                queue.try_take()
            };
            let Some(item) = item else { return };
            each(item);
        }
    }
}
