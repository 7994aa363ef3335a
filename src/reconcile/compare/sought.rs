//! Two columns of which one is sought in the other: the shorter text in the longer one.
use super::Words;
use crate::outcome::Side;
use std::sync::Arc;

/// The text that is sought, and the text it is sought in.
pub(crate) struct Sought {
    pub(crate) needle: Arc<Words>,
    pub(crate) hay: Arc<Words>,
    /// The needle is the left column.
    pub(crate) needle_left: bool,
}

impl Sought {
    /// The column with fewer words is the needle.
    pub(crate) fn new(left: Arc<Words>, right: Arc<Words>) -> Self {
        let needle_left = left.mean_words() <= right.mean_words();
        let (needle, hay) = if needle_left { (left, right) } else { (right, left) };
        Self { needle, hay, needle_left }
    }

    /// The column of a side.
    pub(crate) fn of(&self, side: Side) -> &Arc<Words> {
        if (side == Side::Left) == self.needle_left { &self.needle } else { &self.hay }
    }

    /// Needle and hay of a pair; none when one of them is missing.
    pub(super) fn rows(&self, l: usize, r: usize) -> Option<(usize, usize)> {
        let (n, h) = if self.needle_left { (l, r) } else { (r, l) };
        (!self.needle.is_missing(n) && !self.hay.is_missing(h)).then_some((n, h))
    }
}
