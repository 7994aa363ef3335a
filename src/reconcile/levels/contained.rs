//! The shorter text sought in the longer one: a reference or a name in a description.
//!
//! Most pairs have nothing in common, so what two texts are made of is looked at first, in a few bits of each. Easy to get
//! wrong: those bits may only rule out what a full look would rule out.
use crate::features::{Lexicon, Words, segment};
use crate::text;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// A comparison by containment, made ready.
pub(crate) struct Contained {
    pub(crate) needle: Arc<Words>,
    pub(crate) hay: Arc<Words>,
    /// The needle is the left column.
    pub(crate) needle_left: bool,
    /// The needle is a reference and no name.
    pub(crate) code: bool,
    weight: Vec<f32>,
    cores: Cores,
    needle_marks: Vec<Marks>,
    hay_marks: Vec<Marks>,
}

/// The telling part of each reference: `001388` of `INV-2024-001388`.
#[derive(Default)]
struct Cores {
    /// Where the rare segments of each row begin.
    starts: Vec<u32>,
    segments: Vec<u32>,
    /// Where the first of them begins in the letters of the row.
    offsets: Vec<u16>,
}

impl Cores {
    /// Finds the telling segments of every needle: three characters or more, and on few rows of their column.
    fn find(needle: &Words) -> Self {
        let rows = needle.value.len();
        let mut rows_with: FxHashMap<u32, u32> = FxHashMap::default();
        for row in 0..rows {
            for segment in needle.segments(row) {
                *rows_with.entry(*segment).or_default() += 1;
            }
        }
        let rare = (rows as u32 / 2_000).max(3);
        let mut cores = Self { starts: vec![0], ..Self::default() };
        for row in 0..rows {
            let letters = needle.compact(row);
            let (mut start, mut at) = (u16::MAX, 0_u16);
            // Runs of the whole letters, where neighbouring digit words have grown together, only give the offset;
            // the segments themselves come from the words.
            text::runs(letters, |run, digits| {
                let hash = segment(run, digits);
                if hash & 1 == 1 && start == u16::MAX && rows_with.get(&hash).copied().unwrap_or(1) <= rare {
                    start = at;
                }
                at = at.saturating_add(run.len() as u16);
            });
            let segments = needle.segments(row).iter().copied();
            cores.segments.extend(segments.filter(|segment| segment & 1 == 1 && rows_with[segment] <= rare));
            cores.starts.push(cores.segments.len() as u32);
            cores.offsets.push(start.min(letters.len() as u16));
        }
        cores
    }

    fn segments(&self, row: usize) -> &[u32] {
        &self.segments[self.starts[row] as usize..self.starts[row + 1] as usize]
    }
}

/// Which neighbouring letters a text has, and which segments: two digits have a bit of their own, other neighbours share
/// some, and so do segments.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Marks([u64; 4]);

impl Marks {
    const OF_DIGITS: usize = 100;
    const OF_NEIGHBOURS: usize = 224;
    /// Bytes of a needle that are looked at, as many as [`within`] does.
    const BYTES: usize = 64;

    fn of<'a>(letters: &[u8], segments: impl Iterator<Item = &'a u32>) -> Self {
        let mut marks = Self::default();
        for two in letters.windows(2) {
            // The scan for edits does not see the highest bit.
            let (a, b) = (usize::from(two[0] & 127), usize::from(two[1] & 127));
            let place = match (a.wrapping_sub(usize::from(b'0')), b.wrapping_sub(usize::from(b'0'))) {
                (a, b) if a < 10 && b < 10 => 10 * a + b,
                _ => Self::OF_DIGITS + (37 * a + b) % (Self::OF_NEIGHBOURS - Self::OF_DIGITS),
            };
            marks.0[place / 64] |= 1 << (place % 64);
        }
        for segment in segments {
            marks.0[3] |= 1 << (32 + (segment >> 1 & 31));
        }
        marks
    }

    /// Neighbours that `hay` does not have; an edit costs at most two of them.
    fn missing(&self, hay: &Self) -> u32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| self.0[at] & !hay.0[at]);
        a.count_ones() + b.count_ones() + c.count_ones() + (d as u32).count_ones()
    }

    /// Whether `hay` may have all segments.
    fn may_hold_segments(&self, hay: &Self) -> bool {
        (self.0[3] & !hay.0[3]) >> 32 == 0
    }
}

