//! Values that are equal or not: letters and digits alone count, without leading zeros.
use super::level::rarity;
use super::{Kind, Level, Lexicon, Words};
use crate::outcome::Side;
use rustc_hash::FxHashMap;
use std::sync::Arc;

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::discrepancy("different", 0.0),
    Level::whole("equal (common value)", 1.0 / 3.0),
    Level::whole("equal", 2.0 / 3.0),
    Level::whole("equal (rare value)", 1.0),
];

/// Letters and digits of a value that may tie two rows.
pub(super) const LEAST_LETTERS: usize = 5;

/// Two columns compared for equality.
pub(crate) struct Equal {
    pub(crate) left: Arc<Words>,
    pub(crate) right: Arc<Words>,
}

impl Kind for Equal {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, _: &Lexicon) -> u8 {
        let (left, right) = (&self.left, &self.right);
        if left.is_missing(l) || right.is_missing(r) {
            0
        } else if left.value[l] != right.value[r] {
            1
        } else {
            2 + rarity(left.rows_of[l].max(right.rows_of[r]))
        }
    }

    fn words(&self, side: Side) -> Option<&Words> {
        Some(if side == Side::Left { &self.left } else { &self.right })
    }

    fn ties(&self) -> Vec<(u32, u32)> {
        ties(&self.left, &self.right)
    }
}

/// Rows of one value that is there once on each side.
pub(super) fn ties(left: &Words, right: &Words) -> Vec<(u32, u32)> {
    let alone = |words: &Words, row: usize| words.rows_of[row] == 1;
    let of_value: FxHashMap<u64, u32> =
        (0..right.value.len()).filter(|row| alone(right, *row)).map(|row| (right.value[row], row as u32)).collect();
    let rows = (0..left.value.len()).filter(|row| alone(left, *row) && left.compact(*row).len() >= LEAST_LETTERS);
    rows.filter_map(|l| of_value.get(&left.value[l]).map(|r| (l as u32, *r))).collect()
}
