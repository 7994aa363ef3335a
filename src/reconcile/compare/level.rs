//! What a kind of comparison is made of: a table of levels, and what puts a pair on one of them.
//!
//! Level 0 is missing, 1 disagreement, then better and better. Levels are what the model learns weights for, so two pairs
//! on one level must mean the same. Agreement on a rare value is a level of its own: it says more than agreement on a
//! common one.
use super::{Lexicon, Words};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;

/// Most levels of a comparison, the missing one included; a pattern has four bits for each.
pub(crate) const MAX_LEVELS: usize = 16;

/// What a level means.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Level {
    /// Its name in explanations.
    pub(crate) name: &'static str,
    /// How good it is before anything is learnt, 0 (different) to 1 (equal). Levels that only differ in the direction
    /// of the difference are as good as each other.
    pub(crate) rank: f64,
    /// Nothing tells the two values apart, however common they are.
    pub(crate) is_whole_agreement: bool,
    /// The two values differ beyond what the rule allows.
    pub(crate) is_discrepancy: bool,
}

impl Level {
    /// One of the values is not there: level 0 of every kind.
    pub(super) const MISSING: Self = Self::new("missing", 0.0);

    pub(super) const fn new(name: &'static str, rank: f64) -> Self {
        Self { name, rank, is_whole_agreement: false, is_discrepancy: false }
    }

    pub(super) const fn whole(name: &'static str, rank: f64) -> Self {
        Self { is_whole_agreement: true, ..Self::new(name, rank) }
    }

    pub(super) const fn discrepancy(name: &'static str, rank: f64) -> Self {
        Self { is_discrepancy: true, ..Self::new(name, rank) }
    }
}

/// A kind of comparison, made ready for the columns of two tables.
pub(crate) trait Kind {
    /// Its levels, the number of each being its place.
    fn levels(&self) -> &'static [Level];

    /// The level of a pair.
    fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8;

    /// The text it sees on a side; none of amounts and dates.
    fn words(&self, _side: Side) -> Option<&Words> {
        None
    }

    /// Whether it is about texts that are like each other, so that its agreement is evidence for a group of sums.
    fn is_text(&self) -> bool {
        false
    }

    /// Whether it compares references, of which one that is found in full ties two rows.
    fn is_code(&self) -> bool {
        false
    }

    /// Rows, left and right, that share a key which no other row has; the caller drops those that are there more than
    /// once.
    fn ties(&self, _meter: &Meter<'_>) -> Result<Vec<(u32, u32)>, Cancelled> {
        Ok(Vec::new())
    }
}

/// 2 for a value of few rows, 1 for some, 0 for many.
pub(super) fn rarity(rows: u32) -> u8 {
    match rows {
        0..=3 => 2,
        4..=30 => 1,
        _ => 0,
    }
}
