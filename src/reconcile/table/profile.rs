//! What a file looks like: what was understood of it, and for every column its type, style and a sketch of its values.
//!
//! Looks at every row, in bounded memory: counts of the styles each value fits, samples of the different values chosen
//! by content. A wrong type here is the costliest mistake of the engine: a column is typed only when nearly all its
//! values parse, or when its name says so too.
use super::ColumnStats;
use crate::amount::DecimalStyle;
use crate::date::DateStyle;
use crate::formats::{self, Heading, ReadError, ReadOptions, Sink};
use crate::reading::{BalanceProof, Reading, roles};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// What the values of a column are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnType {
    /// Decimal amounts, kept as exact integers.
    Money,
    /// Other decimals, kept the same way.
    Number,
    /// Calendar days.
    Date,
    /// Words.
    Text,
    /// Identifiers: references, phone numbers, postcodes.
    Code,
}

/// What a column is for, when that is more than its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// Signed amounts that were made of other columns.
    Amount,
    /// Amounts that went out.
    Debit,
    /// Amounts that came in.
    Credit,
    /// Words that say whether an amount went out or came in.
    Flag,
    /// What the account held after the row: it proves the statement and is not compared.
    Balance,
}

impl ColumnRole {
    /// The name as it appears in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::Debit => "debit",
            Self::Credit => "credit",
            Self::Flag => "flag",
            Self::Balance => "balance",
        }
    }
}

/// Where the sign of an amount comes from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignedBy {
    /// The amount is what came in less what went out; the column is not in the file.
    Columns {
        /// Column of what went out.
        debit: String,
        /// Column of what came in.
        credit: String,
        /// The file writes what went out with a minus already.
        negative: bool,
    },
    /// A word in another column says that the amount went out.
    Flag {
        /// That column.
        column: String,
    },
}

/// One column as the profile saw it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ColumnProfile {
    /// The header.
    pub name: String,
    /// The inferred type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// The style in words, e.g. `yyyy-mm-dd` or `1.234,56`; empty for text.
    #[serde(default)]
    pub format: String,
    /// No value seen twice, and none empty.
    pub unique: bool,
    /// Values that are not empty.
    pub non_empty: u64,
    /// Different values.
    #[serde(default)]
    pub distinct: u64,
    /// Mean number of tokens of a value that is not empty.
    #[serde(default)]
    pub tokens: f32,
    /// A few values, the first different ones.
    pub samples: Vec<String>,
    /// The style of decimals, for money and numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimal: Option<DecimalStyle>,
    /// The style of dates, for dates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<DateStyle>,
    /// Orders that would read the dates as well; the other file may decide.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub date_rivals: Vec<DateStyle>,
    /// No value tells `1.234` from `1,234`; the other file may decide.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub decimal_open: bool,
    /// What the column is for, when that is more than its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ColumnRole>,
    /// Where the sign of its amounts comes from, when it is not in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<SignedBy>,
    /// Signs are turned round.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flipped: bool,
    /// Amounts are whole numbers of `10^-minor_digits`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor_digits: Option<u8>,
    /// Values that look like amounts or dates, or should by the column's name, and could not be read.
    #[serde(default)]
    pub unread: u64,
    /// Smallest hashes of the values and of their tokens, with the number of different tokens; see `overlap`.
    #[serde(default)]
    #[schemars(skip)]
    pub(crate) sketch: super::Sketches,
}

impl ColumnProfile {
    /// Whether it says something of its own: debit, credit and flag are in the amount, and a balance follows from it.
    pub(crate) fn is_compared(&self) -> bool {
        self.non_empty > 0 && matches!(self.role, None | Some(ColumnRole::Amount))
    }

    /// Whether its values may name rows: each is there once, and they are words and no text, date or amount.
    pub(crate) fn names_rows(&self) -> bool {
        let short = match self.kind {
            ColumnType::Code => true,
            // `INV/2026/17` is one word of three parts, and a URL one of many.
            ColumnType::Text => {
                self.tokens <= 1.5 || self.samples.iter().all(|value| !value.contains(char::is_whitespace))
            }
            _ => false,
        };
        self.unique && short && self.role.is_none()
    }
}

/// What a file looks like.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Field separator.
    pub delimiter: char,
    /// Encoding label, e.g. `UTF-8` or `windows-1252`.
    pub encoding: String,
    /// Rows the profile looked at.
    pub rows_seen: u64,
    /// What was understood of the file.
    #[serde(default)]
    pub reading: Reading,
    /// The columns, in file order.
    pub columns: Vec<ColumnProfile>,
}

