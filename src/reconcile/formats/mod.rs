//! The formats a file may have, told by content: one file each, and all give the same rows of text.
//!
//! A format knows how its values are laid out; what they mean (types, styles, roles) is the business of `profile`.
mod bai2;
mod balances;
mod camt;
mod compound;
pub(crate) mod csv;
mod detect;
mod document;
mod jsonl;
mod mt940;
mod ods;
mod ofx;
mod qif;
mod records;
mod sheet;
mod statements;
mod workbook;
mod xls;
mod xlsx;

pub(crate) use detect::{HEAD_BYTES, is_delimited_text, rows};
pub(crate) use sheet::{Heading, Sink};

#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod workbook_tests;
