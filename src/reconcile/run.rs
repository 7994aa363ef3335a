//! The pipeline: plan, candidates, scores, assignment, sums, states. Each step is its own file; this one only
//! puts them in order and checks for cancellation between them.
use super::control::{Cancelled, Control, Meter, Phase};
use super::outcome::{
    Break, BreakKind, FieldComparison, Match, MatchKind, MatchLine, MatchState, Outcome, Side, Summary,
};
use super::rules::{RuleError, RuleSet};
use super::table::Table;
use super::text;
use rustc_hash::FxHashMap;

/// Why a run gave no outcome.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum RunError {
    /// The rules do not fit the files.
    #[error(transparent)]
    Rules(#[from] RuleError),
    /// The rules leave (nearly) every row a candidate of every other.
    #[error("rules: block: would compare about {pairs} pairs, a cross product; {hint}")]
    CrossProduct {
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

/// Reconciles two tables.
///
/// The outcome is the same at any number of threads. CPU work runs on the current rayon pool.
///
/// # Errors
/// See [`RunError`].
pub fn run(left: &Table, right: &Table, rules: &RuleSet, control: &dyn Control) -> Result<Outcome, RunError> {
    rules.validate()?;
    let mut columns = Vec::new();
    for (at, compare) in rules.compare.iter().enumerate() {
        let find = |table: &Table, name: &str, side: &str| {
            table.column_index(name).ok_or_else(|| {
                RuleError::new(format!("compare[{at}].{side}"), format!("no column {name:?} in {}", table.name))
            })
        };
        columns.push((find(left, &compare.left, "left")?, find(right, &compare.right, "right")?));
    }
    let key = |table: &Table, row: usize, right: bool| {
        columns.iter().take(2).fold(0, |hash, (l, r)| {
            let column = if right { *r } else { *l };
            text::combine(hash, text::hash(&text::compact(table.cell(row, column))))
        })
    };
    let mut index: FxHashMap<u64, Vec<u32>> = FxHashMap::default();
    for row in (0..right.len()).rev() {
        index.entry(key(right, row, true)).or_default().push(row as u32);
    }
    let meter = Meter::start(control, Phase::Scoring, left.len() as u64, 0)?;
    let mut outcome = Outcome { matches: Vec::new(), breaks: Vec::new(), summary: Summary::default() };
    let mut used = vec![false; right.len()];
    for row in 0..left.len() {
        let Some(other) = index.get_mut(&key(left, row, false)).and_then(Vec::pop) else {
            outcome.breaks.push(Break { side: Side::Left, row: row as u32, kind: BreakKind::Missing, related: None });
            continue;
        };
        used[other as usize] = true;
        let fields = rules.compare.iter().zip(&columns).map(|(compare, (l, r))| FieldComparison {
            label: compare.label().to_owned(),
            left: left.cell(row, *l).to_owned(),
            right: right.cell(other as usize, *r).to_owned(),
            level: "equal".into(),
            weight: 0.0,
        });
        outcome.matches.push(Match {
            kind: MatchKind::OneToOne,
            state: MatchState::Review,
            probability: 0.5,
            margin: None,
            lines: vec![
                MatchLine { side: Side::Left, row: row as u32, allocated_minor: None },
                MatchLine { side: Side::Right, row: other, allocated_minor: None },
            ],
            fields: fields.collect(),
            explanation: "same key".into(),
        });
        meter.add(1, 1)?;
    }
    let lonely = used.iter().enumerate().filter(|(_, used)| !**used);
    outcome.breaks.extend(lonely.map(|(row, _)| Break {
        side: Side::Right,
        row: row as u32,
        kind: BreakKind::Missing,
        related: None,
    }));
    Ok(outcome)
}
