//! The pipeline: plan, candidates, scores, weights, assignment, sums, states. Each step is its own file; this one
//! puts them in order.
use crate::assign::{Edge, EqualRows, assign, equal_rows, recurring};
use crate::candidates::{Pass, Settled, indexes, late};
use crate::classify::{Content, Found, Law};
use crate::control::{Cancelled, Control, Meter, Phase};
use crate::groups::{ByRank, Group, Loose, search};
use crate::infer::{Comparing, adjust, infer_from_tables};
use crate::outcome::Outcome;
use crate::plan::Plan;
use crate::rules::{RuleError, RuleSet};
use crate::score::{ByContent, Pair, Rivals, Scored, Weights, level, pattern, score, train};
use crate::table::Table;
use crate::text;

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

/// Reconciles two tables by rules as they are.
///
/// The outcome is the same at any number of threads. CPU work runs on the current rayon pool.
///
/// # Errors
/// See [`RunError`].
pub fn run(left: &Table, right: &Table, rules: &RuleSet, control: &dyn Control) -> Result<Outcome, RunError> {
    rules.validate()?;
    let sides = Sides::new(left, right, control)?;
    let trained = Trained::new(&sides, rules, control)?;
    trained.outcome(&sides, rules, Comparing::of(rules), control)
}

/// Reconciles two tables by rules inferred from the whole of both. A comparison that turns out to disagree in nearly
/// every best pair is dropped, and said to be.
///
/// # Errors
/// See [`RunError`].
pub fn run_inferred(left: &Table, right: &Table, control: &dyn Control) -> Result<Outcome, RunError> {
    let (rules, comparing) = infer_from_tables(left, right, control)?;
    run_adjusted(left, right, rules, comparing, control)
}

/// Reconciles two tables by rules that were inferred for them or for larger ones that they are a part of, as
/// [`run_inferred`] does.
///
/// # Errors
/// See [`RunError`].
pub fn run_adjusted(
    left: &Table,
    right: &Table,
    mut rules: RuleSet,
    mut comparing: Comparing,
    control: &dyn Control,
) -> Result<Outcome, RunError> {
    let sides = Sides::new(left, right, control)?;
    let trained = adjust(&sides, &mut rules, &mut comparing, control)?;
    trained.outcome(&sides, &rules, comparing, control)
}

/// The rules by which [`run_inferred`] reconciles two tables, given back to [`run()`] with the same result. Compares the candidates, as
/// a comparison is dropped for what they show.
///
/// # Errors
/// See [`RunError`].
pub fn inferred_rules(left: &Table, right: &Table, control: &dyn Control) -> Result<RuleSet, RunError> {
    let (mut rules, mut comparing) = infer_from_tables(left, right, control)?;
    adjust(&Sides::new(left, right, control)?, &mut rules, &mut comparing, control)?;
    Ok(rules)
}

/// Compares as [`run()`] by these rules, or without rules as [`run_inferred`], and goes no further: work for the run of
/// another process that shares the [`Parts`](crate::Parts) of `control`.
///
/// # Errors
/// See [`RunError`].
pub fn compare_parts(
    left: &Table,
    right: &Table,
    rules: Option<&RuleSet>,
    control: &dyn Control,
) -> Result<(), RunError> {
    match rules {
        Some(rules) => {
            rules.validate()?;
            Trained::new(&Sides::new(left, right, control)?, rules, control).map(drop)
        }
        None => inferred_rules(left, right, control).map(drop),
    }
}

/// The number of the comparing by these rules.
pub(crate) fn step(rules: &RuleSet) -> u64 {
    text::hash(&serde_json::to_string(rules).expect("rules are plain data"))
}

/// Trains, and drops comparisons that disagree in nearly every best pair until there is none.
fn adjust(
    sides: &Sides<'_>,
    rules: &mut RuleSet,
    comparing: &mut Comparing,
    control: &dyn Control,
) -> Result<Trained, RunError> {
    let reason = "disagrees in nearly every best pair";
    let train = |rules: &RuleSet| Trained::new(sides, rules, control);
    adjust::adjust(rules, comparing, reason, train, |trained: &Trained| trained.useless(sides, control))
}

/// Both tables and what their rows are worth comparing by.
struct Sides<'a> {
    left: &'a Table,
    right: &'a Table,
    left_content: Content,
    right_content: Content,
    /// Rank of each row by content, and the rows by rank.
    left_order: Vec<u32>,
    right_order: Vec<u32>,
    left_by_rank: Vec<u32>,
    right_by_rank: Vec<u32>,
    /// Rows that are equal in every cell, paired.
    exact: Vec<EqualRows>,
}

