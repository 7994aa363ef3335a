//! How many handles there are to an actor that stops with its last. Of others nobody counts. Easy to get wrong: once there is none there is
//! never one again, or a look-up beside the last drop would hand out an address of an actor that stops.
use crate::sync::primitives::{AtomicUsize, Ordering};

pub(crate) struct Handles(Option<AtomicUsize>);

impl Handles {
    /// With one handle, if they count.
    pub(crate) fn new(count: bool) -> Self {
        Self(count.then(|| AtomicUsize::new(1)))
    }

    /// One more, by whoever has one.
    pub(crate) fn another(&self) {
        if let Some(n) = &self.0 {
            n.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One more, by whoever has none; false if there is none any more.
    pub(crate) fn revive(&self) -> bool {
        let Some(n) = &self.0 else { return true };
        let one_more = |n: usize| if n == 0 { None } else { Some(n + 1) };
        n.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more).is_ok()
    }

    /// True for the one who drops the last.
    pub(crate) fn one_less(&self) -> bool {
        // AcqRel: what was done by the handles before comes before the stop.
        self.0.as_ref().is_some_and(|n| n.fetch_sub(1, Ordering::AcqRel) == 1)
    }
}
