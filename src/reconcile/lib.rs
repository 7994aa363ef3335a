//! The matching engine: pure, no I/O of its own.
//!
//! [`profile()`] looks at a file, [`read()`] makes a [`Table`] of it, [`infer_rules`] proposes a [`RuleSet`] for two
//! profiles, [`run()`] finds the matches, [`report`] writes them. In reading order:
mod adjust;
mod assign;
mod blocking;
mod bounds;
mod classify;
mod compare;
mod control;
mod csv_text;
mod dedupe;
mod dry_run;
mod equal_rows;
pub mod evaluate;
mod formats;
pub mod generate;
mod groups;
mod infer;
mod ingest;
mod lines;
mod model;
mod outcome;
mod parts;
mod plan;
mod profile;
mod reading;
mod recurring;
pub mod report;
mod rules;
mod run;
mod sample;
pub mod schema;
mod score;
mod settled;
mod stats;
mod table;
mod text;

use reading::{amounts as amount, dates as date};

pub use amount::{DecimalStyle, format as format_minor};
pub use bounds::{MAX_NAME_BYTES, MAX_RECORD_BYTES, Shape, check_bounds};
pub use control::{Cancelled, Control, Phase, Progress, Unattended};
pub use csv_text::{ReadError, ReadLimits, ReadOptions};
pub use date::DateStyle;
pub use dedupe::{
    CLUSTERS_HEADER, Cluster, ClusterPair, DEDUPE_ERRORS_HEADER, DedupeSummary, Deduped, MAX_PAIRED_ROWS, Member,
    PAIRS_HEADER, check_dedupe_rules, dedupe, dedupe_rules, dedupe_summary_json, write_deduped,
};
pub use dry_run::{Estimate, estimate};
pub use infer::{Compared, Comparing, LeftOut, infer_from_tables, infer_rules};
pub use outcome::{
    Break, BreakKind, Candidate, FieldComparison, Match, MatchKind, MatchLine, MatchState, Outcome, Said, Side, Summary,
};
pub use parts::{Part, Parts};
pub use profile::{ColumnProfile, ColumnRole, ColumnType, Profile, SignedBy, profile};
pub use reading::{BalanceGap, BalanceProof, ColumnReading, Reading, SideReading, settle};
pub use rules::{
    Assign, Block, BlockKey, BlockWindow, By, Compare, CompareKind, Method, Model, RuleError, RuleSet, RunLimits,
    States, Sums,
};
pub use run::{RunError, compare_parts, inferred_rules, run, run_adjusted, run_inferred};
pub use table::{Column, MAX_ROW_ERRORS, NO_AMOUNT, NO_DATE, RowError, Table, Typed, read};