impl Contained {
    /// `weight` is how telling each word is.
    pub(crate) fn new(needle: Arc<Words>, hay: Arc<Words>, needle_left: bool, code: bool, weight: Vec<f32>) -> Self {
        let mut contained = Self {
            needle,
            hay,
            needle_left,
            code,
            weight,
            cores: Cores::default(),
            needle_marks: Vec::new(),
            hay_marks: Vec::new(),
        };
        if code {
            let (needle, hay) = (&contained.needle, &contained.hay);
            let cores = Cores::find(needle);
            let of_needle = |row: usize| {
                let letters = needle.compact_bytes(row);
                Marks::of(&letters[..letters.len().min(Marks::BYTES)], cores.segments(row).iter())
            };
            let of_hay = |row: usize| Marks::of(hay.compact_bytes(row), hay.segments(row).iter());
            contained.needle_marks = (0..needle.value.len()).map(of_needle).collect();
            contained.hay_marks = (0..hay.value.len()).map(of_hay).collect();
            contained.cores = cores;
        }
        contained
    }

    /// The level of a pair.
    pub(super) fn level(&self, l: usize, r: usize, lexicon: &Lexicon) -> u8 {
        let (n, h) = if self.needle_left { (l, r) } else { (r, l) };
        if self.needle.is_missing(n) || self.hay.is_missing(h) {
            0
        } else if self.code {
            self.code_level(n, h)
        } else {
            self.name_level(n, h, lexicon)
        }
    }

    fn code_level(&self, n: usize, h: usize) -> u8 {
        let (needle_marks, hay_marks) = (&self.needle_marks[n], &self.hay_marks[h]);
        let missing = needle_marks.missing(hay_marks);
        let (needle, hay) = (self.needle.compact_bytes(n), self.hay.compact_bytes(h));
        if missing == 0 && needle.len() >= 3 && memchr::memmem::find(hay, needle).is_some() {
            return if self.needle.rows_of[n] <= 30 { 9 } else { 7 };
        }
        let core = self.cores.segments(n);
        if !core.is_empty() && needle_marks.may_hold_segments(hay_marks) {
            let segments = self.hay.segments(h);
            if core.iter().all(|segment| segments.binary_search(segment).is_ok()) {
                return 8;
            }
        }
        let distance = if needle.len() >= 5 && missing <= 4 { within(needle, hay) } else { u32::MAX };
        if distance == 1 {
            return 6;
        }
        // The end of the text often cuts a reference off.
        let start = usize::from(self.cores.offsets[n]);
        let cut = cut(needle, hay);
        if cut > 0 && cut >= start + 3 {
            return 5;
        }
        if distance == 2 && needle.len() >= 8 {
            return 4;
        }
        if cut > 0 && cut + 1 >= start.min(4) {
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
            c if c >= 0.97 && self.needle.rows_of[n] <= 30 => 7,
            c if c >= 0.97 => 6,
            c if c >= 0.82 => 5,
            c if c >= 0.62 => 4,
            c if c >= 0.40 => 3,
            c if c >= 0.18 => 2,
            _ => 1,
        }
    }
}

/// How much of the beginning of `needle`, three bytes or more but not all, the end of `hay` is.
fn cut(needle: &[u8], hay: &[u8]) -> usize {
    let Some(last) = hay.last() else { return 0 };
    let ends = |k: &usize| needle[*k - 1] == *last && hay.ends_with(&needle[..*k]);
    (3..needle.len()).rev().find(ends).unwrap_or(0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_scan_finds_the_fewest_edits_anywhere_in_the_text() {
        assert_eq!(within(b"inv2024001388", b"achinv2024001388x"), 0);
        assert_eq!(within(b"po1234567", b"transferpo123x567"), 1);
        assert_eq!(within(b"po1234567", b"transferpo1243567"), 2);
        assert_eq!(within(b"abcdef", b""), 6);
    }

    #[test]
    fn the_longest_beginning_at_the_end_of_the_text_is_found() {
        assert_eq!(cut(b"inv2024001", b"paymentinv2024"), 7);
        assert_eq!(cut(b"aaaaaa", b"xaaaa"), 4);
        assert_eq!(cut(b"inv", b"paymentinv"), 0);
        assert_eq!(cut(b"inv2024", b""), 0);
    }

    proptest! {
        #[test]
        fn marks_never_rule_out_what_a_full_look_finds(needle in "[0-3aé]{2,12}", edited in "[0-3aé]{0,12}", around in "[0-3aé]{0,4}") {
            for hay in [format!("{around}{needle}{edited}"), format!("{around}{edited}{needle}"), edited] {
                let [n, h] = [needle.as_bytes(), hay.as_bytes()].map(|letters| Marks::of(letters, [].iter()));
                let missing = n.missing(&h);
                prop_assert!(missing == 0 || !hay.contains(&needle));
                prop_assert!(missing <= 2 * within(needle.as_bytes(), hay.as_bytes()));
            }
        }
    }
}
