//! The formats a file may have, told by content: one file each, and all give the same rows of text.
//!
//! A format knows how its values are laid out; what they mean (types, styles, roles) is the business of `reading` and `table`.
mod bai2;
mod balances;
mod bounds;
mod camt;
mod compound;
pub(crate) mod csv;
mod detect;
mod document;
mod jsonl;
mod mt940;
mod ods;
mod ofx;
mod options;
mod qif;
mod records;
mod sheet;
mod statements;
mod workbook;
mod xls;
mod xlsx;

pub use bounds::{MAX_NAME_BYTES, MAX_RECORD_BYTES, Shape, check_bounds};
pub(crate) use detect::{HEAD_BYTES, is_delimited_text, rows};
pub(crate) use options::is_missing;
pub use options::{ReadError, ReadLimits, ReadOptions};
pub(crate) use sheet::{Heading, Sink};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod workbook_tests;
