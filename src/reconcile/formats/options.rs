//! The options, bounds and errors of reading, whatever the format.
//!
//! Leaves the formats to `formats`, types and rows to `table`. Easy to get wrong: every error names the
//! file and, where there is one, the line.
use crate::reading::SideReading;
use crate::table::ColumnType;
use std::collections::BTreeMap;

/// How to read a file; everything is sniffed by default.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// What errors call the file.
    pub name: String,
    /// Field separator, sniffed when `None`.
    pub delimiter: Option<u8>,
    /// Column that names a row; the first unique one when `None`.
    pub id_column: Option<String>,
    /// The first bad row fails the read instead of becoming a row error.
    pub strict: bool,
    /// Types that are known; the others are inferred.
    pub types: BTreeMap<String, ColumnType>,
    /// What the user says about the file; what is left out is recognised.
    pub reading: SideReading,
    /// Bounds; past one the read fails with its name.
    pub limits: ReadLimits,
    /// Bytes of the file, where they are known: what progress is measured by.
    pub size: Option<u64>,
}

/// Bounds of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimits {
    /// Columns of a file.
    pub max_columns: usize,
    /// Rows of a file.
    pub max_rows: usize,
    /// Bytes of one field; a longer one is a row error.
    pub max_field_bytes: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { max_columns: 512, max_rows: 50_000_000, max_field_bytes: 64 << 10 }
    }
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            name: "input".into(),
            delimiter: None,
            id_column: None,
            strict: false,
            types: BTreeMap::new(),
            reading: SideReading::default(),
            size: None,
            limits: ReadLimits::default(),
        }
    }
}

/// Why a file could not be read; every text names the file.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The reader failed.
    #[error("read {name}: {source}")]
    Io {
        /// The file.
        name: String,
        /// What the reader said.
        source: std::io::Error,
    },
    /// No header, or a header that cannot be used.
    #[error("{name}, line {line}: {reason}")]
    Header {
        /// The file.
        name: String,
        /// The line of the header, or where it is missing.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is not what it seems, or not of a kind that can be read.
    #[error("{name}{place}: {reason}")]
    Format {
        /// The file.
        name: String,
        /// The place in it, such as `, line 7` or `, sheet "May", cell B7`; empty when it is the whole file.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A column was asked for that the file does not have.
    #[error("{name}: no column {column:?}; it has {available}")]
    NoColumn {
        /// The file.
        name: String,
        /// The column asked for.
        column: String,
        /// The columns there are.
        available: String,
    },
    /// Two rows share an id, so results could not name them.
    #[error("{name}, line {line}, column {column:?}: id {value:?} was already used on line {first_line}")]
    IdRepeated {
        /// The file.
        name: String,
        /// The later line.
        line: u64,
        /// The id column.
        column: String,
        /// The id.
        value: String,
        /// The earlier line.
        first_line: u64,
    },
    /// Strict mode met a bad row.
    #[error("{name}, line {line}, column {column:?}: {value:?}: {reason}")]
    BadRow {
        /// The file.
        name: String,
        /// The line.
        line: u64,
        /// The column, empty when the whole row is bad.
        column: String,
        /// The value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A bound was passed.
    #[error("{name}{at}: more than {limit}, which is {value}")]
    Limit {
        /// The file.
        name: String,
        /// The place in it, such as `, line 7, column "memo"`; empty when the bound is on the whole file.
        at: String,
        /// The bound's name in [`ReadLimits`].
        limit: &'static str,
        /// The bound.
        value: usize,
    },
    /// The [`crate::Control`] said stop.
    #[error("cancelled")]
    Cancelled,
}

/// Empty, or one of the words files write for nothing.
pub(crate) fn is_missing(cell: &str) -> bool {
    match cell.len() {
        0 => true,
        1 => cell == "-",
        2..=4 => ["null", "none", "nan", "n/a", "na", "nil"].iter().any(|word| cell.eq_ignore_ascii_case(word)),
        _ => false,
    }
}
