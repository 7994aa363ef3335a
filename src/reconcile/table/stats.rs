//! Counts of one column while its values go by, in bounded memory, and what they say about its type.
//!
//! Different values are counted exactly up to a bound and estimated above it from those with the smallest hashes: a
//! sample by content, which no order of rows changes. Easy to get wrong: sketches of two files must be comparable, so
//! both sides hash the same normalised text.
use super::recent::Recent;
use super::{ColumnProfile, ColumnType};
use crate::amount::{self, DecimalStyle};
use crate::date::{self, DateStyle, DateTally};
use crate::formats::{ReadOptions, is_missing};
use crate::reading::NameHint;
use crate::reading::digits as scripts;
use crate::reading::options::DateOrder;
use crate::text;
use rustc_hash::FxHashSet;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Hashes kept per sketch: containment is then known to about 3 %.
const SKETCH: usize = 512;
/// Hashes kept to count different values.
const DISTINCT: usize = 1 << 16;
const SAMPLES: usize = 5;

/// Bottom-k sketches of a column.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Sketches {
    values: Vec<u32>,
    tokens: Vec<u32>,
    distinct_tokens: u64,
}

impl Sketches {
    /// The sketch of both columns together.
    pub(crate) fn merged(&self, other: &Self) -> Self {
        let both = |a: &[u32], b: &[u32]| {
            let mut all = [a, b].concat();
            all.sort_unstable();
            all.dedup();
            all.truncate(SKETCH);
            all
        };
        Self {
            values: both(&self.values, &other.values),
            tokens: both(&self.tokens, &other.tokens),
            distinct_tokens: self.distinct_tokens + other.distinct_tokens,
        }
    }
}

/// Different hashes: all of them, or those below a threshold that halves whenever there are too many.
#[derive(Default)]
struct Distinct {
    hashes: FxHashSet<u64>,
    halvings: u32,
}

impl Distinct {
    /// Whether hashes like this one are counted still.
    fn looks_at(&self, hash: u64) -> bool {
        self.halvings == 0 || hash >> (64 - self.halvings) == 0
    }

    /// Whether the hash is new, as far as it is looked at.
    fn insert(&mut self, hash: u64) -> bool {
        if !self.looks_at(hash) {
            return true;
        }
        let new = self.hashes.insert(hash);
        while self.hashes.len() > DISTINCT {
            self.halvings += 1;
            let shift = 64 - self.halvings;
            self.hashes.retain(|hash| hash >> shift == 0);
        }
        new
    }

    fn count(&self) -> u64 {
        (self.hashes.len() as u64) << self.halvings
    }
}

/// Statistics of one column.
#[derive(Default)]
pub(crate) struct ColumnStats {
    non_empty: u64,
    repeated: bool,
    distinct: Distinct,
    tokens: Distinct,
    token_count: u64,
    samples: Vec<String>,
    with_digit: u64,
    one_word: u64,
    fractional: u64,
    amounts: AmountTally,
    dates: DateTally,
    /// Smallest and largest year of dates that are eight digits.
    years: Option<(u16, u16)>,
    /// Values with more digits than letters: amounts, dates, or something meant to be one.
    figures: u64,
    values: Recent<Value>,
    /// Words between blanks, with the number of tokens of each.
    words: Recent<u32>,
    /// Used again for each value.
    compact: String,
}

/// How many values each decimal style reads.
#[derive(Clone, Copy, Default)]
struct AmountTally {
    reads: u64,
    only_point: u64,
    only_comma: u64,
    differ: u64,
}

/// What one value is, apart from its hash.
#[derive(Clone, Copy, Default)]
struct Traits {
    tokens: u32,
    one_word: bool,
    with_digit: bool,
    fractional: bool,
    figures: bool,
    /// As `amount::fits` says.
    amounts: u8,
    /// As `date::fits` says.
    dates: u16,
    /// Of a date that is eight digits.
    year: Option<u16>,
}

