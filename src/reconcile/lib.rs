//! The matching engine: pure, no I/O of its own.
//!
//! [`profile()`] looks at a file, [`read()`] makes a [`Table`] of it, [`infer_rules`] proposes a [`RuleSet`] for two
//! profiles, [`run()`] finds the matches, [`report`] writes them. In reading order:
mod assign;
mod blocking;
mod bounds;
mod classify;
mod comparing;
mod control;
mod csv_text;
mod equal_rows;
pub mod evaluate;
mod features;
mod formats;
pub mod generate;
mod groups;
mod infer;
mod ingest;
mod levels;
mod lines;
mod model;
mod outcome;
mod plan;
mod profile;
mod reading;
mod recurring;
pub mod report;
mod rules;
mod run;
mod score;
mod settled;
mod stats;
mod table;
mod text;

use reading::{amounts as amount, dates as date};

pub use amount::{DecimalStyle, format as format_minor};
pub use bounds::{MAX_NAME_BYTES, MAX_RECORD_BYTES, Shape, check_bounds};
pub use comparing::{Compared, Comparing, LeftOut};
pub use control::{Cancelled, Control, Phase, Progress, Unattended};
pub use csv_text::{ReadError, ReadLimits, ReadOptions};
pub use date::DateStyle;
pub use infer::{infer_from_tables, infer_rules};
pub use outcome::{
    Break, BreakKind, Candidate, FieldComparison, Match, MatchKind, MatchLine, MatchState, Outcome, Side, Summary,
};
pub use profile::{ColumnProfile, ColumnRole, ColumnType, Profile, SignedBy, profile};
pub use reading::{BalanceProof, ColumnReading, Reading, SideReading, settle};
pub use rules::{
    Assign, Block, BlockKey, BlockWindow, By, Compare, CompareKind, Method, Model, RuleError, RuleSet, RunLimits,
    States, Sums,
};
pub use run::{RunError, run, run_inferred};
pub use table::{Column, MAX_ROW_ERRORS, NO_AMOUNT, NO_DATE, RowError, Table, Typed, read};
