//! The formats a file may have, told by content: one file each, and all give the same rows of text.
//!
//! A format knows how its values are laid out, by one trait: whether a file is its own, and the rows of it. What values
//! mean (types, styles, roles) is the business of `reading` and `table`, which go by the rows alone.
mod format;
mod options;

mod bounds;
mod detect;

pub(crate) mod csv;
mod jsonl;
mod records;

mod document;

mod bai2;
mod balances;
mod camt;
mod mt940;
mod ofx;
mod qif;
mod statements;

mod compound;
mod ods;
mod workbook;
mod xls;
mod xlsx;

pub use bounds::{MAX_NAME_BYTES, MAX_RECORD_BYTES, Shape, check_bounds};
pub(crate) use detect::{HEAD_BYTES, is_delimited_text, rows};
pub(crate) use format::{Heading, Sink};
pub(crate) use options::is_missing;
pub use options::{ReadError, ReadLimits, ReadOptions};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod workbook_tests;
