//! JSON Schema of what people write and read: the rules, and `summary.json` of both commands. Published in `docs/schema`.
//!
//! Easy to get wrong: `report` and `dedupe` write the summary from what was found, and these types only describe it; a test
//! reads summaries as these types and writes them again, so that neither has what the other lacks.
use crate::reading::Reading;
use crate::rules::{CompareKind, RuleSet};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The JSON Schema of a rule set.
pub fn rules_schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(RuleSet)).expect("a schema is plain data")
}

/// The JSON Schema of the `summary.json` of a reconciliation.
pub fn summary_schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(SummaryFile)).expect("a schema is plain data")
}

/// The JSON Schema of the `summary.json` of a search for duplicates.
pub fn dedupe_summary_schema() -> serde_json::Value {
    serde_json::to_value(schemars::schema_for!(DedupeSummaryFile)).expect("a schema is plain data")
}

/// `summary.json` of a reconciliation.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SummaryFile {
    /// Only a part of the left rows took part; the figures are not those of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleOf>,
    /// The first file.
    pub left: FileCounts,
    /// The second file.
    pub right: FileCounts,
    /// Matches by state and by kind.
    pub matches: MatchCounts,
    /// How the files were read.
    pub reading: Sides<Reading>,
    /// What was compared with what.
    pub comparing: ComparingFile,
    /// Rows without a match that repeat another of their side.
    pub duplicates: u64,
    /// Candidate pairs compared.
    pub pairs_compared: u64,
    /// Rows whose block was too large and was split.
    pub blocks_split: u64,
    /// Derived blocks left out because nearly every row shares their few values.
    pub blocks_left_out: u64,
    /// Searches for sums that ended at the node budget.
    pub sum_searches_cut: u64,
}

/// How large a sample is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleOf {
    /// Left rows that took part.
    pub left_rows: u64,
    /// Left rows of the file.
    pub of: u64,
}

/// The rows of a file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileCounts {
    /// Its name.
    pub file: String,
    /// The column that names its rows; null when they are named by line.
    pub id_column: Option<String>,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that were not.
    pub errors: u64,
    /// Rows without a match.
    pub unmatched: u64,
}

/// Matches counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchCounts {
    /// All of them.
    pub total: u64,
    /// By what is to be done with them.
    pub by_state: StateCounts,
    /// By how many rows of each side they have.
    pub by_kind: KindCounts,
}

/// Matches by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateCounts {
    /// Settled without a person.
    pub auto: u64,
    /// A person should look.
    pub review: u64,
    /// The rows belong together but differ beyond tolerance.
    pub discrepancy: u64,
}

/// Matches by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KindCounts {
    /// One row of each side.
    pub one_to_one: u64,
    /// One left row, several right rows.
    pub one_to_many: u64,
    /// Several left rows, one right row.
    pub many_to_one: u64,
    /// Several and several.
    pub many_to_many: u64,
}

/// Something of both files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sides<T> {
    /// Of the first file.
    pub left: T,
    /// Of the second file.
    pub right: T,
}

/// What was compared.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComparingFile {
    /// The comparisons, in the order of the rules.
    pub compared: Vec<ComparedColumns>,
    /// Columns that took no part.
    pub left_out: Sides<Vec<ColumnLeftOut>>,
    /// The amounts of sums and allocations; null when none are compared.
    pub amount: Option<Sides<String>>,
    /// The dates; null when none are compared.
    pub date: Option<Sides<String>>,
    /// What keeps pairs from being settled without a person.
    pub warnings: Vec<String>,
}

/// One comparison.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ComparedColumns {
    /// What it does.
    pub kind: CompareKind,
    /// Column of the first file.
    pub left: String,
    /// Column of the second file.
    pub right: String,
    /// Why these two; empty for rules by hand.
    pub evidence: String,
}

/// A column that was not compared.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ColumnLeftOut {
    /// The column.
    pub column: String,
    /// Why.
    pub reason: String,
}

/// `summary.json` of a search for duplicates.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupeSummaryFile {
    /// The name of the file.
    pub file: String,
    /// The column that names its rows; null when they are named by line.
    pub id_column: Option<String>,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that were not.
    pub errors: u64,
    /// The clusters.
    pub clusters: ClusterCounts,
    /// Rows in no cluster.
    pub rows_without_like: u64,
    /// Rows in clusters that are no representative.
    pub rows_to_drop: u64,
    /// Pairs above the floor whose clusters were not joined, because their members do not agree.
    pub links_refused: u64,
    /// How the file was read.
    pub reading: Reading,
    /// What was compared.
    pub comparing: DedupeComparingFile,
    /// Candidate pairs compared.
    pub pairs_compared: u64,
    /// Rows whose block was too large and was split.
    pub blocks_split: u64,
    /// Derived blocks left out because nearly every row shares their few values.
    pub blocks_left_out: u64,
}

/// Clusters counted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterCounts {
    /// All of them.
    pub total: u64,
    /// By what is to be done with them.
    pub by_state: ClusterStates,
    /// Rows in clusters.
    pub rows: u64,
    /// Rows of the largest one.
    pub largest: u64,
}

/// Clusters by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClusterStates {
    /// Settled without a person.
    pub auto: u64,
    /// A person should look.
    pub review: u64,
}

/// What was compared within one file.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupeComparingFile {
    /// The comparisons, in the order of the rules.
    pub compared: Vec<ComparedColumns>,
    /// Columns that took no part.
    pub left_out: Vec<ColumnLeftOut>,
    /// What keeps pairs from being settled without a person.
    pub warnings: Vec<String>,
}
