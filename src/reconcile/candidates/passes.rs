//! Candidate pairs without comparing everything with everything.
//!
//! Each [`Pass`] is a hash join on the keys of a row, with the right rows of a key sorted by day so that a window is
//! a range. A row takes at most `cap` candidates from a pass: rarest keys first, and of a key that alone is too large
//! the rows around its own rank, so that many equal rows still meet their partners. That a block was split is
//! counted, never silent.
use crate::compare::{Amounts, Words};
use crate::control::{Cancelled, Meter};
use crate::outcome::Side;
use crate::table::{NO_AMOUNT, NO_DATE};
use crate::text;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What of a row is a key; each holds the left and the right column.
#[derive(Clone)]
pub(crate) enum KeySource {
    Amount {
        left: Arc<Vec<i64>>,
        right: Arc<Vec<i64>>,
        tolerance: i64,
        percent: f64,
    },
    Value(Arc<Words>, Arc<Words>),
    Token(Arc<Words>, Arc<Words>),
    Pair(Arc<Words>, Arc<Words>),
    Code(Arc<Words>, Arc<Words>),
    Prefix(Arc<Words>, Arc<Words>),
    Day(Arc<Vec<i32>>, Arc<Vec<i32>>),
    /// One key for every row: all pairs are candidates.
    Everything,
}

/// Dates near enough.
pub(crate) struct Window {
    pub(crate) left: Vec<i32>,
    pub(crate) right: Vec<i32>,
    pub(crate) before: i32,
    pub(crate) after: i32,
}

/// One source of candidates: rows that share a combination of keys.
#[derive(Clone)]
pub(crate) struct Pass {
    pub(crate) keys: Vec<KeySource>,
    pub(crate) window: Option<Arc<Window>>,
    /// Most candidates a row takes; 0 means the rule set's bound.
    pub(crate) cap: usize,
}

impl Pass {
    pub(crate) fn new(keys: Vec<KeySource>, window: Option<Arc<Window>>) -> Self {
        Self { keys, window, cap: 0 }
    }

    /// The combined keys of a row.
    fn keys_of(&self, side: Side, row: usize, out: &mut Vec<u64>, scratch: &mut Vec<u64>) {
        out.clear();
        out.push(0);
        for (salt, source) in self.keys.iter().enumerate() {
            scratch.clear();
            source.keys_of(side, row, scratch);
            let before = out.len();
            for at in 0..before {
                for key in scratch.iter() {
                    out.push(text::combine(out[at], key.wrapping_add(salt as u64)));
                }
            }
            out.drain(..before);
        }
        out.sort_unstable();
        out.dedup();
    }

    /// Keys of single words: a row takes its rarest ones up to the cap, so common words cost nothing.
    pub(crate) fn is_selective(&self) -> bool {
        !self.is_whole_value()
    }

    /// Whether the pass is a cross product when its pairs are too many: equal amounts are worth splitting, but a
    /// handful of texts that all rows share tell nothing.
    pub(crate) fn is_refusable(&self) -> bool {
        self.keys.iter().all(|key| matches!(key, KeySource::Value(..)))
    }

    /// Pairs of a pass of one whole value, whatever rows take part; `None` for another pass, of which an index tells.
    pub(crate) fn pairs_of_values(&self) -> Option<u64> {
        let (None, [KeySource::Value(left, right)]) = (&self.window, self.keys.as_slice()) else { return None };
        Some(left.pairs_of_values(right))
    }

    /// Whether rows that share its keys agree in something that tells rows apart: an amount near the day, a reference, a
    /// whole value.
    pub(crate) fn is_telling(&self) -> bool {
        let telling = |key: &KeySource| match key {
            KeySource::Amount { .. } => self.window.is_some(),
            KeySource::Value(..) | KeySource::Code(..) => true,
            _ => false,
        };
        matches!(self.keys.as_slice(), [key] if telling(key))
    }

    fn is_whole_value(&self) -> bool {
        let whole =
            |key: &KeySource| matches!(key, KeySource::Amount { .. } | KeySource::Value(..) | KeySource::Day(..));
        self.keys.iter().all(whole)
    }
}

impl KeySource {
    pub(crate) fn amount(amounts: &Amounts) -> Self {
        Self::Amount {
            left: Arc::new(amounts.left.clone()),
            right: Arc::new(amounts.right.clone()),
            tolerance: amounts.tolerance,
            percent: amounts.percent,
        }
    }

