//! What every format gives: a heading, then rows of text with the place they come from.
//!
//! Easy to get wrong: a row that cannot be read is given to [`Sink::bad`] and never dropped, so that rows and errors
//! add up to what is in the file.
use super::{ReadError, ReadOptions};
use crate::reading::BalanceProof;
use std::io::Read;

/// The columns of a file and how they were found.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Heading {
    pub(crate) format: String,
    pub(crate) encoding: String,
    pub(crate) delimiter: Option<char>,
    pub(crate) header_line: Option<u64>,
    pub(crate) skipped_above: u64,
    pub(crate) names: Vec<String>,
    pub(crate) warnings: Vec<String>,
    /// What the balances of statements prove; known behind the last row only.
    pub(crate) balance: Option<BalanceProof>,
}

/// Takes the rows of a file in order.
pub(crate) trait Sink {
    /// Comes first, and once.
    fn heading(&mut self, heading: Heading) -> Result<(), ReadError>;

    /// A row of as many cells as the heading has names; `line` grows from row to row.
    fn row(&mut self, line: u64, cells: &[&str]) -> Result<(), ReadError>;

    /// Something that should be a row and is none.
    fn bad(&mut self, line: u64, column: &str, value: &str, reason: &str) -> Result<(), ReadError>;

    /// A row without a value.
    fn blank(&mut self);

    /// The encoding turned out to be another one than the heading says.
    fn encoding(&mut self, name: &str);

    /// What the balances of statements prove.
    fn balance(&mut self, proof: BalanceProof);

    /// Something a person should know.
    fn warn(&mut self, warning: String);
}

/// A file as a format gets it.
pub(crate) struct Input<'a> {
    /// Its beginning, which was looked at already.
    pub(super) head: Vec<u8>,
    /// What comes behind that.
    pub(super) rest: &'a mut dyn Read,
    pub(super) options: &'a ReadOptions,
}

/// One file format. Profiling and typing go by the rows alone, so a format has no part in them.
pub(crate) trait Format: Sync {
    /// Whether a file that begins like this is of the format.
    fn sniff(&self, head: &[u8]) -> bool;

    /// Whether a file may hold several statements, so that one can be asked for.
    fn has_statements(&self) -> bool {
        false
    }

    /// Whether a file may hold several sheets, so that some can be asked for.
    fn has_sheets(&self) -> bool {
        false
    }

    /// Gives the rows of a file.
    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError>;
}
