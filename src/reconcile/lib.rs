//! The matching engine: pure, no I/O of its own.
//!
//! [`profile()`] looks at a file, [`read()`] makes a [`Table`] of it, [`infer_rules`] proposes a [`RuleSet`] for two
//! profiles, [`run()`] finds the matches, [`report`] writes them. The shelves, in the order in which rows pass them:
//!
//! - `text`: one way to cut text into comparable pieces, used by all
//! - `formats`: bytes to rows of text, one file per format, told by content
//! - `reading`: what the rows say: header, styles of amounts and dates, roles of columns, proof by balance
//! - `table`: a file in memory, profiled in one pass, then typed column by column
//! - `rules`: what is compared how, and what a result must reach
//! - `infer`: rules from what the files hold, with the evidence for them
//! - `candidates`: which pairs are worth comparing
//! - `compare`: how well two rows agree, one file per kind with its table of levels
//! - `score`: patterns of levels and their weights: how likely a pair is
//! - `assign`: who is whose partner
//! - `groups`: sums of several rows
//! - `classify`: states, explanations and breaks; what nothing may be settled without
//! - `report`: the files that are written
//! - `run`: puts these in order
//! - `dedupe`: the same with one file
//!
//! Beside them: `control` carries progress out and cancellation in, `plan` is a rule set bound to two tables, `outcome` is
//! what a run gives, [`schema`] describes it in JSON Schema, [`generate`] and [`evaluate`] measure the engine.
mod control;
mod text;

mod formats;
mod reading;
mod table;

mod infer;
mod plan;
mod rules;

mod candidates;
mod compare;
mod score;

mod assign;
mod groups;

mod classify;
mod outcome;
pub mod report;
pub mod schema;

mod dedupe;
mod run;

pub mod evaluate;
pub mod generate;

use reading::{amounts as amount, dates as date};

pub use amount::{DecimalStyle, format as format_minor};
pub use control::{Cancelled, Control, Phase, Progress, Unattended};
pub use date::DateStyle;
pub use dedupe::{
    CLUSTERS_HEADER, Cluster, ClusterPair, DEDUPE_ERRORS_HEADER, DedupeSummary, Deduped, MAX_PAIRED_ROWS, Member,
    PAIRS_HEADER, check_dedupe_rules, dedupe, dedupe_rules, dedupe_summary_json, write_deduped,
};
pub use formats::{MAX_NAME_BYTES, MAX_RECORD_BYTES, ReadError, ReadLimits, ReadOptions, Shape, check_bounds};
pub use infer::{Compared, Comparing, LeftOut, infer_from_tables, infer_rules};
pub use outcome::{
    Break, BreakKind, Candidate, FieldComparison, Match, MatchKind, MatchLine, MatchState, Outcome, Said, Side, Summary,
};
pub use reading::{BalanceGap, BalanceProof, ColumnReading, Reading, SideReading, settle};
pub use rules::{
    Assign, Block, BlockKey, BlockWindow, By, Compare, CompareKind, Method, Model, RuleError, RuleSet, RunLimits,
    States, Sums,
};
pub use run::{Estimate, RunError, compare_parts, estimate, inferred_rules, run, run_adjusted, run_inferred};
pub use score::{Part, Parts};
pub use table::{
    Column, ColumnProfile, ColumnRole, ColumnType, MAX_ROW_ERRORS, NO_AMOUNT, NO_DATE, Profile, RowError, SignedBy,
    Table, Typed, profile, read,
};
