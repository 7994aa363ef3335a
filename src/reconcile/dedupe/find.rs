//! One file against itself: rows that mean the same thing, as clusters with a proposed representative.
//!
//! The comparisons, weights and explanations are those of a reconciliation. Rows that are equal in every cell but the id stand together
//! before anything is learnt; near rows join them while the members of a cluster agree with each other on the whole. A row
//! is never compared with itself. Nothing is merged or removed: a cluster is a proposal.
use super::clusters::{Parts, cluster};
use super::pairs::Weighed;
use crate::classify::Law;
use crate::control::{Control, Meter, Phase};
use crate::formats::is_missing;
use crate::infer::{Comparing, infer_for_one};
use crate::outcome::MatchState;
use crate::rules::{RuleError, RuleSet};
use crate::run::RunError;
use crate::score::level;
use crate::table::{ColumnType, Table};
use crate::text;
use rayon::prelude::*;

/// Rows of a cluster above which only its representative is paired with the others.
pub const MAX_PAIRED_ROWS: usize = 50;
/// The probability of rows that are equal in every cell.
const EQUAL_ROWS: f64 = 0.999_999;
/// Why equal payments that share no reference are for review.
const BOTH_REAL: &str = "; they share no reference, and equal payments can both be real";

/// What was found in a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Deduped {
    /// In the order of their first row.
    pub clusters: Vec<Cluster>,
    /// What was compared.
    pub comparing: Comparing,
    /// The counts.
    pub summary: DedupeSummary,
}

/// Rows that mean the same thing, at least two.
#[derive(Clone, PartialEq, Debug)]
pub struct Cluster {
    /// Made of the content of its rows: the same whatever their order.
    pub id: String,
    /// `auto` when every pair of its rows is, and no row fits elsewhere as well; else `review`.
    pub state: MatchState,
    /// In file order; one is the representative.
    pub members: Vec<Member>,
    /// Every pair of members, or each with the representative when there are more than [`MAX_PAIRED_ROWS`].
    pub pairs: Vec<ClusterPair>,
}

/// A row of a cluster.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Member {
    /// The row of the table.
    pub row: u32,
    /// That it is the same thing as the others: the mean over its pairs.
    pub probability: f64,
    /// The row to keep: the most complete, of these the one that agrees best with the others.
    pub is_representative: bool,
}

/// Two rows of a cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterPair {
    /// The earlier row.
    pub first: u32,
    /// The later row.
    pub second: u32,
    /// That they are the same thing.
    pub probability: f64,
    /// `auto`, or `review` when something that was compared differs, or was not compared.
    pub state: MatchState,
    /// How they agree and differ.
    pub explanation: String,
}

/// Counts; the same at any number of threads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DedupeSummary {
    /// Rows of the table.
    pub rows: u64,
    /// Rows in clusters.
    pub clustered_rows: u64,
    /// Clusters of state `auto`.
    pub auto: u64,
    /// Clusters of state `review`.
    pub review: u64,
    /// Rows of the largest cluster.
    pub largest: u64,
    /// Pairs of different content above the floor whose clusters were not joined, because their members do not agree.
    pub links_refused: u64,
    /// Pairs compared.
    pub pairs_compared: u64,
    /// Rows whose block was too large and was split.
    pub blocks_split: u64,
    /// Derived blocks left out because nearly every row shares their few values.
    pub blocks_left_out: u64,
}

/// Finds the rows of a table that mean the same, by rules as they are or, without comparisons, by inferred ones. Of the rules it uses
/// what is about comparing: sums have no meaning within one file.
///
/// The outcome is the same at any number of threads and in any order of rows. CPU work runs on the current rayon pool.
///
/// # Errors
/// See [`RunError`].
pub fn dedupe(table: &Table, rules: Option<&RuleSet>, control: &dyn Control) -> Result<Deduped, RunError> {
    let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
    let content = table.content_hashes();
    let (heads, rows_of) = different_rows(table, &content);
    let given = rules.filter(|rules| !rules.compare.is_empty());
    let (mut rules, mut comparing) = match given {
        Some(rules) => (rules.clone(), Comparing::of(rules)),
        None => infer_for_one(table, &meter)?,
    };
    if rules.compare.is_empty() || heads.len() < 2 {
        // Nothing to compare: equal rows are all there is.
        return Ok(deduped(table, &rows_of, None, comparing, &rules));
    }
    let distinct = table.with_rows(&heads);
    let weighed = match given {
        Some(_) => {
            rules.validate()?;
            Weighed::new(&distinct, &rules, control)?
        }
        None => adjust(&distinct, &mut rules, &mut comparing, control)?,
    };
    Meter::start(control, Phase::Classifying, 0, 0)?;
    comparing.amount = weighed.plan.amount.map(|at| weighed.plan.columns[at]);
    comparing.date = weighed.plan.date.map(|at| weighed.plan.columns[at]);
    let law = Law::of(&weighed.plan, &distinct, &distinct, &mut comparing);
    let mut seen = Vec::new();
    comparing.warnings.retain(|warning| {
        !seen.contains(warning) && {
            seen.push(warning.clone());
            true
        }
    });
    let parts = cluster(&weighed, distinct.len(), rules.assign.floor);
    Ok(deduped(table, &rows_of, Some((&weighed, &law, parts)), comparing, &rules))
}

