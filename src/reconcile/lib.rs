//! The matching engine: pure, no I/O of its own.
//!
//! [`profile()`] looks at a file, [`read()`] makes a [`Table`] of it, [`infer_rules`] proposes a [`RuleSet`] for two
//! profiles, [`run()`] finds the matches, [`report`] writes them. In reading order:
mod amount;
mod assign;
mod blocking;
mod bounds;
mod classify;
mod control;
mod csv_text;
mod date;
pub mod evaluate;
mod features;
pub mod generate;
mod infer;
mod levels;
mod lines;
mod model;
mod outcome;
mod plan;
mod profile;
pub mod report;
mod rules;
mod run;
mod score;
mod sums;
mod table;
mod text;

pub use amount::{DecimalStyle, format as format_minor};
pub use bounds::{MAX_NAME_BYTES, MAX_RECORD_BYTES, Shape, check_bounds};
pub use control::{Cancelled, Control, Phase, Progress, Unattended};
pub use csv_text::{ReadError, ReadLimits, ReadOptions};
pub use date::DateStyle;
pub use infer::infer_rules;
pub use outcome::{Break, BreakKind, FieldComparison, Match, MatchKind, MatchLine, MatchState, Outcome, Side, Summary};
pub use profile::{ColumnProfile, ColumnType, Profile, profile};
pub use rules::{
    Assign, Block, BlockKey, BlockWindow, By, Compare, CompareKind, Method, Model, RuleError, RuleSet, RunLimits,
    States, Sums,
};
pub use run::{RunError, run};
pub use table::{Column, MAX_ROW_ERRORS, NO_AMOUNT, NO_DATE, RowError, Table, Typed, read};
