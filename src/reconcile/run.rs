//! The pipeline: plan, candidates, scores, weights, assignment, sums, states. Each step is its own file; this one
//! puts them in order.
use super::assign::{Edge, assign};
use super::blocking::Index;
use super::classify::Found;
use super::control::{Cancelled, Control, Meter, Phase};
use super::levels::Comparator;
use super::model::{Weights, train};
use super::outcome::{Outcome, Side};
use super::plan::Plan;
use super::rules::{RuleError, RuleSet};
use super::score::{Scored, level, score};
use super::sums::{Group, Loose, search};
use super::table::Table;

/// Why a run gave no outcome.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RunError {
    /// The rules do not fit the files.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The rules leave (nearly) every row a candidate of every other.
    #[error("rules: {path}: would compare about {pairs} pairs, nearly every row with every other; {hint}")]
    CrossProduct {
        /// Where in the rules.
        path: String,
        /// Estimated pairs.
        pairs: u64,
        /// What to change.
        hint: String,
    },
    /// The [`Control`] said stop.
    #[error("cancelled")]
    Cancelled,
}

impl From<Cancelled> for RunError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// Weight resolution of the assignment: a thousandth of a bit.
const RESOLUTION: f64 = 1000.0;
/// Below this many pairs nothing is refused: it is done before anyone notices.
const ALWAYS_ALLOWED: u64 = 2_000_000;

/// Reconciles two tables.
///
/// The outcome is the same at any number of threads. CPU work runs on the current rayon pool.
///
/// # Errors
/// See [`RunError`].
pub fn run(left: &Table, right: &Table, rules: &RuleSet, control: &dyn Control) -> Result<Outcome, RunError> {
    rules.validate()?;
    let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
    let mut plan = Plan::new(left, right, rules)?;
    meter.add(0, 0)?;
    let passes = std::mem::take(&mut plan.passes);
    let (indexes, blocks_left_out) = indexes(&passes, left, right, rules, &meter)?;

    let meter = Meter::start(control, Phase::Scoring, left.len() as u64, 0)?;
    let scored = score(&plan, &indexes, left.len(), &meter)?;
    drop(indexes);
    drop(passes);

    let meter = Meter::start(control, Phase::Training, 0, 0)?;
    let levels: Vec<usize> = plan.comparators.iter().map(|c| c.names().len()).collect();
    let weights = train(&plan, &scored, rules, &levels, (left.len(), right.len()), &meter)?;

    let (left_content, right_content) = (left.content_hashes(), right.content_hashes());
    let (left_order, right_order) = (left.content_order(&left_content), right.content_order(&right_content));
    let edges = edges(&scored, &weights, rules);
    let meter = Meter::start(control, Phase::Assigning, edges.len() as u64, 0)?;
    let pairs = assign(&edges, &left_order, &right_order, &meter)?;
    drop(edges);

    let meter = Meter::start(control, Phase::Summing, 0, pairs.len() as u64)?;
    let (pairs, groups, sum_searches_cut) = sums(&plan, &scored, &weights, pairs, rules, (left, right), &meter)?;

    Meter::start(control, Phase::Classifying, 0, (pairs.len() + groups.len()) as u64)?;
    let found = Found {
        left,
        right,
        rules,
        plan: &plan,
        scored: &scored,
        weights: &weights,
        pairs,
        groups,
        sum_searches_cut,
        blocks_left_out,
        left_content: &left_content,
        right_content: &right_content,
    };
    Ok(found.outcome())
}

