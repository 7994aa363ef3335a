//! Values that are equal or not: letters and digits alone count, without leading zeros.
use super::level::rarity;
use super::{Kind, Level, Lexicon, Words};
use crate::control::{Cancelled, Meter};
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

    fn ties(&self, meter: &Meter<'_>) -> Result<Vec<(u32, u32)>, Cancelled> {
        ties(&self.left, &self.right, meter)
    }
}

/// Rows of one value that is there once on each side.
pub(super) fn ties(left: &Words, right: &Words, meter: &Meter<'_>) -> Result<Vec<(u32, u32)>, Cancelled> {
    let alone = |words: &Words, row: usize| words.rows_of[row] == 1;
    let mut of_value: FxHashMap<u64, u32> = FxHashMap::default();
    for row in 0..right.value.len() {
        meter.check_at(row)?;
        if alone(right, row) {
            of_value.insert(right.value[row], row as u32);
        }
    }
    let mut found = Vec::new();
    for row in 0..left.value.len() {
        meter.check_at(row)?;
        if alone(left, row) && left.compact(row).len() >= LEAST_LETTERS {
            found.extend(of_value.get(&left.value[row]).map(|r| (row as u32, *r)));
        }
    }
    Ok(found)
}
