//! Bytes to CSV records: encoding, delimiter, header; and the errors of reading.
//!
//! Leaves types to `profile` and rows to `table`. Easy to get wrong: the delimiter is sniffed from whole records
//! with quotes respected, never from a count of characters.
use super::profile::ColumnType;
use std::borrow::Cow;
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
    /// Bounds; past one the read fails with its name.
    pub limits: ReadLimits,
}

/// Bounds of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimits {
    /// Columns of a file.
    pub max_columns: usize,
    /// Rows of a file.
    pub max_rows: usize,
    /// Bytes of one field; a longer one is a row error (an unclosed quote swallows the rest of a file).
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
    #[error("{name}, line 1: {reason}")]
    Header {
        /// The file.
        name: String,
        /// What is wrong with it.
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
    /// The [`super::Control`] said stop.
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

/// The text of a file and the label of its encoding: a byte order mark decides, else UTF-8 when valid, else windows-1252.
pub(crate) fn decode<'a>(bytes: &'a [u8], options: &ReadOptions) -> Result<(Cow<'a, str>, String), ReadError> {
    let encoding = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None if std::str::from_utf8(bytes).is_ok() => encoding_rs::UTF_8,
        None => encoding_rs::WINDOWS_1252,
    };
    let (text, encoding, _) = encoding.decode(bytes);
    if memchr::memchr(0, &text.as_bytes()[..text.len().min(4096)]).is_some() {
        return Err(ReadError::Header {
            name: options.name.clone(),
            reason: "not a text file (it has NUL bytes)".into(),
        });
    }
    Ok((text, encoding.name().to_owned()))
}

/// The separator with which the first records have the same number of fields, the most fields winning.
pub(crate) fn sniff_delimiter(text: &str) -> u8 {
    let mut best = (0_usize, b',');
    for delimiter in [b',', b';', b'\t', b'|'] {
        let mut reader = reader(text, delimiter);
        let mut widths = reader.records().take(50).filter_map(|r| r.ok().map(|r| r.len()));
        let Some(first) = widths.next() else { continue };
        let (same, total) = widths.fold((1, 1), |(same, total), width| (same + usize::from(width == first), total + 1));
        let score = if first < 2 { 0 } else { 1_000 * same / total * 1_000 + first };
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    best.1
}

pub(crate) fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(text.as_bytes())
}

/// Reads and checks the header.
pub(crate) fn header(reader: &mut csv::Reader<&[u8]>, options: &ReadOptions) -> Result<Vec<String>, ReadError> {
    let fail = |reason: String| ReadError::Header { name: options.name.clone(), reason };
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => {}
        Ok(false) => return Err(fail("the file is empty: a header line is needed".into())),
        Err(error) => return Err(fail(format!("unreadable header: {error}"))),
    }
    if record.len() > options.limits.max_columns {
        let value = options.limits.max_columns;
        return Err(ReadError::Limit { name: options.name.clone(), at: String::new(), limit: "max_columns", value });
    }
    let names: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
    for (at, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(fail(format!("column {} has no name", at + 1)));
        }
        if names[..at].contains(name) {
            return Err(fail(format!("column {name:?} appears twice")));
        }
    }
    Ok(names)
}
