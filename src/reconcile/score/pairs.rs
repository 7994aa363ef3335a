//! Candidate pairs and their patterns of levels.
//!
//! A pair is two row numbers and the number of its pattern; patterns repeat so much that the model and the
//! explanations work on a few hundred of them. Pairs come out sorted by left row, then right row, whatever the
//! threads did.
use super::parts::{LEAST_ROWS, in_parts};
use crate::candidates::{Index, NONE, Settled};
use crate::control::{Cancelled, Meter};
use crate::plan::Plan;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::ops::Range;

/// A candidate pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    pub(crate) l: u32,
    pub(crate) r: u32,
    /// Position in [`Scored::patterns`].
    pub(crate) pattern: u32,
}

/// All candidate pairs.
pub(crate) struct Scored {
    pub(crate) pairs: Vec<Pair>,
    /// Levels packed four bits each, the first comparison lowest; sorted.
    pub(crate) patterns: Vec<u64>,
    /// Left rows that had a block split.
    pub(crate) split: u64,
}

/// The level of comparison `at` in a pattern.
pub(crate) fn level(pattern: u64, at: usize) -> usize {
    (pattern >> (4 * at) & 15) as usize
}

/// What a thread hands back: left row, right row, pattern; and rows that had a block split.
pub(super) type Compared = (Vec<(u32, u32, u64)>, u64);

/// Rows a thread takes at a time: small enough that a cancellation is seen within a few milliseconds.
const CHUNK: usize = 128;

/// Compares the candidates of every left row; `step` is the number of this comparing where parts of it are kept.
pub(crate) fn score(
    plan: &Plan,
    indexes: &[Index<'_>],
    settled: &Settled,
    step: u64,
    meter: &Meter<'_>,
) -> Result<Scored, Cancelled> {
    let left_rows = settled.left.len();
    let work = |rows: Range<usize>| -> Result<Compared, Cancelled> {
        let (mut keys, mut scratch, mut candidates, mut out, mut split) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), 0);
        let count = rows.len() as u64;
        for row in rows {
            if settled.left[row] != NONE {
                out.push((row as u32, settled.left[row], pattern(plan, row, settled.left[row] as usize)));
                continue;
            }
            candidates.clear();
            let (mut cut, mut unseen) = (false, false);
            for index in indexes {
                let short = index.candidates(row, &mut keys, &mut scratch, &mut candidates);
                cut |= short && !index.is_selective();
                unseen |= short;
            }
            // Common words that are passed over matter only to a row that nothing else found candidates for.
            split += u64::from(cut || (unseen && candidates.is_empty()));
            candidates.sort_unstable();
            candidates.dedup();
            for r in &candidates {
                out.push((row as u32, *r, pattern(plan, row, *r as usize)));
            }
        }
        meter.add(count, 0)?;
        Ok((out, split))
    };
    let chunks = |rows: Range<usize>| -> Result<Vec<Compared>, Cancelled> {
        let chunk = |at: usize| rows.start + at * CHUNK..rows.end.min(rows.start + (at + 1) * CHUNK);
        (0..rows.len().div_ceil(CHUNK)).into_par_iter().map(|at| work(chunk(at))).collect()
    };
    let parts = match meter.parts().filter(|_| left_rows >= LEAST_ROWS) {
        None => chunks(0..left_rows)?,
        Some(parts) => {
            let joined = |rows: Range<usize>| {
                let chunks = chunks(rows)?;
                let split = chunks.iter().map(|(_, split)| split).sum();
                Ok((chunks.into_iter().flat_map(|(pairs, _)| pairs).collect(), split))
            };
            in_parts(parts, step, (left_rows, settled.right.len()), meter, joined)?
        }
    };
    let mut seen: FxHashSet<u64> = FxHashSet::default();
    for (part, _) in &parts {
        meter.check()?;
        seen.extend(part.iter().map(|(_, _, pattern)| *pattern));
    }
    let mut patterns: Vec<u64> = seen.into_iter().collect();
    patterns.sort_unstable();
    let number: FxHashMap<u64, u32> = patterns.iter().enumerate().map(|(at, p)| (*p, at as u32)).collect();
    let total = parts.iter().map(|(part, _)| part.len()).sum();
    let mut pairs = Vec::with_capacity(total);
    let split = parts.iter().map(|(_, split)| split).sum();
    for (part, _) in parts {
        meter.check()?;
        pairs.extend(part.into_iter().map(|(l, r, pattern)| Pair { l, r, pattern: number[&pattern] }));
    }
    Ok(Scored { pairs, patterns, split })
}

impl Scored {
    /// The pattern of a candidate; `None` of another pair.
    pub(crate) fn pattern_of(&self, l: u32, r: u32) -> Option<u64> {
        let at = self.pairs.binary_search_by_key(&(l, r), |pair| (pair.l, pair.r)).ok()?;
        Some(self.patterns[self.pairs[at].pattern as usize])
    }

    /// Adds pairs that are not there yet, sorted as those that are; gives for each pattern the position it had before, if it had one.
    ///
    /// # Errors
    /// The run was cancelled.
    pub(crate) fn extend(
        &mut self,
        more: &[(u32, u32, u64)],
        meter: &Meter<'_>,
    ) -> Result<Vec<Option<usize>>, Cancelled> {
        let mut patterns = self.patterns.clone();
        patterns.extend(more.iter().map(|(_, _, pattern)| *pattern));
        patterns.sort_unstable();
        patterns.dedup();
        let place = |pattern: &u64| patterns.partition_point(|p| p < pattern) as u32;
        let moved: Vec<u32> = self.patterns.iter().map(place).collect();
        self.pairs.iter_mut().for_each(|pair| pair.pattern = moved[pair.pattern as usize]);
        self.merge(more.iter().map(|(l, r, pattern)| Pair { l: *l, r: *r, pattern: place(pattern) }), meter)?;
        let old = patterns.iter().map(|pattern| self.patterns.binary_search(pattern).ok()).collect();
        self.patterns = patterns;
        meter.check()?;
        Ok(old)
    }

    /// Merges from the end, so that the pairs are held once.
    fn merge(
        &mut self,
        more: impl DoubleEndedIterator<Item = Pair> + ExactSizeIterator,
        meter: &Meter<'_>,
    ) -> Result<(), Cancelled> {
        let mut read = self.pairs.len();
        let mut write = read + more.len();
        self.pairs.reserve_exact(more.len());
        self.pairs.resize(write, Pair { l: 0, r: 0, pattern: 0 });
        for new in more.rev() {
            while read > 0 && (self.pairs[read - 1].l, self.pairs[read - 1].r) > (new.l, new.r) {
                (read, write) = (read - 1, write - 1);
                meter.check_at(write)?;
                self.pairs[write] = self.pairs[read];
            }
            write -= 1;
            self.pairs[write] = new;
        }
        Ok(())
    }
}

/// The pattern of any pair, candidate or not.
pub(crate) fn pattern(plan: &Plan, l: usize, r: usize) -> u64 {
    let levels = plan.comparators.iter().enumerate();
    levels.fold(0, |pattern, (at, comparator)| pattern | u64::from(comparator.level(l, r, &plan.lexicon)) << (4 * at))
}
