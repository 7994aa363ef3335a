//! A file in memory: profiled in one pass over all its rows, then typed column by column.
mod profile;
mod recent;
mod stats;

mod columns;
mod ingest;
mod naming;
mod sample;
mod typing;

pub(crate) use columns::Cells;
pub use columns::{Column, MAX_ROW_ERRORS, NO_AMOUNT, NO_DATE, RowError, Table, Typed};
pub use ingest::read;
pub(crate) use profile::HeadRows;
pub use profile::{ColumnProfile, ColumnRole, ColumnType, Profile, SignedBy, profile};
pub(crate) use stats::{ColumnStats, Sketches, overlap};