/// Builds the index of every pass, and refuses passes that amount to a cross product. A derived pass that is too
/// large is left out when another remains; one that the rules ask for is an error.
fn indexes<'a>(
    passes: &'a [super::blocking::Pass],
    left: &Table,
    right: &Table,
    rules: &RuleSet,
    meter: &Meter<'_>,
) -> Result<(Vec<Index<'a>>, u64), RunError> {
    let allowed = u64::from(rules.limits.max_pairs_per_row) * (left.len() + right.len()) as u64;
    let allowed = allowed.max(ALWAYS_ALLOWED);
    let mut kept = Vec::new();
    let mut refused: Option<(u64, String)> = None;
    for (at, pass) in passes.iter().enumerate() {
        let index = Index::build(pass, left.len(), right.len(), rules.limits.max_block_rows as usize);
        meter.add(1, 0)?;
        let pairs = index.estimate(left.len());
        meter.add(0, 0)?;
        if pairs <= allowed || !pass.is_refusable() {
            kept.push(index);
        } else if refused.as_ref().is_none_or(|(least, _)| pairs < *least) {
            refused = Some((pairs, format!("block[{at}]")));
        }
    }
    let everything = left.len() as u64 * right.len() as u64;
    let hint = "block on a column with more different values, add a key, or narrow the window".to_owned();
    match refused {
        Some((pairs, path)) if !rules.block.is_empty() => Err(RunError::CrossProduct { path, pairs, hint }),
        Some((pairs, _)) if kept.is_empty() => Err(RunError::CrossProduct { path: "compare".into(), pairs, hint }),
        None if kept.is_empty() && everything > 0 => {
            Err(RunError::CrossProduct { path: "compare".into(), pairs: everything, hint })
        }
        _ => {
            let left_out = (passes.len() - kept.len()) as u64;
            Ok((kept, left_out))
        }
    }
}

/// Candidates above the floor, with what each gains over staying single.
fn edges(scored: &Scored, weights: &Weights, rules: &RuleSet) -> Vec<Edge> {
    let floor = (rules.assign.floor.max(1e-6) / (1.0 - rules.assign.floor)).log2();
    let gain: Vec<i64> = weights.of_pattern.iter().map(|bits| ((bits - floor) * RESOLUTION).round() as i64).collect();
    let edge = |pair: &super::score::Pair| Edge { l: pair.l, r: pair.r, gain: gain[pair.pattern as usize] };
    scored.pairs.iter().map(edge).filter(|edge| edge.gain > 0).collect()
}

/// Looks for groups among rows without a partner or with one of another amount; a group takes its rows from such
/// pairs.
fn sums(
    plan: &Plan,
    scored: &Scored,
    weights: &Weights,
    mut pairs: Vec<Edge>,
    rules: &RuleSet,
    (left, right): (&Table, &Table),
    meter: &Meter<'_>,
) -> Result<(Vec<Edge>, Vec<Group>, u64), Cancelled> {
    let Some(amount) = plan.amount.filter(|_| rules.sums.enabled) else { return Ok((pairs, Vec::new(), 0)) };
    let Comparator::Amount(_) = &plan.comparators[amount] else { return Ok((pairs, Vec::new(), 0)) };
    let mut loose = Loose { left: vec![true; left.len()], right: vec![true; right.len()] };
    for pair in &pairs {
        let levels = super::score::pattern(plan, pair.l as usize, pair.r as usize);
        if !plan.comparators[amount].is_discrepancy(level(levels, amount) as u8) {
            loose.left[pair.l as usize] = false;
            loose.right[pair.r as usize] = false;
        }
    }
    let (groups, cut) = search(plan, scored, weights, &loose, &rules.sums, meter)?;
    let mut grouped = Loose { left: vec![false; left.len()], right: vec![false; right.len()] };
    for group in &groups {
        let (own, other) = match group.side {
            Side::Left => (&mut grouped.left, &mut grouped.right),
            Side::Right => (&mut grouped.right, &mut grouped.left),
        };
        own[group.total as usize] = true;
        group.parts.iter().for_each(|part| other[*part as usize] = true);
    }
    pairs.retain(|pair| !grouped.left[pair.l as usize] && !grouped.right[pair.r as usize]);
    Ok((pairs, groups, cut))
}