impl Traits {
    /// Everything but the tokens.
    fn of(cell: &str) -> Self {
        let (mut digits, mut letters, mut blanks, mut high) = (0_usize, 0_usize, 0_usize, 0_u8);
        for byte in cell.bytes() {
            digits += usize::from(byte.is_ascii_digit());
            letters += usize::from(byte.is_ascii_alphabetic());
            blanks += usize::from(byte == b' ');
            high |= byte;
        }
        let mut traits = Self { one_word: blanks == 0, with_digit: digits > 0, ..Self::default() };
        if high >= 128 {
            // Digits of other scripts are digits, too.
            if let Cow::Owned(western) = scripts::western(cell) {
                return Self::of(&western);
            }
        }
        if digits == 0 {
            return traits;
        }
        traits.fractional = cell.bytes().rev().take(3).any(|b| b == b'.' || b == b',');
        if high >= 128 {
            letters = cell.chars().filter(|c| c.is_alphabetic()).count();
        }
        // Long or wordy text is neither, and trying every style on it would cost the most.
        if letters > 24 || cell.len() > 64 {
            return traits;
        }
        traits.figures = digits >= letters;
        // A currency and a side (`US$ 1.00 Dr`) have few letters; a date has at least three digits.
        traits.amounts = if letters <= 9 { amount::fits(cell) } else { 0 };
        traits.dates = if digits >= 3 { date::fits(cell) } else { 0 };
        traits.year = (traits.dates != 0 && cell.len() == 8 && digits == 8).then(|| cell[..4].parse().unwrap_or(0));
        traits
    }
}

/// A value with its traits and hash.
#[derive(Clone, Copy, Default)]
struct Value {
    traits: Traits,
    hash: u64,
}

impl ColumnStats {
    /// Counts one trimmed value.
    pub(crate) fn see(&mut self, cell: &str) {
        if is_missing(cell) {
            return;
        }
        self.non_empty += 1;
        let Self { values, words, tokens, compact, distinct, .. } = self;
        let (Value { traits, hash }, known) = values.get(cell, |cell| {
            compact.clear();
            text::compact_into(cell, compact);
            Value {
                traits: Traits { tokens: count_tokens(cell, words, tokens), ..Traits::of(cell) },
                hash: text::hash(compact),
            }
        });
        if known && distinct.looks_at(hash) {
            self.repeated = true;
        } else if distinct.insert(hash) {
            if self.samples.len() < SAMPLES {
                let sample: String = cell.chars().take(120).collect();
                if !self.samples.contains(&sample) {
                    self.samples.push(sample);
                }
            }
        } else {
            self.repeated = true;
        }
        self.token_count += u64::from(traits.tokens);
        self.one_word += u64::from(traits.one_word);
        self.with_digit += u64::from(traits.with_digit);
        self.fractional += u64::from(traits.fractional);
        self.figures += u64::from(traits.figures);
        self.amounts.reads += u64::from(traits.amounts != 0);
        self.amounts.only_point += u64::from(traits.amounts == 1);
        self.amounts.only_comma += u64::from(traits.amounts == 2);
        self.amounts.differ += u64::from(traits.amounts & 4 != 0);
        self.dates.see(traits.dates);
        if let Some(year) = traits.year {
            let (low, high) = self.years.unwrap_or((year, year));
            self.years = Some((low.min(year), high.max(year)));
        }
    }