/// The rules that [`dedupe`] infers for a table.
///
/// # Errors
/// See [`RunError`].
pub fn dedupe_rules(table: &Table, control: &dyn Control) -> Result<RuleSet, RunError> {
    let meter = Meter::start(control, Phase::Indexing, 0, 0)?;
    let (mut rules, mut comparing) = infer_for_one(table, &meter)?;
    let heads = different_rows(table, &table.content_hashes()).0;
    if !rules.compare.is_empty() && heads.len() >= 2 {
        adjust(&table.with_rows(&heads), &mut rules, &mut comparing, control)?;
    }
    Ok(rules)
}

/// Compares, and drops comparisons that disagree in nearly every likely pair until there is none.
fn adjust(
    distinct: &Table,
    rules: &mut RuleSet,
    comparing: &mut Comparing,
    control: &dyn Control,
) -> Result<Weighed, RunError> {
    let reason = "disagrees in nearly every likely pair";
    crate::infer::adjust::adjust(
        rules,
        comparing,
        reason,
        |rules| Weighed::new(distinct, rules, control),
        |weighed: &Weighed| Ok(weighed.useless()),
    )
}

/// Checks that rules can be those of one file: what they say about reading the right side is the same as about the left, or nothing.
///
/// # Errors
/// The two sides are read in different ways.
pub fn check_dedupe_rules(rules: &RuleSet) -> Result<(), RuleError> {
    let is_same = |one: bool, path: &str| {
        let reason = "one file is compared with itself: leave it out, or say the same as on the left side";
        if one { Ok(()) } else { Err(RuleError { path: path.into(), reason: reason.into() }) }
    };
    is_same(rules.right.is_empty() || rules.right == rules.left, "right")?;
    is_same(rules.right_id.is_none() || rules.right_id == rules.left_id, "right_id")
}

/// One row of each content, lowest id first, and all rows that have it. In the order of content, so that the order of rows changes nothing.
fn different_rows(table: &Table, content: &[u64]) -> (Vec<u32>, Vec<Vec<u32>>) {
    let rank = table.content_order(content);
    let mut rows: Vec<u32> = (0..table.len() as u32).collect();
    rows.par_sort_unstable_by_key(|row| rank[*row as usize]);
    let groups: Vec<Vec<u32>> =
        rows.chunk_by(|a, b| content[*a as usize] == content[*b as usize]).map(<[u32]>::to_vec).collect();
    (groups.iter().map(|group| group[0]).collect(), groups)
}

type Near<'a> = (&'a Weighed, &'a Law, Parts);

fn deduped(
    table: &Table,
    rows_of: &[Vec<u32>],
    near: Option<Near<'_>>,
    comparing: Comparing,
    rules: &RuleSet,
) -> Deduped {
    let mut summary = DedupeSummary { rows: table.len() as u64, ..DedupeSummary::default() };
    let holds_payments = table.columns.iter().any(|c| c.profile.kind == ColumnType::Money && c.profile.is_compared());
    let maker =
        Maker { table, rows_of, holds_payments, near: near.as_ref().map(|(weighed, law, _)| (*weighed, *law)), rules };
    let single = |heads: usize| (0..heads as u32).map(|head| vec![head]).collect::<Vec<_>>();
    let (parts, refused) = match &near {
        Some((weighed, _, Parts { parts, refused })) => {
            summary.pairs_compared = weighed.pairs.len() as u64;
            summary.blocks_split = weighed.blocks_split;
            summary.blocks_left_out = weighed.blocks_left_out;
            (parts.clone(), refused.clone())
        }
        None => (single(rows_of.len()), Vec::new()),
    };
    summary.links_refused = refused.len() as u64;
    let mut torn = vec![false; parts.len()];
    refused.iter().for_each(|(x, y)| (torn[*x], torn[*y]) = (true, true));
    let mut clusters: Vec<Cluster> =
        parts.par_iter().zip(&torn).filter_map(|(heads, torn)| maker.cluster(heads, *torn)).collect();
    clusters.par_sort_by_key(|cluster| cluster.members[0].row);
    for cluster in &clusters {
        let rows = cluster.members.len() as u64;
        summary.clustered_rows += rows;
        summary.largest = summary.largest.max(rows);
        *(if cluster.state == MatchState::Auto { &mut summary.auto } else { &mut summary.review }) += 1;
    }
    Deduped { clusters, comparing, summary }
}

/// Makes clusters of heads, one head for each different content.
struct Maker<'a> {
    table: &'a Table,
    rows_of: &'a [Vec<u32>],
    /// The rows are sums of money: two equal ones may be two payments.
    holds_payments: bool,
    near: Option<(&'a Weighed, &'a Law)>,
    rules: &'a RuleSet,
}