    fn keys_of(&self, side: Side, row: usize, out: &mut Vec<u64>) {
        let words = |l, r| -> &Words { if side == Side::Left { l } else { r } };
        match self {
            Self::Amount { left, right, tolerance, percent } => {
                let units = if side == Side::Left { left[row] } else { right[row] };
                if units != NO_AMOUNT {
                    amount_keys(units, *tolerance, *percent, side == Side::Left, out);
                }
            }
            Self::Value(l, r) => {
                let column = words(l, r);
                if !column.is_missing(row) {
                    out.push(column.value[row]);
                }
            }
            Self::Token(l, r) => out.extend(words(l, r).words(row).iter().map(|word| text::mix(u64::from(*word)))),
            Self::Pair(l, r) => out.extend(
                words(l, r).words(row).windows(2).map(|two| text::combine(u64::from(two[0]), u64::from(two[1]))),
            ),
            Self::Code(l, r) => {
                let column = words(l, r);
                let letters = column.compact(row);
                if letters.len() >= 3 {
                    out.push(column.value[row]);
                }
                out.extend(column.segments(row).iter().filter(|s| **s & 1 == 1).map(|s| text::mix(u64::from(*s))));
            }
            Self::Day(l, r) => {
                let day = if side == Side::Left { l[row] } else { r[row] };
                if day != NO_DATE {
                    out.push(text::mix(day as u64));
                }
            }
            Self::Everything => out.push(0),
            Self::Prefix(l, r) => {
                let letters = words(l, r).compact(row);
                if let Some((end, _)) = letters.char_indices().nth(3) {
                    out.push(text::hash(&letters[..end]));
                }
            }
        }
    }
}

/// Right rows give the bucket they are in, left rows every bucket an equal amount can be in.
fn amount_keys(units: i64, tolerance: i64, percent: f64, all: bool, out: &mut Vec<u64>) {
    let push = |bucket: i64, space: u64, out: &mut Vec<u64>| out.push(text::combine(bucket as u64, space));
    if tolerance == 0 {
        push(units, 1, out);
    } else {
        let bucket = |u: i64| u.div_euclid(tolerance);
        if all {
            for b in bucket(units.saturating_sub(tolerance))..=bucket(units.saturating_add(tolerance)) {
                push(b, 1, out);
            }
        } else {
            push(bucket(units), 1, out);
        }
    }
    if percent > 0.0 && units != 0 {
        // Equal steps of the logarithm: amounts within `percent` are at most one step apart, two for rounding.
        let step = ((units as f64).abs().ln() / (1.0 + percent / 100.0).ln()).floor() as i64;
        let sign = 2 + u64::from(units < 0);
        let reach = if all { 2 } else { 0 };
        for b in step - reach..=step + reach {
            push(b, sign, out);
        }
    }
}

/// The rows of a side that take part in blocking.
pub(crate) struct Rows<'a> {
    pub(crate) count: usize,
    /// Whether a row takes part.
    pub(crate) take: &'a (dyn Fn(usize) -> bool + Sync),
}

impl Rows<'_> {
    fn takes(&self, row: usize) -> bool {
        (self.take)(row)
    }
}

/// The right rows of a pass by key.
pub(crate) struct Index<'a> {
    pass: &'a Pass,
    ranges: FxHashMap<u64, (u32, u32)>,
    days: Vec<i32>,
    rows: Vec<u32>,
    /// Left rows by key, sorted by day, for keys that are too large alone.
    ranks: FxHashMap<u64, Vec<(i32, u32)>>,
    cap: usize,
}

impl<'a> Index<'a> {
    /// Builds the index of a pass over the rows that take part.
    ///
    /// # Errors
    /// The run was cancelled.
    pub(crate) fn build(
        pass: &'a Pass,
        left: &Rows<'_>,
        right: &Rows<'_>,
        max_block_rows: usize,
        meter: &Meter<'_>,
    ) -> Result<Self, Cancelled> {
        let mut entries = entries_where(pass, Side::Right, right, |_| true, meter)?;
        entries.par_sort_unstable();
        meter.check()?;
        let mut ranges = FxHashMap::default();
        let mut start = 0;
        for group in entries.chunk_by(|a, b| a.0 == b.0) {
            meter.check_at(ranges.len())?;
            ranges.insert(group[0].0, (start as u32, (start + group.len()) as u32));
            start += group.len();
        }
        let cap = if pass.cap == 0 { max_block_rows } else { pass.cap };
        let mut ranks: FxHashMap<u64, Vec<(i32, u32)>> = FxHashMap::default();
        if pass.is_whole_value() {
            let large: rustc_hash::FxHashSet<u64> =
                ranges.iter().filter(|(_, (a, b))| (b - a) as usize > cap).map(|(key, _)| *key).collect();
            if !large.is_empty() {
                let mut left = entries_where(pass, Side::Left, left, |key| large.contains(&key), meter)?;
                left.par_sort_unstable();
                for group in left.chunk_by(|a, b| a.0 == b.0) {
                    ranks.insert(group[0].0, group.iter().map(|entry| (entry.1, entry.2)).collect());
                }
            }
        }
        let days = if pass.window.is_some() { entries.iter().map(|e| e.1).collect() } else { Vec::new() };
        Ok(Self { pass, ranges, days, rows: entries.into_iter().map(|e| e.2).collect(), ranks, cap })
    }

