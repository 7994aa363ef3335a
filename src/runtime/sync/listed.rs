//! Whether the sweep knows of an actor that has something queued or in flight: it looks at those on its list, and at no other. Whoever
//! puts something there enters the actor; the sweep lets it leave when there is nothing left. Easy to get wrong: both write one thing
//! and read another, so without a fence between the two each may miss the other, and a message waits with nobody to expire it.
//!
//! loom and shuttle run this very file (`checks/`). Mutations loom caught: `leave` without its second look; either
//! fence left out.
use crate::sync::primitives::{AtomicBool, Ordering, fence};

/// The actor's own mark; the list itself is the watchdog's.
pub(crate) struct Listed(AtomicBool);

impl Listed {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// After something was put where the sweep has to look. True for the one who is to put the actor on the list.
    pub(crate) fn enter(&self) -> bool {
        // What was put there comes before this look, as in `leave` the mark comes before the look for it.
        fence(Ordering::SeqCst);
        !self.0.load(Ordering::Acquire) && !self.0.swap(true, Ordering::AcqRel)
    }

    /// Nothing was found. True if the actor is to be taken off the list; false if something came meanwhile that nobody entered it for.
    /// Called with the list locked: one that is entered at this moment is put back on it afterwards.
    pub(crate) fn leave(&self, busy: impl FnOnce() -> bool) -> bool {
        self.0.store(false, Ordering::Release);
        fence(Ordering::SeqCst);
        !busy() || self.0.swap(true, Ordering::AcqRel)
    }
}