impl<'a> Sides<'a> {
    fn new(left: &'a Table, right: &'a Table, control: &dyn Control) -> Result<Self, Cancelled> {
        let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
        let of = |table: &Table| -> Result<(Content, Vec<u32>, Vec<u32>), Cancelled> {
            let hashes = table.content_hashes();
            meter.check()?;
            let order = table.content_order(&hashes);
            meter.check()?;
            let by_rank = by_rank(&order);
            Ok((Content::new(hashes, &by_rank), order, by_rank))
        };
        let (left_content, left_order, left_by_rank) = of(left)?;
        let (right_content, right_order, right_by_rank) = of(right)?;
        let exact = equal_rows(left, right, &left_order, &right_order);
        meter.check()?;
        Ok(Self {
            left,
            right,
            left_content,
            right_content,
            left_order,
            right_order,
            left_by_rank,
            right_by_rank,
            exact,
        })
    }

    /// Whether the left file is the one whose content comes first, so that swapped sides give the swapped result.
    fn left_first(&self) -> bool {
        let sum = |all: &[u64]| all.iter().fold(0_u64, |sum, hash| sum.wrapping_add(crate::text::mix(*hash)));
        (self.left.len(), sum(self.left_content.hashes())) <= (self.right.len(), sum(self.right_content.hashes()))
    }
}

/// Rows by rank.
fn by_rank(order: &[u32]) -> Vec<u32> {
    let mut rows = vec![0; order.len()];
    order.iter().enumerate().for_each(|(row, rank)| rows[*rank as usize] = row as u32);
    rows
}

/// Candidates compared and weighed.
struct Trained {
    plan: Plan,
    scored: Scored,
    weights: Weights,
    blocks_left_out: u64,
    settled: Settled,
    /// Passes by which rows that are left over meet settled ones.
    telling: Vec<Pass>,
}

impl Trained {
    fn new(sides: &Sides<'_>, rules: &RuleSet, control: &dyn Control) -> Result<Self, RunError> {
        let (left, right) = (sides.left, sides.right);
        let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
        let mut plan = Plan::new(left, right, rules, &meter)?;
        meter.check()?;
        let mut passes = std::mem::take(&mut plan.passes);
        let settled = Settled::by(&plan, rules, (left.len(), right.len()), &meter)?;
        meter.check()?;
        let (indexes, left_out) = indexes(&passes, &settled, rules, &meter)?;
        let blocks_left_out = left_out.len() as u64;
        let meter = Meter::start(control, Phase::Scoring, left.len() as u64, 0)?;
        let scored = score(&plan, &indexes, &settled, step(rules), &meter)?;
        drop(indexes);
        let mut at = 0;
        passes.retain(|pass| {
            at += 1;
            pass.is_telling() && !left_out.contains(&(at - 1))
        });
        let telling = passes;
        let meter = Meter::start(control, Phase::Training, 0, 0)?;
        let order = ByContent {
            left: &sides.left_by_rank,
            right: &sides.right_by_rank,
            left_first: sides.left_first(),
            same_file: false,
        };
        let weights = train(&plan, &scored, rules, &order, &meter)?;
        Ok(Self { plan, scored, weights, blocks_left_out, settled, telling })
    }

    /// Comparisons that disagree in nearly every pair that is the best of both its rows.
    fn useless(&self, sides: &Sides<'_>, control: &dyn Control) -> Result<Vec<usize>, RunError> {
        let meter = Meter::start(control, Phase::Training, 0, 0)?;
        let rows = (sides.left.len(), sides.right.len());
        let rivals = Rivals::of(&self.scored, &self.weights.of_pattern, rows, &meter)?;
        let mut likely = vec![0_u64; self.scored.patterns.len()];
        for (at, pair) in self.scored.pairs.iter().enumerate() {
            meter.check_at(at)?;
            let bits = self.weights.of_pattern[pair.pattern as usize];
            likely[pair.pattern as usize] += u64::from(rivals.probability(pair.l, pair.r, bits) >= 0.5);
        }
        let likely = self.scored.patterns.iter().copied().zip(likely);
        Ok(adjust::disagreeing(self.plan.comparators.len(), likely))
    }

