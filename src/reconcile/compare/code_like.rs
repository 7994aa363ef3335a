//! A code like a code: an invoice number, an account, with a few characters mistyped or cut off.
use super::equal::ties;
use super::level::rarity;
use super::{Kind, Level, Lexicon, Words};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use rapidfuzz::distance::osa;
use std::sync::Arc;

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::new("different", 0.0),
    Level::new("somewhat alike", 1.0 / 6.0),
    Level::new("two characters differ", 2.0 / 6.0),
    Level::new("one character differs", 3.0 / 6.0),
    Level::whole("equal (common value)", 4.0 / 6.0),
    Level::whole("equal", 5.0 / 6.0),
    Level::whole("equal (rare value)", 1.0),
];

/// Two columns of codes.
pub(crate) struct CodeLike {
    pub(crate) left: Arc<Words>,
    pub(crate) right: Arc<Words>,
}

impl Kind for CodeLike {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, _: &Lexicon) -> u8 {
        let (a, b) = (self.left.compact_bytes(l), self.right.compact_bytes(r));
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        if self.left.value[l] == self.right.value[r] {
            return 5 + rarity(self.left.rows_of[l].max(self.right.rows_of[r]));
        }
        let shorter = a.len().min(b.len());
        let edits = osa::distance_with_args(a.iter(), b.iter(), &osa::Args::default().score_cutoff(2)).unwrap_or(3);
        match edits {
            1 if shorter >= 3 => 4,
            2 if shorter >= 6 => 3,
            1 | 2 => 2,
            _ if shorter >= 4 && (a.starts_with(b) || b.starts_with(a)) => 2,
            _ => 1,
        }
    }

    fn words(&self, side: Side) -> Option<&Words> {
        Some(if side == Side::Left { &self.left } else { &self.right })
    }

    fn is_text(&self) -> bool {
        true
    }

    fn is_code(&self) -> bool {
        true
    }

    fn ties(&self, meter: &Meter<'_>) -> Result<Vec<(u32, u32)>, Cancelled> {
        ties(&self.left, &self.right, meter)
    }
}
