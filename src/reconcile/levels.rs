//! One comparison of one pair becomes a level: 0 missing, 1 disagreement, then better and better.
//!
//! Levels are what the model learns weights for, so two pairs on one level must mean the same. Agreement on a
//! rare value is a level of its own: it says more than agreement on a common one. Names of levels go into
//! explanations.
use super::features::{Lexicon, Words, segment};
use super::outcome::Side;
use super::table::{NO_AMOUNT, NO_DATE};
use super::text;
use rapidfuzz::distance::{jaro_winkler, osa};
use rustc_hash::FxHashMap;
use std::sync::Arc;

mod names;

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
    /// Rows that have an amount, on the side that has more of them.
    pub(crate) rows: FxHashMap<i64, u32>,
}

/// The shorter text sought in the longer one.
pub(crate) struct Contained {
    pub(crate) needle: Arc<Words>,
    pub(crate) hay: Arc<Words>,
    /// The needle is the left column.
    pub(crate) needle_left: bool,
    pub(crate) code: bool,
    pub(crate) weight: Vec<f32>,
    /// Per needle row: its rare segments, and where the first begins in its letters.
    pub(crate) cores: Vec<Core>,
}

/// The telling part of a reference: `001388` of `INV-2024-001388`.
#[derive(Default)]
pub(crate) struct Core {
    segments: Vec<u32>,
    start: u16,
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
                    2 + rarity(left.rows_of(left.value[l]).max(right.rows_of(right.value[r])))
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
            Self::Contained(contained) => {
                let (n, h) = if contained.needle_left { (l, r) } else { (r, l) };
                if contained.needle.is_missing(n) || contained.hay.is_missing(h) {
                    0
                } else if contained.code {
                    contained.code_level(n, h)
                } else {
                    contained.name_level(n, h, lexicon)
                }
            }
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
            return 9 + rarity(self.rows.get(&b).copied().unwrap_or(0));
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

impl Contained {
    /// Finds the telling segments of every needle: three characters or more, and on few rows of their column.
    pub(crate) fn find_cores(needle: &Words) -> Vec<Core> {
        let rows = needle.value.len();
        let mut rows_with: FxHashMap<u32, u32> = FxHashMap::default();
        for row in 0..rows {
            for segment in needle.segments(row) {
                *rows_with.entry(*segment).or_default() += 1;
            }
        }
        let rare = (rows as u32 / 2_000).max(3);
        let core = |row: usize| {
            let mut core = Core { segments: Vec::new(), start: u16::MAX };
            let letters = needle.compact(row);
            let mut at = 0_u16;
            // Runs of the whole letters, where neighbouring digit words have grown together, only give the offset;
            // the segments themselves come from the words.
            text::runs(letters, |run, digits| {
                let hash = segment(run, digits);
                if hash & 1 == 1 && rows_with.get(&hash).copied().unwrap_or(1) <= rare && core.start == u16::MAX {
                    core.start = at;
                }
                at = at.saturating_add(run.len() as u16);
            });
            core.segments =
                needle.segments(row).iter().copied().filter(|s| s & 1 == 1 && rows_with[s] <= rare).collect();
            core.start = core.start.min(letters.len() as u16);
            core
        };
        (0..rows).map(core).collect()
    }

    fn code_level(&self, n: usize, h: usize) -> u8 {
        let (needle, hay) = (self.needle.compact_bytes(n), self.hay.compact_bytes(h));
        let core = &self.cores[n];
        if needle.len() >= 3 && memchr::memmem::find(hay, needle).is_some() {
            return if self.needle.rows_of(self.needle.value[n]) <= 30 { 9 } else { 7 };
        }
        let segments = self.hay.segments(h);
        if !core.segments.is_empty() && core.segments.iter().all(|s| segments.binary_search(s).is_ok()) {
            return 8;
        }
        let distance = if needle.len() >= 5 { within(needle, hay) } else { u32::MAX };
        if distance == 1 {
            return 6;
        }
        // The end of the text often cuts a reference off.
        let cut = (3..needle.len()).rev().find(|k| hay.ends_with(&needle[..*k])).unwrap_or(0);
        if cut > 0 && cut >= usize::from(core.start) + 3 {
            return 5;
        }
        if distance == 2 && needle.len() >= 8 {
            return 4;
        }
        if cut > 0 && cut + 1 >= usize::from(core.start).min(4) {
            return 2;
        }
        if self.hay.has_code[h] { 1 } else { 3 }
    }

    fn name_level(&self, n: usize, h: usize, lexicon: &Lexicon) -> u8 {
        let (needle, hay) = (self.needle.words(n), self.hay.words(h));
        let (mut found, mut all) = (0.0_f32, 0.0_f32);
        for word in needle {
            let weight = self.weight[*word as usize];
            all += weight;
            if hay.contains(word) {
                found += weight;
            } else if hay.iter().any(|other| lexicon.near(*word, *other)) {
                found += weight * 0.85;
            }
        }
        match found / all.max(f32::MIN_POSITIVE) {
            c if c >= 0.97 && self.needle.rows_of(self.needle.value[n]) <= 30 => 7,
            c if c >= 0.97 => 6,
            c if c >= 0.82 => 5,
            c if c >= 0.62 => 4,
            c if c >= 0.40 => 3,
            c if c >= 0.18 => 2,
            _ => 1,
        }
    }
}

/// The smallest number of edits that makes `needle` a part of `hay` (Myers' bit-parallel scan); needles over 64
/// bytes are cut.
fn within(needle: &[u8], hay: &[u8]) -> u32 {
    let needle = &needle[..needle.len().min(64)];
    let mut peq = [0_u64; 128];
    for (at, byte) in needle.iter().enumerate() {
        peq[usize::from(byte & 127)] |= 1 << at;
    }
    let last = 1_u64 << (needle.len() - 1);
    let (mut pv, mut mv) = (u64::MAX, 0_u64);
    let mut score = needle.len() as u32;
    let mut best = score;
    for byte in hay {
        let eq = peq[usize::from(byte & 127)];
        let xv = eq | mv;
        let xh = (((eq & pv).wrapping_add(pv)) ^ pv) | eq;
        let mut ph = mv | !(xh | pv);
        let mut mh = pv & xh;
        if ph & last != 0 {
            score += 1;
        } else if mh & last != 0 {
            score -= 1;
        }
        ph <<= 1;
        mh <<= 1;
        pv = mh | !(xv | ph);
        mv = ph & xv;
        best = best.min(score);
    }
    best
}

impl Like {
    fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        let (a, b) = (self.left.compact_bytes(l), self.right.compact_bytes(r));
        if a.is_empty() || b.is_empty() {
            return 0;
        }
        let equal = self.left.value[l] == self.right.value[r];
        let rare = || rarity(self.left.rows_of(self.left.value[l]).max(self.right.rows_of(self.right.value[r])));
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
    left.rows_with.iter().zip(&right.rows_with).enumerate().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scan_finds_the_fewest_edits_anywhere_in_the_text() {
        assert_eq!(within(b"inv2024001388", b"achinv2024001388x"), 0);
        assert_eq!(within(b"po1234567", b"transferpo123x567"), 1);
        assert_eq!(within(b"po1234567", b"transferpo1243567"), 2);
        assert_eq!(within(b"abcdef", b""), 6);
    }
}