impl Maker<'_> {
    fn cluster(&self, heads: &[u32], torn: bool) -> Option<Cluster> {
        let mut rows: Vec<(u32, u32)> =
            heads.iter().flat_map(|head| self.rows_of[*head as usize].iter().map(|row| (*row, *head))).collect();
        if rows.len() < 2 {
            return None;
        }
        // A row's standing is that of its content: copies of it count as members that agree.
        let copies = |head: u32| self.rows_of[head as usize].len() as f64;
        let standing = |head: u32| {
            let others = heads.iter().map(|other| {
                if *other == head {
                    (copies(head) - 1.0) * EQUAL_ROWS
                } else {
                    copies(*other) * self.probability(head, *other)
                }
            });
            others.sum::<f64>() / (rows.len() - 1) as f64
        };
        let standings: Vec<(u32, f64)> = heads.iter().map(|head| (*head, standing(*head))).collect();
        let filled = |head: u32| {
            let row = self.rows_of[head as usize][0] as usize;
            (0..self.table.columns.len()).filter(|column| !is_missing(self.table.cell(row, *column))).count()
        };
        // The first of the best, in the order of content.
        let best = standings.iter().copied().reduce(|best, next| {
            let better = filled(next.0).cmp(&filled(best.0)).then(next.1.total_cmp(&best.1));
            if better.is_gt() { next } else { best }
        })?;
        let representative = self.rows_of[best.0 as usize][0];
        rows.sort_unstable();
        let members: Vec<Member> = rows
            .iter()
            .map(|(row, head)| {
                let probability = standings.iter().find(|s| s.0 == *head).map_or(0.0, |s| s.1);
                Member { row: *row, probability, is_representative: *row == representative }
            })
            .collect();
        let wanted = |a: u32, b: u32| rows.len() <= MAX_PAIRED_ROWS || a == representative || b == representative;
        let mut pairs = Vec::new();
        for (at, one) in rows.iter().enumerate() {
            let others = rows[at + 1..].iter().filter(|other| wanted(one.0, other.0));
            pairs.extend(others.map(|other| self.pair(*one, *other, torn)));
        }
        let settled = pairs.iter().all(|pair| pair.state == MatchState::Auto);
        let state = if settled && !torn { MatchState::Auto } else { MatchState::Review };
        Some(Cluster { id: self.id(&rows), state, members, pairs })
    }

    fn probability(&self, a: u32, b: u32) -> f64 {
        self.near.map_or(0.0, |(weighed, _)| weighed.probability(weighed.levels(a, b)))
    }

    fn pair(&self, (first, a): (u32, u32), (second, b): (u32, u32), torn: bool) -> ClusterPair {
        let near = self.near.map(|(weighed, law)| (weighed, law, weighed.levels(a, b)));
        let tied = near.is_some_and(|(weighed, _, levels)| weighed.share_a_reference(levels));
        let both_real = self.holds_payments && !tied;
        let Some((weighed, law, levels)) = near.filter(|_| a != b) else {
            let mut explanation = "the rows are equal in every cell but the id".to_owned();
            if both_real {
                explanation.push_str(BOTH_REAL);
            }
            let state = if torn || both_real { MatchState::Review } else { MatchState::Auto };
            return ClusterPair { first, second, probability: EQUAL_ROWS, state, explanation };
        };
        let comparators = weighed.plan.comparators.iter().enumerate();
        let differs = comparators.clone().any(|(at, c)| c.levels()[level(levels, at)].is_discrepancy);
        let forbidden = law.forbids(&weighed.plan, a as usize, b as usize);
        let probability = weighed.probability(levels);
        let said = self.rules.compare.iter().zip(comparators).map(|(compare, (at, comparator))| {
            let level = level(levels, at);
            let bits = (weighed.weights.bits[at][level] * 10.0).round() / 10.0 + 0.0;
            format!("{}: {} ({bits:+.1})", compare.label(), comparator.levels()[level].name)
        });
        let mut explanation = said.collect::<Vec<_>>().join("; ");
        if let Some(reason) = forbidden {
            explanation.push_str("; ");
            explanation.push_str(reason);
        }
        if both_real {
            explanation.push_str(BOTH_REAL);
        }
        if torn {
            explanation.push_str("; another row fits one of this cluster and not the others");
        }
        let is_sure = !differs && !torn && !both_real && forbidden.is_none() && probability >= self.rules.states.auto;
        let state = if is_sure { MatchState::Auto } else { MatchState::Review };
        ClusterPair { first, second, probability, state, explanation }
    }

    /// A name made of the content of the rows.
    fn id(&self, rows: &[(u32, u32)]) -> String {
        let hash = |(row, _): &(u32, u32)| {
            let row = *row as usize;
            let cells = (0..self.table.columns.len()).map(|column| text::hash(self.table.cell(row, column)));
            cells.fold(0, text::combine)
        };
        let mut hashes: Vec<u64> = rows.iter().map(hash).collect();
        hashes.sort_unstable();
        format!("c{:016x}", hashes.into_iter().fold(0, text::combine))
    }
}
