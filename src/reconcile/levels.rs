//! One comparison of one pair becomes a level: 0 missing, 1 disagreement, then better and better.
//!
//! Levels are what the model learns weights for, so two pairs on one level must mean the same. Agreement on a
//! rare value is a level of its own: it says more than agreement on a common one. Names of levels go into
//! explanations.
use super::features::{Lexicon, Words};
use super::outcome::Side;
use super::table::{NO_AMOUNT, NO_DATE};
use super::text;
use rapidfuzz::distance::{jaro_winkler, osa};
use rustc_hash::FxHashMap;
use std::sync::Arc;

mod contained;
mod names;

pub(crate) use contained::Contained;
use names::{AMOUNT, CODE_IN, CODE_LIKE, DATE, EQUAL, NAME_IN, NAME_LIKE, WORDS_LIKE};

/// Most levels of a comparison, 0 included; a pattern has four bits for each.
pub(crate) const MAX_LEVELS: usize = 16;

/// A comparison made ready for its two tables.
pub(crate) enum Comparator {
    Equal { left: Arc<Words>, right: Arc<Words> },
    Amount(Amounts),
    Date { left: Vec<i32>, right: Vec<i32>, before: i32, after: i32 },
    Contained(Contained),
    Like(Like),
}

/// Amounts at one scale.
pub(crate) struct Amounts {
    pub(crate) left: Vec<i64>,
    pub(crate) right: Vec<i64>,
    /// Fraction digits of both sides.
    pub(crate) scale: u8,
    pub(crate) tolerance: i64,
    pub(crate) percent: f64,
    /// [`rarity`] of each left amount, on the side that has more rows of it.
    rarity: Vec<u8>,
}

/// Text like text.
pub(crate) struct Like {
    pub(crate) left: Arc<Words>,
    pub(crate) right: Arc<Words>,
    pub(crate) method: LikeMethod,
    pub(crate) weight: Vec<f32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LikeMethod {
    Code,
    Name,
    Words,
}

impl Comparator {
    /// What each level means.
    pub(crate) fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Equal { .. } => &EQUAL,
            Self::Amount(_) => &AMOUNT,
            Self::Date { .. } => &DATE,
            Self::Contained(c) if c.code => &CODE_IN,
            Self::Contained(_) => &NAME_IN,
            Self::Like(like) => match like.method {
                LikeMethod::Code => &CODE_LIKE,
                LikeMethod::Name => &NAME_LIKE,
                LikeMethod::Words => &WORDS_LIKE,
            },
        }
    }

    /// Whether the comparison is about text, so that its agreement is evidence for a group of sums.
    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Contained(_) | Self::Like(_))
    }

    /// Whether it compares references, of which one that is found in full ties two rows.
    pub(crate) fn is_code(&self) -> bool {
        match self {
            Self::Contained(c) => c.code,
            Self::Like(like) => like.method == LikeMethod::Code,
            _ => false,
        }
    }

    /// The text that the comparison sees in a row, as a hash; 0 for amounts and dates.
    pub(crate) fn text_value(&self, side: Side, row: usize) -> u64 {
        match self {
            Self::Amount(_) | Self::Date { .. } => 0,
            Self::Equal { left, right } => if side == Side::Left { left } else { right }.value[row],
            Self::Contained(c) => if (side == Side::Left) == c.needle_left { &c.needle } else { &c.hay }.value[row],
            Self::Like(like) => if side == Side::Left { &like.left } else { &like.right }.value[row],
        }
    }

    /// The level of a pair.
    pub(crate) fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        match self {
            Self::Equal { left, right } => {
                if left.is_missing(l) || right.is_missing(r) {
                    0
                } else if left.value[l] != right.value[r] {
                    1
                } else {
                    2 + rarity(left.rows_of[l].max(right.rows_of[r]))
                }
            }
            Self::Amount(amounts) => amounts.level(l, r),
            Self::Date { left, right, before, after } => {
                if left[l] == NO_DATE || right[r] == NO_DATE {
                    return 0;
                }
                let days = right[r] - left[l];
                if days < -before || days > *after {
                    return 1;
                }
                let step = 4 - days.unsigned_abs().min(4) as u8;
                if days == 0 { 10 } else { 2 + 2 * step + u8::from(days > 0) }
            }
            Self::Contained(contained) => contained.level(l, r, lexicon),
            Self::Like(like) => like.level(l, r, lexicon),
        }
    }

    /// How good a level is before anything is learnt, 0 (different) to 1 (equal). Levels that only differ in the
    /// direction of the difference are as good as each other.
    pub(crate) fn rank(&self, level: usize) -> f64 {
        match self {
            Self::Amount(_) if level < 8 => (level / 2) as f64 * 0.12,
            Self::Date { .. } if level < 10 => (level / 2) as f64 * 0.2,
            _ => (level.saturating_sub(1)) as f64 / (self.names().len() as f64 - 2.0).max(1.0),
        }
    }

    /// Whether a level means that nothing tells the two values apart, however common they are.
    pub(crate) fn is_whole_agreement(&self, level: usize) -> bool {
        let least = match self {
            Self::Equal { .. } => 2,
            Self::Amount(_) => 9,
            Self::Date { .. } => 10,
            Self::Contained(c) if c.code => 7,
            Self::Contained(_) => 6,
            Self::Like(like) => match like.method {
                LikeMethod::Code => 5,
                LikeMethod::Name => 7,
                LikeMethod::Words => 9,
            },
        };
        level >= least
    }

    /// Whether a level means that the two values differ beyond what the rule allows.
    pub(crate) fn is_discrepancy(&self, level: u8) -> bool {
        match self {
            Self::Amount(_) => (1..=7).contains(&level),
            Self::Date { .. } | Self::Equal { .. } => level == 1,
            Self::Contained(_) | Self::Like(_) => false,
        }
    }
}

