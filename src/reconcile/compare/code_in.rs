//! A reference sought in a description.
//!
//! Most pairs have nothing in common, so what two texts are made of is looked at first, in a few bits of each. Easy to get
//! wrong: those bits may only rule out what a full look would rule out.
use super::equal::LEAST_LETTERS;
use super::words::segment;
use super::{Kind, Level, Lexicon, Sought, Words};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use crate::text;
use rayon::prelude::*;
use rustc_hash::FxHashMap;

const LEVELS: &[Level] = &[
    Level::MISSING,
    Level::new("another reference", 0.0),
    Level::new("cut off early", 1.0 / 8.0),
    Level::new("no reference", 2.0 / 8.0),
    Level::new("two characters differ", 3.0 / 8.0),
    Level::new("cut off", 4.0 / 8.0),
    Level::new("one character differs", 5.0 / 8.0),
    Level::whole("found (common value)", 6.0 / 8.0),
    Level::whole("found, written differently", 7.0 / 8.0),
    Level::whole("found", 1.0),
];

/// References and the texts they are sought in.
pub(crate) struct CodeIn {
    pub(crate) sought: Sought,
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
    fn find(needle: &Words, meter: &Meter<'_>) -> Result<Self, Cancelled> {
        let rows = needle.value.len();
        let mut rows_with: FxHashMap<u32, u32> = FxHashMap::default();
        for row in 0..rows {
            meter.check_at(row)?;
            for segment in needle.segments(row) {
                *rows_with.entry(*segment).or_default() += 1;
            }
        }
        let rare = (rows as u32 / 2_000).max(3);
        let mut cores = Self { starts: vec![0], ..Self::default() };
        for row in 0..rows {
            meter.check_at(row)?;
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
        Ok(cores)
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

impl CodeIn {
    /// # Errors
    /// The run was cancelled.
    pub(crate) fn new(sought: Sought, meter: &Meter<'_>) -> Result<Self, Cancelled> {
        let (needle, hay) = (&sought.needle, &sought.hay);
        let cores = Cores::find(needle, meter)?;
        let of_needle = |row: usize| {
            let letters = needle.compact_bytes(row);
            Marks::of(&letters[..letters.len().min(Marks::BYTES)], cores.segments(row).iter())
        };
        let of_hay = |row: usize| Marks::of(hay.compact_bytes(row), hay.segments(row).iter());
        let needle_marks = (0..needle.value.len()).into_par_iter().map(of_needle).collect();
        let hay_marks = (0..hay.value.len()).into_par_iter().map(of_hay).collect();
        Ok(Self { cores, needle_marks, hay_marks, sought })
    }
}

impl Kind for CodeIn {
    fn levels(&self) -> &'static [Level] {
        LEVELS
    }

    fn level(&self, l: usize, r: usize, _: &Lexicon) -> u8 {
        let Some((n, h)) = self.sought.rows(l, r) else { return 0 };
        let (needle_marks, hay_marks) = (&self.needle_marks[n], &self.hay_marks[h]);
        let missing = needle_marks.missing(hay_marks);
        let (needle, hay) = (self.sought.needle.compact_bytes(n), self.sought.hay.compact_bytes(h));
        if missing == 0 && needle.len() >= 3 && memchr::memmem::find(hay, needle).is_some() {
            return if self.sought.needle.rows_of[n] <= 30 { 9 } else { 7 };
        }
        let core = self.cores.segments(n);
        if !core.is_empty() && needle_marks.may_hold_segments(hay_marks) {
            let segments = self.sought.hay.segments(h);
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
        if self.sought.hay.has_code[h] { 1 } else { 3 }
    }

    fn words(&self, side: Side) -> Option<&Words> {
        Some(self.sought.of(side))
    }

    fn is_text(&self) -> bool {
        true
    }

    fn is_code(&self) -> bool {
        true
    }

    /// References found in full in one text; every text in which one is found is given, so that the caller sees when
    /// there are more.
    fn ties(&self, meter: &Meter<'_>) -> Result<Vec<(u32, u32)>, Cancelled> {
        let (needle, hay) = (&self.sought.needle, &self.sought.hay);
        // Telling segments that one reference has and no other.
        let mut owner: FxHashMap<u32, Option<u32>> = FxHashMap::default();
        for row in (0..needle.value.len()).filter(|row| needle.compact(*row).len() >= LEAST_LETTERS) {
            meter.check_at(row)?;
            let own = Some(row as u32);
            for segment in needle.segments(row).iter().filter(|segment| **segment & 1 == 1) {
                let owner = owner.entry(*segment).or_insert(own);
                *owner = own.filter(|_| *owner == own);
            }
        }
        let find = |h: usize| -> Result<Vec<(u32, u32)>, Cancelled> {
            meter.check_at(h)?;
            let letters = hay.compact_bytes(h);
            let owners = hay.segments(h).iter().filter_map(|segment| owner.get(segment).copied().flatten());
            let mut found: Vec<u32> = owners.collect();
            found.sort_unstable();
            found.dedup();
            let whole = |n: &u32| memchr::memmem::find(letters, needle.compact_bytes(*n as usize)).is_some();
            Ok(found.into_iter().filter(whole).map(|n| (n, h as u32)).collect())
        };
        let parts: Result<Vec<_>, _> = (0..hay.value.len()).into_par_iter().with_min_len(4096).map(find).collect();
        let swap = |(n, h): (u32, u32)| if self.sought.needle_left { (n, h) } else { (h, n) };
        let alone = |(n, _): &(u32, u32)| needle.rows_of[*n as usize] == 1;
        Ok(parts?.into_iter().flatten().filter(alone).map(swap).collect())
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
