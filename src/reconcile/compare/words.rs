//! Text columns cut once into numbered words, so that comparing a pair touches integers and short byte slices.
//!
//! One [`Lexicon`] numbers the words of both files; [`Words`] is one column of one file. Everything here is
//! linear in the file and built before any pair exists.
use super::Lexicon;
use crate::control::{Cancelled, Meter};
use crate::formats::is_missing;
use crate::table::Table;
use crate::text;
use rustc_hash::FxHashMap;

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
    pub(crate) fn build(
        table: &Table,
        column: usize,
        lexicon: &mut Lexicon,
        meter: &Meter<'_>,
    ) -> Result<Self, Cancelled> {
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
            meter.check_at(row)?;
            let cell = table.cell(row, column);
            let cell = if is_missing(cell) { "" } else { cell };
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
        Ok(out)
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
