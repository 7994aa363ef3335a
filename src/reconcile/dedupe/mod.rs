//! One file against itself: rows that mean the same thing, as clusters with a proposed representative.
mod clusters;
mod pairs;

mod find;
mod write;

pub use find::{
    Cluster, ClusterPair, DedupeSummary, Deduped, MAX_PAIRED_ROWS, Member, check_dedupe_rules, dedupe, dedupe_rules,
};
pub use write::{CLUSTERS_HEADER, DEDUPE_ERRORS_HEADER, PAIRS_HEADER, dedupe_summary_json, write_deduped};