    /// Decides type and style.
    pub(crate) fn finish(self, name: String, rows: u64, options: &ReadOptions) -> ColumnProfile {
        let hint = NameHint::of(&name);
        let kind = match options.types.get(&name) {
            Some(kind) if self.holds(*kind, options) => *kind,
            _ => self.infer(hint, options),
        };
        let (date, readable) = self.date_style(options);
        let decimal = self.decimal_style(options);
        let is_amount = matches!(kind, ColumnType::Money | ColumnType::Number);
        let is_date = kind == ColumnType::Date;
        let format = if is_date {
            date.describe()
        } else if is_amount {
            decimal.describe()
        } else {
            ""
        };
        let unread = match kind {
            ColumnType::Date => self.non_empty - readable,
            ColumnType::Money | ColumnType::Number => self.non_empty - self.amounts.reads,
            _ => self.unread(hint),
        };
        ColumnProfile {
            name,
            kind,
            format: format.to_owned(),
            unique: !self.repeated && self.non_empty == rows && rows > 0,
            non_empty: self.non_empty,
            distinct: self.distinct.count().min(self.non_empty),
            tokens: self.token_count as f32 / self.non_empty.max(1) as f32,
            decimal: is_amount.then_some(decimal),
            decimal_open: is_amount && options.reading.decimal.is_none() && self.decimal_open(),
            date: is_date.then_some(date),
            date_rivals: if is_date && options.reading.date.is_none() { self.dates.rivals(date) } else { Vec::new() },
            role: None,
            signed_by: None,
            flipped: false,
            minor_digits: None,
            unread,
            sketch: Sketches {
                values: bottom(&self.distinct.hashes),
                distinct_tokens: self.tokens.count(),
                tokens: bottom(&self.tokens.hashes),
            },
            samples: self.samples,
        }
    }

    /// Whether most values are of a type that was asked for; when not, the mistake is reported once as a wrong rule
    /// and not once for every row.
    fn holds(&self, kind: ColumnType, options: &ReadOptions) -> bool {
        match kind {
            ColumnType::Money | ColumnType::Number => self.amounts.reads * 2 >= self.non_empty,
            ColumnType::Date => self.date_style(options).1 * 2 >= self.non_empty,
            ColumnType::Text | ColumnType::Code => true,
        }
    }

    fn decimal_style(&self, options: &ReadOptions) -> DecimalStyle {
        match options.reading.decimal.as_deref() {
            Some(",") => DecimalStyle::Comma,
            Some(_) => DecimalStyle::Point,
            None if self.amounts.only_comma > self.amounts.only_point => DecimalStyle::Comma,
            None => DecimalStyle::Point,
        }
    }

    fn decimal_open(&self) -> bool {
        self.amounts.only_comma == self.amounts.only_point && self.amounts.differ > 0
    }

    /// The style of dates, and how many values it reads.
    fn date_style(&self, options: &ReadOptions) -> (DateStyle, u64) {
        let (best, fits) = self.dates.best();
        let wanted = options.reading.date.map(|order| match (order, best) {
            (DateOrder::Dmy, DateStyle::Compact | DateStyle::CompactMonthFirst) => DateStyle::CompactDayFirst,
            (DateOrder::Mdy, DateStyle::Compact | DateStyle::CompactDayFirst) => DateStyle::CompactMonthFirst,
            (DateOrder::Ymd, DateStyle::CompactDayFirst | DateStyle::CompactMonthFirst) => DateStyle::Compact,
            (order, DateStyle::DayMonthYear | DateStyle::MonthDayYear | DateStyle::ShortYearFirst) => order.style(),
            _ => best,
        });
        match wanted.filter(|wanted| *wanted != best) {
            Some(wanted) => (wanted, self.dates.readable(wanted)),
            None => (best, fits as u64),
        }
    }

    /// The rules of thumb: a share of 0.98 must parse, or 0.5 when the name promises the type too.
    fn infer(&self, name: NameHint, options: &ReadOptions) -> ColumnType {
        if self.non_empty == 0 {
            return ColumnType::Text;
        }
        let share = |count: u64| count as f64 / self.non_empty as f64;
        let (style, dates) = self.date_style(options);
        if share(dates) >= self.date_bar(style, name) && !name.person {
            return ColumnType::Date;
        }
        let (numbers, fractional) = (share(self.amounts.reads), share(self.fractional));
        // "Out of account", "Into account" with cents: what went out and came in, and no numbers of accounts.
        let code = name.code && !((name.debit || name.credit) && fractional >= 0.2);
        if name.money && !code && numbers >= 0.5 {
            return ColumnType::Money;
        }
        if numbers >= 0.98 && fractional >= 0.3 && !code {
            return if fractional >= 0.95 { ColumnType::Money } else { ColumnType::Number };
        }
        let words = share(self.token_count);
        let code = share(self.with_digit) >= 0.6 && words <= 4.0 && share(self.one_word) >= 0.7;
        if code { ColumnType::Code } else { ColumnType::Text }
    }