impl Profile {
    /// The column that names a row: the first whose values are single words, each once.
    pub fn id_column(&self) -> Option<&str> {
        self.columns.iter().find(|column| column.names_rows()).map(|column| column.name.as_str())
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|c| c.name == name)
    }
}

/// Looks at a whole file, in bounded memory.
///
/// # Errors
/// The file cannot be read as what it is; see [`ReadError`].
pub fn profile(reader: impl Read, options: &ReadOptions) -> Result<Profile, ReadError> {
    let mut profiler = Profiler {
        options,
        heading: Heading::default(),
        stats: Vec::new(),
        head: Vec::new(),
        head_bytes: 0,
        rows: 0,
        blank: 0,
    };
    formats::rows(reader, options, &mut profiler)?;
    let Profiler { heading, stats, head, rows, blank, .. } = profiler;
    let mut profile = assemble(heading, stats, &Head(&head), rows, options)?;
    profile.reading.blank_rows = blank;
    Ok(profile)
}

/// Rows kept to find out what columns are for, which needs neighbours.
pub(crate) const HEAD_ROWS: usize = 2_000;
const HEAD_BYTES: usize = 4 << 20;

struct Profiler<'a> {
    options: &'a ReadOptions,
    heading: Heading,
    stats: Vec<ColumnStats>,
    head: Vec<Vec<String>>,
    head_bytes: usize,
    rows: u64,
    blank: u64,
}

impl Sink for Profiler<'_> {
    fn heading(&mut self, heading: Heading) -> Result<(), ReadError> {
        self.stats = heading.names.iter().map(|_| ColumnStats::default()).collect();
        self.heading = heading;
        Ok(())
    }

    fn row(&mut self, _: u64, cells: &[&str]) -> Result<(), ReadError> {
        self.rows += 1;
        if self.rows > self.options.limits.max_rows as u64 {
            let (name, value) = (self.options.name.clone(), self.options.limits.max_rows);
            return Err(ReadError::Limit { name, at: String::new(), limit: "max_rows", value });
        }
        for (stats, cell) in self.stats.iter_mut().zip(cells) {
            stats.see(cell);
        }
        if self.head.len() < HEAD_ROWS && self.head_bytes < HEAD_BYTES {
            self.head_bytes += cells.iter().map(|cell| cell.len() + 24).sum::<usize>();
            self.head.push(cells.iter().map(|cell| (*cell).to_owned()).collect());
        }
        Ok(())
    }

    fn bad(&mut self, _: u64, _: &str, _: &str, _: &str) -> Result<(), ReadError> {
        Ok(())
    }

    fn blank(&mut self) {
        self.blank += 1;
    }

    fn encoding(&mut self, name: &str) {
        name.clone_into(&mut self.heading.encoding);
    }

    fn balance(&mut self, proof: BalanceProof) {
        self.heading.balance = Some(proof);
    }

    fn warn(&mut self, warning: String) {
        self.heading.warnings.push(warning);
    }
}

/// The first rows of a file, by row and column.
pub(crate) trait HeadRows {
    fn rows(&self) -> usize;
    fn cell(&self, row: usize, column: usize) -> &str;
}

struct Head<'a>(&'a [Vec<String>]);

impl HeadRows for Head<'_> {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn cell(&self, row: usize, column: usize) -> &str {
        &self.0[row][column]
    }
}

/// The profile of a file of which everything was counted.
pub(crate) fn assemble(
    heading: Heading,
    stats: Vec<ColumnStats>,
    head: &dyn HeadRows,
    rows: u64,
    options: &ReadOptions,
) -> Result<Profile, ReadError> {
    let mut columns: Vec<ColumnProfile> =
        heading.names.iter().zip(stats).map(|(name, stats)| stats.finish(name.clone(), rows, options)).collect();
    let balance = roles::find(&mut columns, head, options)?;
    let mut reading = Reading {
        format: heading.format,
        encoding: heading.encoding.clone(),
        delimiter: heading.delimiter,
        header_line: heading.header_line,
        skipped_above: heading.skipped_above,
        warnings: heading.warnings,
        balance: heading.balance.or(balance),
        ..Reading::default()
    };
    roles::describe(&columns, &mut reading);
    let delimiter = heading.delimiter.unwrap_or(',');
    Ok(Profile { delimiter, encoding: heading.encoding, rows_seen: rows, reading, columns })
}
