//! Text columns cut once into numbered words, so that comparing a pair touches integers and short byte slices.
//!
//! One [`Lexicon`] numbers the words of both files; [`Words`] is one column of one file. Everything here is
//! linear in the file and built before any pair exists.
use super::table::Table;
use super::text;
use rustc_hash::FxHashMap;

/// Numbers words; the same word has the same number in every column of both files.
#[derive(Default)]
pub(crate) struct Lexicon {
    /// Numbers by the hash of their word, a power of two of places, at most three quarters of them taken; of a collision
    /// the next free place.
    places: Vec<Place>,
    letters: String,
    ends: Vec<u32>,
    /// Rules out most words without touching their letters.
    outlines: Vec<Outline>,
}

/// A place of the lexicon: a part of the word's hash, and one more than its number; 0 when it is free.
#[derive(Clone, Copy, Default)]
struct Place {
    hash: u32,
    next_number: u32,
}

impl Lexicon {
    fn number(&mut self, word: &str) -> u32 {
        if 4 * (self.ends.len() + 1) > 3 * self.places.len() {
            self.grow();
        }
        let (hash, last) = (text::hash(word) as u32, self.places.len() - 1);
        let mut at = hash as usize & last;
        loop {
            match self.places[at] {
                Place { next_number: 0, .. } => break,
                place if place.hash == hash && self.word(place.next_number - 1) == word => {
                    return place.next_number - 1;
                }
                _ => at = (at + 1) & last,
            }
        }
        let number = self.ends.len() as u32;
        self.letters.push_str(word);
        self.ends.push(self.letters.len() as u32);
        self.outlines.push(Outline::of(word.as_bytes()));
        self.places[at] = Place { hash, next_number: number + 1 };
        number
    }

    fn grow(&mut self) {
        let mut places = vec![Place::default(); (2 * self.places.len()).max(1 << 10)];
        let last = places.len() - 1;
        for place in self.places.iter().filter(|place| place.next_number > 0) {
            let mut at = place.hash as usize & last;
            while places[at].next_number > 0 {
                at = (at + 1) & last;
            }
            places[at] = *place;
        }
        self.places = places;
    }

    /// No word is added any more: gives back what only numbering needs.
    pub(crate) fn complete(&mut self) {
        self.places = Vec::new();
        self.letters.shrink_to_fit();
    }

    /// The word of a number.
    pub(crate) fn word(&self, number: u32) -> &str {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.letters[start..self.ends[at] as usize]
    }

    /// Whether one word is the beginning of the other, or one edit away from it.
    pub(crate) fn near(&self, a: u32, b: u32) -> bool {
        let (x, y) = (self.outlines[a as usize], self.outlines[b as usize]);
        x.may_be_near(y) && near(self.word(a).as_bytes(), self.word(b).as_bytes())
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }
}

/// A word in 64 bits: which letters and digits it has, its first one, its length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Outline(u64);

impl Outline {
    /// Bits for 10 digits, 26 letters and all other bytes.
    const LETTERS: u64 = (1 << 44) - 1;
    /// The longest length that is told exactly.
    const LONGEST: u64 = 255;

    fn of(word: &[u8]) -> Self {
        let number = |byte: u8| match byte {
            b'0'..=b'9' => u64::from(byte - b'0'),
            b'a'..=b'z' => u64::from(byte - b'a') + 10,
            _ => u64::from(byte & 7) + 36,
        };
        let letters = word.iter().fold(0, |letters, byte| letters | 1 << number(*byte));
        Self(letters | number(word[0]) << 44 | (word.len() as u64).min(Self::LONGEST) << 56)
    }

    /// Whether [`near`] may hold: never false when it does.
    fn may_be_near(self, other: Self) -> bool {
        let (short, long) = if self.0 >> 56 <= other.0 >> 56 { (self.0, other.0) } else { (other.0, self.0) };
        let (shorter, longer) = (short >> 56, long >> 56);
        if shorter < 3 || shorter == Self::LONGEST {
            return shorter == Self::LONGEST;
        }
        let begins = (short ^ long) >> 44 & 63 == 0 && short & !long & Self::LETTERS == 0;
        // One edit takes one letter away and brings one in, at most.
        let apart = (short ^ long) & Self::LETTERS;
        let but_one = apart & apart.wrapping_sub(1);
        begins || (shorter >= 4 && longer - shorter <= 1 && but_one & but_one.wrapping_sub(1) == 0)
    }
}