    fn outcome(
        self,
        sides: &Sides<'_>,
        rules: &RuleSet,
        mut comparing: Comparing,
        control: &dyn Control,
    ) -> Result<Outcome, RunError> {
        let Self { plan, mut scored, mut weights, blocks_left_out, settled, telling } = self;
        let (left, right) = (sides.left, sides.right);
        let meter = Meter::start(control, Phase::Assigning, 0, 0)?;
        let edges = edges(&scored, &weights, rules, sides, &meter)?;
        let meter = Meter::start(control, Phase::Assigning, edges.len() as u64, 0)?;
        let mut pairs = assign(&edges, &sides.left_order, &sides.right_order, sides.left_first(), &meter)?;
        drop(edges);
        pairs.extend(sides.exact.iter().map(|rows| rows.edge()));

        let meter = Meter::start(control, Phase::Summing, 0, pairs.len() as u64)?;
        let (pairs, groups, sum_searches_cut) = sums(&plan, &scored, &weights, pairs, rules, sides, &meter)?;
        let recurring = recurring::pairs(&plan, &pairs, &groups, (left.len(), right.len()));
        meter.check()?;
        let late = late(&plan, &telling, &settled, (&pairs, &groups), rules, &meter)?;
        drop(telling);
        if !late.is_empty() {
            let before = scored.extend(&late, &meter)?;
            weights.extend(&plan, &scored, rules, &before);
        }

        let found = (pairs.len() + groups.len()) as u64;
        let meter = Meter::start(control, Phase::Classifying, found, found)?;
        comparing.amount = plan.amount.map(|at| plan.columns[at]);
        comparing.date = plan.date.map(|at| plan.columns[at]);
        let law = Law::of(&plan, left, right, &mut comparing);
        let found = Found {
            left,
            right,
            rules,
            plan: &plan,
            scored: &scored,
            weights: &weights,
            pairs,
            groups,
            recurring,
            law,
            comparing,
            sum_searches_cut,
            blocks_left_out,
            left_content: &sides.left_content,
            right_content: &sides.right_content,
        };
        Ok(found.outcome(&meter)?)
    }
}

/// Candidates above the floor, with what each gains over staying single; rows that are settled have none.
fn edges(
    scored: &Scored,
    weights: &Weights,
    rules: &RuleSet,
    sides: &Sides<'_>,
    meter: &Meter<'_>,
) -> Result<Vec<Edge>, Cancelled> {
    let mut settled = [vec![false; sides.left.len()], vec![false; sides.right.len()]];
    for rows in &sides.exact {
        settled[0][rows.l as usize] = true;
        settled[1][rows.r as usize] = true;
    }
    let floor = (rules.assign.floor.max(1e-6) / (1.0 - rules.assign.floor)).log2();
    let gain: Vec<i64> = weights.of_pattern.iter().map(|bits| ((bits - floor) * RESOLUTION).round() as i64).collect();
    let edge = |pair: &Pair| Edge { l: pair.l, r: pair.r, gain: gain[pair.pattern as usize] };
    let free = |edge: &Edge| !settled[0][edge.l as usize] && !settled[1][edge.r as usize];
    let mut edges = Vec::new();
    for pairs in scored.pairs.chunks(1 << 16) {
        meter.check()?;
        edges.extend(pairs.iter().map(edge).filter(|edge| edge.gain > 0 && free(edge)));
    }
    Ok(edges)
}

/// Looks for groups among rows without a partner or with one of another amount; a group takes its rows from such
/// pairs.
fn sums(
    plan: &Plan,
    scored: &Scored,
    weights: &Weights,
    mut pairs: Vec<Edge>,
    rules: &RuleSet,
    sides: &Sides<'_>,
    meter: &Meter<'_>,
) -> Result<(Vec<Edge>, Vec<Group>, u64), Cancelled> {
    let (left, right) = (sides.left, sides.right);
    let Some(amount) = plan.amount.filter(|_| rules.sums.enabled) else { return Ok((pairs, Vec::new(), 0)) };
    let mut loose = Loose { left: vec![true; left.len()], right: vec![true; right.len()] };
    for (at, pair) in pairs.iter().enumerate() {
        meter.check_at(at)?;
        let known = scored.pattern_of(pair.l, pair.r);
        let levels = known.unwrap_or_else(|| pattern(plan, pair.l as usize, pair.r as usize));
        let held = !plan.comparators[amount].levels()[level(levels, amount)].is_discrepancy;
        if held && !weights.texts_contradict(plan, levels) {
            loose.left[pair.l as usize] = false;
            loose.right[pair.r as usize] = false;
        }
    }
    let order = ByRank {
        left: &sides.left_order,
        right: &sides.right_order,
        left_first: sides.left_first(),
        vouch: rules.block.is_empty(),
    };
    let (groups, cut) = search(plan, scored, weights, &loose, &rules.sums, order, meter)?;
    let mut grouped = Loose { left: vec![false; left.len()], right: vec![false; right.len()] };
    for group in &groups {
        group.left.iter().for_each(|row| grouped.left[*row as usize] = true);
        group.right.iter().for_each(|row| grouped.right[*row as usize] = true);
    }
    pairs.retain(|pair| !grouped.left[pair.l as usize] && !grouped.right[pair.r as usize]);
    Ok((pairs, groups, cut))
}
