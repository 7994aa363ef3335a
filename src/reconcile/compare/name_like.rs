//! A name like a name: letters mistyped, words in another order, one left out.
use super::equal::ties;
use super::level::rarity;
use super::{Kind, Level, Lexicon, Weighted, Words};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use rapidfuzz::distance::{jaro_winkler, osa};

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::new("different", 0.0),
    Level::new("slightly alike", 1.0 / 8.0),
    Level::new("somewhat alike", 2.0 / 8.0),
    Level::new("alike", 3.0 / 8.0),
    Level::new("very alike", 4.0 / 8.0),
    Level::new("same words", 5.0 / 8.0),
    Level::whole("equal (common value)", 6.0 / 8.0),
    Level::whole("equal", 7.0 / 8.0),
    Level::whole("equal (rare value)", 1.0),
];

/// Two columns of names.
pub(crate) struct NameLike(pub(crate) Weighted);

impl Kind for NameLike {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        let (left, right) = (&*self.0.left, &*self.0.right);
        let (a, b) = (left.compact_bytes(l), right.compact_bytes(r));
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        if left.value[l] == right.value[r] {
            return 7 + rarity(left.rows_of[l].max(right.rows_of[r]));
        }
        let shared = self.0.shared(l, r, lexicon);
        if left.words(l).len() > 1 && right.words(r).len() > 1 && shared >= 0.99 {
            return 6;
        }
        let like = jaro_winkler::similarity(a.iter(), b.iter());
        let edits = osa::distance_with_args(a.iter(), b.iter(), &osa::Args::default().score_cutoff(2)).unwrap_or(3);
        let shorter = a.len().min(b.len());
        match () {
            () if edits == 1 && shorter >= 3 => 5,
            () if (edits == 2 && shorter >= 5) || shared >= 0.8 || like >= 0.95 => {
                5 - u8::from(like < 0.9 && shared < 0.8)
            }
            () if like >= 0.88 || shared >= 0.6 => 4,
            () if like >= 0.80 || shared >= 0.4 => 3,
            () if like >= 0.70 || shared >= 0.2 => 2,
            () => 1,
        }
    }

    fn words(&self, side: Side) -> Option<&Words> {
        Some(if side == Side::Left { &self.0.left } else { &self.0.right })
    }

    fn is_text(&self) -> bool {
        true
    }

    fn ties(&self, meter: &Meter<'_>) -> Result<Vec<(u32, u32)>, Cancelled> {
        ties(&self.0.left, &self.0.right, meter)
    }
}
