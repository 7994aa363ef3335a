//! What a run would do, without doing it: how many pairs it would compare.
use super::RunError;
use crate::candidates::{NONE, Settled, indexes};
use crate::control::{Control, Meter, Phase};
use crate::plan::Plan;
use crate::rules::RuleSet;
use crate::table::Table;
use rayon::prelude::*;

/// Left rows whose candidates are counted; of larger files the rest is taken to be like them.
const COUNTED_ROWS: usize = 2_000;

/// The work of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Estimate {
    /// Pairs that would be compared.
    pub pairs: u64,
    /// Whether `pairs` was counted in full, not estimated from a part of the left rows.
    pub is_exact: bool,
}

/// Counts the candidate pairs of a run by these rules, or estimates them from the left rows that a sample by content
/// gives. Refuses what [`run`](crate::run()) would refuse.
///
/// # Errors
/// See [`RunError`].
pub fn estimate(left: &Table, right: &Table, rules: &RuleSet, control: &dyn Control) -> Result<Estimate, RunError> {
    rules.validate()?;
    let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
    let mut plan = Plan::new(left, right, rules, &meter)?;
    let passes = std::mem::take(&mut plan.passes);
    let settled = Settled::by(&plan, rules, (left.len(), right.len()), &meter)?;
    let (indexes, _) = indexes(&passes, &settled, rules, &meter)?;
    let rank = left.content_order(&left.content_hashes());
    let rows: Vec<usize> = (0..left.len()).filter(|row| (rank[*row] as usize) < COUNTED_ROWS).collect();
    let count = |row: &usize| {
        if settled.left[*row] != NONE {
            return 1;
        }
        let (mut keys, mut scratch, mut candidates) = (Vec::new(), Vec::new(), Vec::new());
        for index in &indexes {
            index.candidates(*row, &mut keys, &mut scratch, &mut candidates);
        }
        candidates.sort_unstable();
        candidates.dedup();
        candidates.len() as u64
    };
    let counted: u64 = rows.par_iter().map(count).sum();
    let is_exact = rows.len() == left.len();
    let scale = left.len() as f64 / rows.len().max(1) as f64;
    let pairs = if is_exact { counted } else { (counted as f64 * scale).round() as u64 };
    Ok(Estimate { pairs, is_exact })
}