    /// As [`Pass::is_selective`].
    pub(crate) fn is_selective(&self) -> bool {
        self.pass.is_selective()
    }

    fn range(&self, key: u64, row: usize) -> (u32, u32) {
        let Some((start, end)) = self.ranges.get(&key).copied() else { return (0, 0) };
        let Some(window) = &self.pass.window else { return (start, end) };
        let day = window.left[row];
        if day == NO_DATE {
            return (start, end);
        }
        let days = &self.days[start as usize..end as usize];
        let from = days.partition_point(|d| *d < day - window.before && *d != NO_DATE);
        let to = days.partition_point(|d| *d <= day + window.after);
        // Rows without a date sort first and are left out of a window; other passes find them.
        let undated = days.partition_point(|d| *d == NO_DATE);
        (start + from.max(undated) as u32, start + to.max(from.max(undated)) as u32)
    }

    /// Pairs the pass would give without a cap.
    pub(crate) fn estimate(&self, left: &Rows<'_>) -> u64 {
        (0..left.count)
            .into_par_iter()
            .with_min_len(1024)
            .filter(|row| left.takes(*row))
            .map_init(
                || (Vec::new(), Vec::new()),
                |(keys, scratch), row| {
                    self.pass.keys_of(Side::Left, row, keys, scratch);
                    keys.iter().map(|key| self.range(*key, row)).map(|(a, b)| u64::from(b - a)).sum::<u64>()
                },
            )
            .sum()
    }

    /// Appends the candidates of a left row; true when its block was split, or all its words were too common.
    pub(crate) fn candidates(
        &self,
        row: usize,
        keys: &mut Vec<u64>,
        scratch: &mut Vec<u64>,
        out: &mut Vec<u32>,
    ) -> bool {
        self.pass.keys_of(Side::Left, row, keys, scratch);
        let mut ranges: smallvec::SmallVec<[(u32, u32, u64); 16]> = keys
            .iter()
            .map(|key| {
                let (start, end) = self.range(*key, row);
                (end - start, start, *key)
            })
            .filter(|(size, _, _)| *size > 0)
            .collect();
        ranges.sort_unstable();
        let mut taken = 0;
        for (size, start, key) in ranges {
            let size = size as usize;
            if taken + size <= self.cap {
                out.extend_from_slice(&self.rows[start as usize..start as usize + size]);
                taken += size;
                continue;
            }
            if self.pass.is_whole_value() {
                self.around_rank(row, key, (start as usize, size), out);
                return true;
            }
            // Common words are passed over when a rarer one was taken; a row that has none counts as split.
            return taken == 0;
        }
        false
    }

    /// Of a range that is too large, the rows around the place the left row has among its own.
    fn around_rank(&self, row: usize, key: u64, (start, size): (usize, usize), out: &mut Vec<u32>) {
        let Some(peers) = self.ranks.get(&key) else { return };
        let day = self.pass.window.as_ref().map_or(0, |w| w.left[row]);
        let Ok(rank) = peers.binary_search(&(day, row as u32)) else { return };
        let (all_start, all_end) = self.ranges[&key];
        let all = (all_end - all_start) as usize;
        // The same place among all rows of the key, moved into the window.
        let place = (all_start as usize + rank * all / peers.len()).clamp(start, start + size - 1);
        let take = self.cap.min(64).min(size);
        let from = place.saturating_sub(take / 2).max(start).min(start + size - take);
        out.extend_from_slice(&self.rows[from..from + take]);
    }
}

/// Key, day and row, of every key of every row.
type Entries = Vec<(u64, i32, u32)>;

fn entries_where(
    pass: &Pass,
    side: Side,
    rows: &Rows<'_>,
    keep: impl Fn(u64) -> bool + Sync,
    meter: &Meter<'_>,
) -> Result<Entries, Cancelled> {
    let chunks = rows.count.div_ceil(4096);
    let parts: Result<Vec<Entries>, Cancelled> = (0..chunks)
        .into_par_iter()
        .map(|chunk| {
            meter.check()?;
            let (mut keys, mut scratch, mut out) = (Vec::new(), Vec::new(), Vec::new());
            for row in (chunk * 4096..rows.count.min((chunk + 1) * 4096)).filter(|row| rows.takes(*row)) {
                let day =
                    pass.window.as_ref().map_or(0, |w| if side == Side::Left { w.left[row] } else { w.right[row] });
                pass.keys_of(side, row, &mut keys, &mut scratch);
                out.extend(keys.iter().filter(|key| keep(**key)).map(|key| (*key, day, row as u32)));
            }
            Ok(out)
        })
        .collect();
    Ok(parts?.concat())
}
