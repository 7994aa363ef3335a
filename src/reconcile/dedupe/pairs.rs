//! Pairs of different rows of one file, with the weight of each.
//!
//! Easy to get wrong: the engine compares two sides, and here both are the same file. A pair is compared once, the row whose content
//! comes first on the left, so that the order of rows changes nothing; weights are learnt from both directions, and from no row
//! with itself.
use crate::candidates::{Settled, indexes};
use crate::control::{Control, Meter, Phase};
use crate::infer::adjust::disagreeing;
use crate::plan::Plan;
use crate::rules::RuleSet;
use crate::run::{RunError, step};
use crate::score::{ByContent, Pair, Scored, Weights, level, pattern, probability, score, train};
use crate::table::Table;
use rayon::prelude::*;

/// A table of different rows in the order of their content, compared with itself.
pub(super) struct Weighed {
    pub(super) plan: Plan,
    pub(super) weights: Weights,
    /// Patterns that have a weight of their own.
    patterns: Vec<u64>,
    /// Candidate pairs, lower row first: rows and bits.
    pub(super) pairs: Vec<(u32, u32, f64)>,
    pub(super) blocks_left_out: u64,
    pub(super) blocks_split: u64,
}

impl Weighed {
    pub(super) fn new(table: &Table, rules: &RuleSet, control: &dyn Control) -> Result<Self, RunError> {
        let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
        let mut plan = Plan::new(table, table, rules, &meter)?;
        let passes = std::mem::take(&mut plan.passes);
        let none = Settled::none((table.len(), table.len()));
        let (all, left_out) = indexes(&passes, &none, rules, &meter)?;
        let meter = Meter::start(control, Phase::Scoring, table.len() as u64, 0)?;
        let found = score(&plan, &all, &none, step(rules), &meter)?;
        drop(all);
        let (blocks_left_out, blocks_split) = (left_out.len() as u64, found.split);
        let once = once(&plan, &found);
        let scored = both_ways(&once);
        let meter = Meter::start(control, Phase::Training, 0, 0)?;
        let rows: Vec<u32> = (0..table.len() as u32).collect();
        let order = ByContent { left: &rows, right: &rows, left_first: true, same_file: true };
        let weights = train(&plan, &scored, rules, &order, &meter)?;
        let mut weighed =
            Self { plan, weights, patterns: scored.patterns, pairs: Vec::new(), blocks_left_out, blocks_split };
        weighed.pairs = once.par_iter().map(|(a, b, levels)| (*a, *b, weighed.bits(*levels))).collect();
        Ok(weighed)
    }

    fn bits(&self, levels: u64) -> f64 {
        match self.patterns.binary_search(&levels) {
            Ok(at) => self.weights.of_pattern[at],
            Err(_) => self.weights.of(levels),
        }
    }

    /// The levels of any two rows.
    pub(super) fn levels(&self, a: u32, b: u32) -> u64 {
        pattern(&self.plan, a.min(b) as usize, a.max(b) as usize)
    }

    /// Whether rows on these levels have the same code: an invoice number, an account.
    pub(super) fn share_a_reference(&self, levels: u64) -> bool {
        let mut comparators = self.plan.comparators.iter().enumerate();
        comparators.any(|(at, c)| c.kind().is_code() && c.levels()[level(levels, at)].is_whole_agreement)
    }

    /// That two rows on these levels are the same thing.
    pub(super) fn probability(&self, levels: u64) -> f64 {
        probability(self.bits(levels))
    }

    /// Comparisons that disagree in nearly every pair above one half.
    pub(super) fn useless(&self) -> Vec<usize> {
        let likely = self.pairs.iter().filter(|(_, _, bits)| *bits > 0.0);
        disagreeing(self.plan.comparators.len(), likely.map(|(a, b, _)| (self.levels(*a, *b), 1)))
    }
}

/// Each pair once, lower row first, with its levels in that direction; no row with itself.
fn once(plan: &Plan, found: &Scored) -> Vec<(u32, u32, u64)> {
    let turned = |pair: &Pair| {
        if pair.l < pair.r {
            (pair.l, pair.r, Some(found.patterns[pair.pattern as usize]))
        } else {
            (pair.r, pair.l, None)
        }
    };
    let mut pairs: Vec<(u32, u32, Option<u64>)> =
        found.pairs.par_iter().filter(|pair| pair.l != pair.r).map(turned).collect();
    // Of the two directions the one with its levels comes last, and is kept.
    pairs.par_sort_unstable();
    let last = |at: usize| pairs.get(at + 1).is_none_or(|next| (next.0, next.1) != (pairs[at].0, pairs[at].1));
    (0..pairs.len())
        .into_par_iter()
        .filter(|at| last(*at))
        .map(|at| {
            let (a, b, levels) = pairs[at];
            (a, b, levels.unwrap_or_else(|| pattern(plan, a as usize, b as usize)))
        })
        .collect()
}

/// The pairs in both directions, so that the rivals of a row are all on either side of it.
fn both_ways(once: &[(u32, u32, u64)]) -> Scored {
    let mut patterns: Vec<u64> = once.iter().map(|pair| pair.2).collect();
    patterns.par_sort_unstable();
    patterns.dedup();
    let number = |levels: u64| patterns.binary_search(&levels).expect("the patterns are those of the pairs") as u32;
    let mut pairs: Vec<Pair> = once
        .par_iter()
        .flat_map_iter(|(a, b, levels)| {
            let pattern = number(*levels);
            [Pair { l: *a, r: *b, pattern }, Pair { l: *b, r: *a, pattern }]
        })
        .collect();
    pairs.par_sort_unstable_by_key(|pair| (pair.l, pair.r));
    Scored { pairs, patterns, split: 0 }
}