    /// The share of values that must be dates. Digits alone are dates only when the name says so, or when every one
    /// is and they lie within a few years: an identifier with a typing mistake must not cost its row.
    fn date_bar(&self, style: DateStyle, name: NameHint) -> f64 {
        match style {
            style if style.is_compact() && name.date => 0.98,
            DateStyle::Compact if !name.code && !name.money && self.non_empty >= 5 => {
                let near = self.years.is_some_and(|(low, high)| low >= 1990 && high <= 2100 && high - low <= 5);
                if near { 1.0 } else { 2.0 }
            }
            DateStyle::Serial | DateStyle::Epoch | DateStyle::EpochMillis if name.date && !name.money => 0.98,
            style if style.is_number() => 2.0,
            _ if name.date => 0.5,
            _ => 0.9,
        }
    }

    /// Values of a text column that look like figures though they could not be read as such.
    fn unread(&self, name: NameHint) -> u64 {
        let (share, half) = (self.non_empty / 2, |count: u64| count * 2 >= self.non_empty && count > 0);
        let meant = (name.money || name.date) && !name.code && half(self.figures);
        let mixed = self.amounts.reads > share && self.fractional > share && !name.code;
        if meant || mixed { self.non_empty - if mixed && !meant { self.amounts.reads } else { 0 } } else { 0 }
    }
}

/// The number of tokens of a value, whose hashes are counted unless its word was seen just now: no token goes beyond
/// a word.
fn count_tokens(cell: &str, words: &mut Recent<u32>, tokens: &mut Distinct) -> u32 {
    let mut of = |word: &str| {
        let mut count = 0;
        text::tokens(word, |token| {
            count += 1;
            tokens.insert(text::hash(token));
        });
        count
    };
    let mut count = 0;
    for word in cell.split_whitespace() {
        count += words.get(word, &mut of).0;
    }
    count
}

fn bottom(hashes: &FxHashSet<u64>) -> Vec<u32> {
    let mut all: Vec<u32> = hashes.iter().map(|h| (h >> 32) as u32).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(SKETCH);
    all
}

/// The estimated share of the different values (and of the different tokens) of `a` that `b` has too.
pub(crate) fn overlap(a: &ColumnProfile, b: &ColumnProfile) -> (f64, f64) {
    let values = contained(&a.sketch.values, a.distinct, &b.sketch.values, b.distinct);
    let tokens = contained(&a.sketch.tokens, a.sketch.distinct_tokens, &b.sketch.tokens, b.sketch.distinct_tokens);
    (values, tokens)
}

/// Bottom-k estimate of |A ∩ B| / |A| (Beyer et al., 2007).
fn contained(a: &[u32], size_a: u64, b: &[u32], size_b: u64) -> f64 {
    if a.is_empty() || b.is_empty() {
        return 0.0;
    }
    let (mut i, mut j, mut union, mut both) = (0, 0, 0_u32, 0_u32);
    while (union as usize) < SKETCH && (i < a.len() || j < b.len()) {
        let next = match (a.get(i), b.get(j)) {
            (Some(x), Some(y)) => x.min(y),
            (Some(x), None) => x,
            (None, Some(y)) => y,
            (None, None) => break,
        };
        let (in_a, in_b) = (a.get(i) == Some(next), b.get(j) == Some(next));
        i += usize::from(in_a);
        j += usize::from(in_b);
        both += u32::from(in_a && in_b);
        union += 1;
    }
    let jaccard = f64::from(both) / f64::from(union.max(1));
    let intersection = jaccard * (size_a + size_b) as f64 / (1.0 + jaccard);
    (intersection / size_a.max(1) as f64).min(1.0)
}