/// 2 for a value of few rows, 1 for some, 0 for many.
fn rarity(rows: u32) -> u8 {
    match rows {
        0..=3 => 2,
        4..=30 => 1,
        _ => 0,
    }
}

impl Amounts {
    /// Both sides at one scale.
    pub(crate) fn new(left: Vec<i64>, right: Vec<i64>, scale: u8, tolerance: i64, percent: f64) -> Self {
        let mut rows: FxHashMap<i64, u32> = FxHashMap::default();
        for side in [&left, &right] {
            let mut own: FxHashMap<i64, u32> = FxHashMap::default();
            side.iter().filter(|u| **u != NO_AMOUNT).for_each(|units| *own.entry(*units).or_default() += 1);
            for (units, count) in own {
                let most = rows.entry(units).or_default();
                *most = count.max(*most);
            }
        }
        let rarity = left.iter().map(|units| rarity(rows.get(units).copied().unwrap_or(0))).collect();
        Self { left, right, scale, tolerance, percent, rarity }
    }

    /// The amounts of one side.
    pub(crate) fn of(&self, side: Side) -> &[i64] {
        if side == Side::Left { &self.left } else { &self.right }
    }

    fn level(&self, l: usize, r: usize) -> u8 {
        let (a, b) = (self.left[l], self.right[r]);
        if a == NO_AMOUNT || b == NO_AMOUNT {
            return 0;
        }
        if a == b {
            return 9 + self.rarity[l];
        }
        let gap = i128::from(b).abs_diff(i128::from(a)) as f64;
        if gap <= self.tolerance as f64 || gap <= (a as f64).abs().max(1.0) * self.percent / 100.0 {
            return 8;
        }
        // A share of the larger one, so that the sides can be swapped.
        let lower = u8::from(b.unsigned_abs() < a.unsigned_abs());
        match gap / (a.unsigned_abs().max(b.unsigned_abs()) as f64) {
            share if share <= 0.02 => 6 + lower,
            share if share <= 0.10 => 4 + lower,
            share if share <= 0.30 => 2 + lower,
            _ => 1,
        }
    }
}

impl Like {
    fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        let (a, b) = (self.left.compact_bytes(l), self.right.compact_bytes(r));
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        let equal = self.left.value[l] == self.right.value[r];
        let rare = || rarity(self.left.rows_of[l].max(self.right.rows_of[r]));
        match self.method {
            LikeMethod::Code if equal => 5 + rare(),
            LikeMethod::Code => code_like(a, b),
            LikeMethod::Name if equal => 7 + rare(),
            LikeMethod::Name => self.name_like(l, r, lexicon),
            LikeMethod::Words if equal => 9,
            LikeMethod::Words => self.words_like(l, r, lexicon),
        }
    }

    fn name_like(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        let (a, b) = (self.left.compact_bytes(l), self.right.compact_bytes(r));
        let (left, right) = (self.left.words(l), self.right.words(r));
        let shared = self.shared(left, right, lexicon);
        if left.len() > 1 && right.len() > 1 && shared >= 0.99 {
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

    fn words_like(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        match self.shared(self.left.words(l), self.right.words(r), lexicon) {
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

    /// Weighted share of the words in common: cosine of the two weight vectors, near words counted when few.
    fn shared(&self, left: &[u32], right: &[u32], lexicon: &Lexicon) -> f32 {
        let square = |words: &[u32]| words.iter().map(|w| self.weight[*w as usize].powi(2)).sum::<f32>();
        let soft = left.len() <= 10 && right.len() <= 10;
        let mut both = 0.0;
        for word in left {
            let weight = self.weight[*word as usize];
            if right.contains(word) {
                both += weight * weight;
            } else if soft {
                let other = right.iter().find(|other| lexicon.near(*word, **other));
                both += other.map_or(0.0, |other| 0.8 * weight * self.weight[*other as usize].min(weight));
            }
        }
        both / (square(left) * square(right)).sqrt().max(f32::MIN_POSITIVE)
    }
}

fn code_like(a: &[u8], b: &[u8]) -> u8 {
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

/// How telling each word is: the bits of its rarity over both columns; little for a legal form.
pub(crate) fn word_weights(left: &Words, right: &Words, lexicon: &Lexicon) -> Vec<f32> {
    let rows = (left.value.len() + right.value.len()).max(1) as f32;
    let weight = |(word, (l, r)): (usize, (&u32, &u32))| {
        let bits = (rows / (l + r).max(1) as f32).log2().max(0.3);
        if text::is_legal_form(lexicon.word(word as u32)) { bits.min(0.3) } else { bits }
    };
    left.rows_with(lexicon).iter().zip(&right.rows_with(lexicon)).enumerate().map(weight).collect()
}
