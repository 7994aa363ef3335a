//! What a run found: matches with their explanation, breaks, and the counts.
//!
//! Rows are referred to by table position; ids are added by `report`. Every row of both tables is in exactly one
//! match or one break.
use crate::infer::Comparing;
use crate::table::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// One of the two files.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first file.
    Left,
    /// The second file.
    Right,
}

impl Side {
    /// The name as it appears in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Right => "right",
        }
    }
}

/// How many rows of each side a match has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchKind {
    /// One and one.
    OneToOne,
    /// One left row, several right rows.
    OneToMany,
    /// Several left rows, one right row.
    ManyToOne,
    /// Several and several.
    ManyToMany,
}

impl MatchKind {
    /// The name as it appears in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OneToOne => "one_to_one",
            Self::OneToMany => "one_to_many",
            Self::ManyToOne => "many_to_one",
            Self::ManyToMany => "many_to_many",
        }
    }
}

/// What is to be done with a match.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchState {
    /// Settled without a person.
    Auto,
    /// A person should look: the probability or the margin is thin.
    Review,
    /// The rows belong together but differ beyond tolerance.
    Discrepancy,
}

impl MatchState {
    /// The name as it appears in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Review => "review",
            Self::Discrepancy => "discrepancy",
        }
    }
}

/// A row's part in a match.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MatchLine {
    /// Which file.
    pub side: Side,
    /// Which row of it.
    pub row: u32,
    /// The amount of the row that this match settles, in minor units, when the rules compare amounts.
    pub allocated_minor: Option<i64>,
}

/// One comparison of a matched pair.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct FieldComparison {
    /// The comparison's label.
    pub label: String,
    /// The left value (several joined by ` + ` in a group); empty in [`Said`].
    pub left: String,
    /// The right value.
    pub right: String,
    /// How well they agree, in words.
    pub level: String,
    /// Bits of evidence: positive for, negative against.
    pub weight: f64,
}

/// How the rows of a match agree and differ, without their values: many matches say the same.
#[derive(Clone, PartialEq, Debug)]
pub struct Said {
    /// Comparison by comparison, in the order of [`Outcome::columns`].
    pub fields: Vec<FieldComparison>,
    /// The same in one sentence.
    pub explanation: String,
}

/// Rows that belong together.
#[derive(Clone, PartialEq, Debug)]
pub struct Match {
    /// How many rows of each side.
    pub kind: MatchKind,
    /// What is to be done with it.
    pub state: MatchState,
    /// That the rows belong together, 0 to 1.
    pub probability: f64,
    /// Bits to the runner-up; `None` without one.
    pub margin: Option<f64>,
    /// The rows, left before right, in file order.
    pub lines: Vec<MatchLine>,
    /// How they agree and differ; one for all matches of a run that say the same.
    pub said: Arc<Said>,
}

impl Match {
    /// Field by field, with the values; `columns` are those of the [`Outcome`].
    pub fn fields(&self, columns: &[(usize, usize)], left: &Table, right: &Table) -> Vec<FieldComparison> {
        let values = |table: &Table, side: Side, column: usize| {
            let mut values: Vec<&str> = self.rows(side).map(|row| table.cell(row as usize, column)).collect();
            if values.windows(2).all(|two| two[0] == two[1]) {
                values.truncate(1);
            }
            values.join(" + ")
        };
        let fields = self.said.fields.iter().zip(columns);
        fields
            .map(|(said, (l, r))| FieldComparison {
                left: values(left, Side::Left, *l),
                right: values(right, Side::Right, *r),
                ..said.clone()
            })
            .collect()
    }

    /// The rows of one side.
    pub fn rows(&self, side: Side) -> impl Iterator<Item = u32> + '_ {
        self.lines.iter().filter(move |line| line.side == side).map(|line| line.row)
    }
}

/// Why a row has no match.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakKind {
    /// Nothing on the other side is like it.
    Missing,
    /// It repeats a row of its own side, `related`.
    Duplicate,
    /// Its best candidate, `related` on the other side, was a better match for another row.
    Outbid,
    /// Its best candidate, `related` on the other side, was too unlike.
    Unlike,
    /// It is undone by `related` of its own side: a charge and its reversal.
    Contra,
}

impl BreakKind {
    /// The name as it appears in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Duplicate => "duplicate",
            Self::Outbid => "outbid",
            Self::Unlike => "unlike",
            Self::Contra => "contra",
        }
    }
}

/// A row without a match.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Break {
    /// Which file.
    pub side: Side,
    /// Which row of it.
    pub row: u32,
    /// Why.
    pub kind: BreakKind,
    /// The row it repeats, or the candidate it did not get.
    pub related: Option<u32>,
}

/// Counts of a run; the same at any number of threads, so it holds no times.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Rows of the left table.
    pub left_rows: u64,
    /// Rows of the right table.
    pub right_rows: u64,
    /// Matches of any state.
    pub matches: u64,
    /// Matches by state and kind.
    pub auto: u64,
    /// Matches a person should look at.
    pub review: u64,
    /// Matches whose rows differ beyond tolerance.
    pub discrepancy: u64,
    /// Matches by kind.
    pub one_to_one: u64,
    /// Matches by kind.
    pub one_to_many: u64,
    /// Matches by kind.
    pub many_to_one: u64,
    /// Matches by kind.
    pub many_to_many: u64,
    /// Left rows without a match.
    pub unmatched_left: u64,
    /// Right rows without a match.
    pub unmatched_right: u64,
    /// Rows without a match that repeat another of their side.
    pub duplicates: u64,
    /// Candidate pairs compared.
    pub pairs_compared: u64,
    /// Rows whose block was too large and was split.
    pub blocks_split: u64,
    /// Derived blocks left out because nearly every row shares their few values; others found the candidates.
    #[serde(default)]
    pub blocks_left_out: u64,
    /// Searches for sums that ended at the node budget.
    pub sum_searches_cut: u64,
}

/// Everything a run found.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// In the order of their first left row.
    pub matches: Vec<Match>,
    /// Left before right, in file order.
    pub breaks: Vec<Break>,
    /// The nearest rows of the other side, for rows that are unmatched or for review; best first.
    pub candidates: Vec<Candidate>,
    /// Column positions of each comparison.
    pub columns: Vec<(usize, usize)>,
    /// What was compared with what.
    pub comparing: Comparing,
    /// The counts.
    pub summary: Summary,
}

/// A row of the other side that a row might belong to.
#[derive(Clone, PartialEq, Debug)]
pub struct Candidate {
    /// The side of the row.
    pub side: Side,
    /// The row.
    pub row: u32,
    /// The row of the other side.
    pub other: u32,
    /// 1 for the best.
    pub rank: u32,
    /// That the two belong together.
    pub probability: f64,
    /// How they agree and differ.
    pub explanation: Arc<str>,
}