/// One text column: its words, its letters and digits, and how often values repeat.
pub(crate) struct Words {
    word_starts: Vec<u32>,
    words: Vec<u32>,
    compact: String,
    compact_ends: Vec<u32>,
    /// The value's number among the values of this column and its partner; equal values share it.
    pub(crate) value: Vec<u64>,
    /// Rows that have the value of each row; 0 of a row without one.
    pub(crate) rows_of: Vec<u32>,
    /// Runs of letters or digits of each word, digits without leading zeros, as hashes; sorted within a row.
    segment_starts: Vec<u32>,
    segments: Vec<u32>,
    /// A word with a digit and four characters or more.
    pub(crate) has_code: Vec<bool>,
}

impl Words {
    pub(crate) fn build(table: &Table, column: usize, lexicon: &mut Lexicon) -> Self {
        let rows = table.len();
        let mut out = Self {
            word_starts: Vec::with_capacity(rows + 1),
            words: Vec::new(),
            compact: String::new(),
            compact_ends: Vec::with_capacity(rows),
            value: Vec::with_capacity(rows),
            rows_of: Vec::new(),
            segment_starts: Vec::with_capacity(rows + 1),
            segments: Vec::new(),
            has_code: Vec::with_capacity(rows),
        };
        let mut value_rows: FxHashMap<u64, u32> = FxHashMap::default();
        out.word_starts.push(0);
        out.segment_starts.push(0);
        for row in 0..rows {
            let cell = table.cell(row, column);
            let cell = if super::csv_text::is_missing(cell) { "" } else { cell };
            let mut has_code = false;
            let start = out.segments.len();
            text::tokens(cell, |word| {
                out.words.push(lexicon.number(word));
                has_code |= word.len() >= 4 && word.bytes().any(|b| b.is_ascii_digit());
                text::runs(word, |run, digits| out.segments.push(segment(run, digits)));
            });
            out.segments[start..].sort_unstable();
            out.segment_starts.push(out.segments.len() as u32);
            out.word_starts.push(out.words.len() as u32);
            out.has_code.push(has_code);
            let from = out.compact.len();
            text::compact_into(cell, &mut out.compact);
            let value = text::hash(text::without_leading_zeros(&out.compact[from..]));
            out.compact_ends.push(out.compact.len() as u32);
            out.value.push(value);
            if out.compact.len() > from {
                *value_rows.entry(value).or_default() += 1;
            }
        }
        out.rows_of = out.value.iter().map(|value| value_rows.get(value).copied().unwrap_or(0)).collect();
        out
    }

    /// Rows that have a word, by word number.
    pub(crate) fn rows_with(&self, lexicon: &Lexicon) -> Vec<u32> {
        let mut rows_with = vec![0; lexicon.len()];
        for row in 0..self.value.len() {
            let words = self.words(row);
            for (at, word) in words.iter().enumerate() {
                rows_with[*word as usize] += u32::from(!words[..at].contains(word));
            }
        }
        rows_with
    }

    /// The words of a row, in order.
    pub(crate) fn words(&self, row: usize) -> &[u32] {
        &self.words[self.word_starts[row] as usize..self.word_starts[row + 1] as usize]
    }

