//! The hand: a batch of messages that a pump works off without a lock, while others may look at it or take it away. What the
//! messages are is left to `inbox`. Easy to get wrong: the pump never removes an item, it moves a cursor; a fenced pump and its
//! successor may both come to the same item, so each item itself must see to being handled once.
//!
//! loom and shuttle run this very file with `reply` (`checks/`). Mutation loom caught: `end` not moving the cursor (a handled item
//! still counts as being handled).
use std::mem;

use crate::sync::primitives::{Arc, AtomicUsize, Ordering};

/// A batch in the pump's hand.
pub(crate) struct Hand<T> {
    items: Vec<T>,
    /// `2 * i`: item `i` is next; `2 * i + 1`: it is being handled. One writer, the pump.
    cursor: AtomicUsize,
}

impl<T> Hand<T> {
    pub(crate) fn empty() -> Arc<Self> {
        Arc::new(Self { items: Vec::new(), cursor: AtomicUsize::new(0) })
    }

    /// The hand to fill again: `items` to put messages into; the old ones are swapped into `spare`, to be dropped outside
    /// of locks. One that somebody is still looking at is replaced.
    pub(crate) fn refill<'a>(hand: &'a mut Arc<Self>, spare: &mut Vec<T>) -> &'a mut Vec<T> {
        if Arc::get_mut(hand).is_none() {
            *hand = Self::empty();
        }
        let hand = Arc::get_mut(hand).expect("nobody else has seen a hand that was just made or is unshared");
        mem::swap(&mut hand.items, spare);
        hand.cursor = AtomicUsize::new(0);
        &mut hand.items
    }

    /// The pump's item number `at`, now being handled.
    pub(crate) fn begin(&self, at: usize) -> Option<&T> {
        let item = self.items.get(at)?;
        // Release, as is `end`: the watchdog that sees the cursor sees what was done before.
        self.cursor.store(2 * at + 1, Ordering::Release);
        Some(item)
    }

    pub(crate) fn end(&self, at: usize) {
        self.cursor.store(2 * at + 2, Ordering::Release);
    }

    /// What is being handled, and what comes after it.
    pub(crate) fn look(&self) -> (Option<&T>, &[T]) {
        let cursor = self.cursor.load(Ordering::Acquire);
        let (at, running) = (cursor / 2, cursor % 2);
        let rest = self.items.get(at + running..).unwrap_or_default();
        (if running == 1 { self.items.get(at) } else { None }, rest)
    }
}
