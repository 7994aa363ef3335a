//! Many words like many words: a title, a description, told by the share of their telling words.
use super::equal::ties;
use super::{Kind, Level, Lexicon, Weighted, Words};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::new("no words shared", 0.0),
    Level::new("few words shared", 1.0 / 8.0),
    Level::new("some words shared", 2.0 / 8.0),
    Level::new("a third of the words shared", 3.0 / 8.0),
    Level::new("half of the words shared", 4.0 / 8.0),
    Level::new("most words shared", 5.0 / 8.0),
    Level::new("nearly all words shared", 6.0 / 8.0),
    Level::new("all words shared", 7.0 / 8.0),
    Level::whole("equal", 1.0),
];

/// Two columns of texts.
pub(crate) struct WordsLike(pub(crate) Weighted);

impl Kind for WordsLike {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        let (left, right) = (&*self.0.left, &*self.0.right);
        if left.is_missing(l) || right.is_missing(r) {
            return 0;
        }
        if left.value[l] == right.value[r] {
            return 9;
        }
        match self.0.shared(l, r, lexicon) {
            s if s >= 0.97 => 8,
            s if s >= 0.80 => 7,
            s if s >= 0.62 => 6,
            s if s >= 0.46 => 5,
            s if s >= 0.32 => 4,
            s if s >= 0.18 => 3,
            s if s >= 0.06 => 2,
            _ => 1,
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