    /// The letters and digits of a row.
    pub(crate) fn compact(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.compact_ends[row - 1] as usize };
        &self.compact[start..self.compact_ends[row] as usize]
    }

    /// The segments of a row, sorted.
    pub(crate) fn segments(&self, row: usize) -> &[u32] {
        &self.segments[self.segment_starts[row] as usize..self.segment_starts[row + 1] as usize]
    }

    /// The same as bytes: no look at where characters begin.
    pub(crate) fn compact_bytes(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.compact_ends[row - 1] as usize };
        &self.compact.as_bytes()[start..self.compact_ends[row] as usize]
    }

    pub(crate) fn is_missing(&self, row: usize) -> bool {
        self.compact_ends[row] == if row == 0 { 0 } else { self.compact_ends[row - 1] }
    }

    /// Pairs of rows of both columns that have the same value.
    pub(crate) fn pairs_of_values(&self, other: &Self) -> u64 {
        let firsts = (0..other.value.len()).filter(|row| other.rows_of[*row] > 0);
        let rows_of: FxHashMap<u64, u32> = firsts.map(|row| (other.value[row], other.rows_of[row])).collect();
        let filled = (0..self.value.len()).filter(|row| self.rows_of[*row] > 0);
        filled.filter_map(|row| rows_of.get(&self.value[row])).map(|rows| u64::from(*rows)).sum()
    }

    /// Mean words of a value that is not missing.
    pub(crate) fn mean_words(&self) -> f64 {
        let filled = (0..self.value.len()).filter(|row| !self.is_missing(*row)).count();
        self.words.len() as f64 / filled.max(1) as f64
    }

    /// Share of the values that are mostly digits or one word with digits.
    pub(crate) fn code_share(&self) -> f64 {
        let (mut codes, mut filled) = (0_usize, 0_usize);
        for row in 0..self.value.len() {
            let letters = self.compact(row);
            if letters.is_empty() {
                continue;
            }
            filled += 1;
            let digits = letters.bytes().filter(|b| b.is_ascii_digit()).count();
            codes += usize::from(2 * digits >= letters.len() || (digits > 0 && self.words(row).len() == 1));
        }
        codes as f64 / filled.max(1) as f64
    }
}

/// The hash of a run; digits lose their leading zeros. Its last bit says whether the run is long enough to tell.
pub(crate) fn segment(run: &str, digits: bool) -> u32 {
    let long = run.len() >= 3;
    let run = if digits { run.trim_start_matches('0') } else { run };
    ((text::hash(run) >> 32) as u32 & !1) | u32::from(long && run.len() >= 2)
}

fn near(a: &[u8], b: &[u8]) -> bool {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if long.starts_with(short) {
        return true;
    }
    if short.len() < 4 || long.len() - short.len() > 1 {
        return false;
    }
    // One edit: what is left between the common beginning and the common end is one letter, or two swapped.
    let head = short.iter().zip(long).take_while(|(x, y)| x == y).count();
    let room = short.len() - head;
    let tail = short.iter().rev().zip(long.iter().rev()).take(room).take_while(|(x, y)| x == y).count();
    let (from_short, from_long) = (&short[head..short.len() - tail], &long[head..long.len() - tail]);
    match (from_short, from_long) {
        ([], [_]) | ([_], [_]) => true,
        ([a, b], [c, d]) => a == d && b == c,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn outlines_never_rule_out_a_near_word(a in "[ab0é]{1,6}", b in "[ab0é]{1,6}", more in 0_usize..2) {
            let (a, b) = (a.repeat(1 + 60 * more), b.repeat(1 + 60 * more));
            for b in [&b, &format!("{a}{b}")] {
                let (x, y) = (Outline::of(a.as_bytes()), Outline::of(b.as_bytes()));
                let near = a.len().min(b.len()) >= 3 && near(a.as_bytes(), b.as_bytes());
                proptest::prop_assert!(!near || (x.may_be_near(y) && y.may_be_near(x)));
            }
        }
    }

    #[test]
    fn near_words_are_cut_off_or_one_edit_away() {
        for (a, b) in [
            ("lighting", "light"),
            ("bakery", "bakesy"),
            ("bakery", "bakry"),
            ("bakery", "abkery"),
            ("bakery", "bakeery"),
        ] {
            assert!(near(a.as_bytes(), b.as_bytes()) && near(b.as_bytes(), a.as_bytes()), "{a} {b}");
        }
        for (a, b) in [("bakery", "backers"), ("abc", "abd"), ("steel", "stone")] {
            assert!(!near(a.as_bytes(), b.as_bytes()), "{a} {b}");
        }
    }
}
