//! A file in memory: typed columns side by side, the raw cells, and the rows that could not be read.
//!
//! A row with a value its column's type cannot hold is a [`RowError`] and not part of the table: it is counted,
//! named by line, and the rest goes on. Easy to get wrong: line numbers are those of the file (quoted line breaks
//! count), row numbers those of the table.
use super::amount::{self, Decimal};
use super::control::{Control, Meter, Phase};
use super::csv_text::{self, ReadError, ReadOptions};
use super::date;
use super::profile::{ColumnProfile, ColumnType, Profile, profile_bytes};
use super::text;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use std::io::Read;

/// No amount in this cell.
pub const NO_AMOUNT: i64 = i64::MIN;
/// No date in this cell.
pub const NO_DATE: i32 = i32::MIN;
/// Row errors kept with their text; all are counted.
pub const MAX_ROW_ERRORS: usize = 100_000;

/// A row that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RowError {
    /// Line of the file, from 1.
    pub line: u64,
    /// The column; empty when the whole row is bad.
    pub column: String,
    /// The value that does not fit, or the row's beginning.
    pub value: String,
    /// Why it does not fit.
    pub reason: String,
}

/// The typed values of a column.
#[derive(Clone, Debug)]
pub enum Typed {
    /// Minor units at `scale` fraction digits; [`NO_AMOUNT`] where empty.
    Money {
        /// The values.
        units: Vec<i64>,
        /// Fraction digits.
        scale: u8,
    },
    /// Days since 1970-01-01; [`NO_DATE`] where empty.
    Date(Vec<i32>),
    /// Text and codes have no typed form: use [`Table::cell`].
    Text,
}

/// One column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// As the profile saw it.
    pub profile: ColumnProfile,
    /// Its values.
    pub typed: Typed,
}

/// A file in memory.
#[derive(Clone, Debug)]
pub struct Table {
    /// What errors and reports call it.
    pub name: String,
    /// What the file looks like.
    pub profile: Profile,
    /// The columns, in file order.
    pub columns: Vec<Column>,
    /// Rows that could not be read, at most [`MAX_ROW_ERRORS`].
    pub errors: Vec<RowError>,
    /// All rows that could not be read.
    pub error_count: u64,
    id_column: Option<usize>,
    cells: String,
    ends: Vec<u32>,
    lines: Vec<u32>,
}

impl Table {
    /// Rows that could be read.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// No row could be read.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The raw text of a cell, trimmed.
    pub fn cell(&self, row: usize, column: usize) -> &str {
        let at = row * self.columns.len() + column;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.cells[start..self.ends[at] as usize]
    }

    /// The file line of a row.
    pub fn line(&self, row: usize) -> u64 {
        u64::from(self.lines[row])
    }

    /// The id of a row: its cell in the id column, else its line as `line 7`.
    pub fn id(&self, row: usize) -> std::borrow::Cow<'_, str> {
        match self.id_column {
            Some(column) => self.cell(row, column).into(),
            None => format!("line {}", self.lines[row]).into(),
        }
    }

    /// The name of the id column; `None` when rows are named by line.
    pub fn id_column(&self) -> Option<&str> {
        self.id_column.map(|at| self.columns[at].profile.name.as_str())
    }

    /// The position of a column.
    pub fn column_index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.profile.name == name)
    }

    /// A hash of all cells of each row but its id: equal for duplicates.
    pub(crate) fn content_hashes(&self) -> Vec<u64> {
        let hash = |row| {
            let cells = (0..self.columns.len()).filter(|at| Some(*at) != self.id_column);
            cells.fold(0, |hash, at| text::combine(hash, text::hash(self.cell(row, at))))
        };
        (0..self.len()).into_par_iter().map(hash).collect()
    }

    /// The rank of each row by content, then id: of equal rows the one with the lowest id comes first, wherever it
    /// stands in the file.
    pub(crate) fn content_order(&self, content: &[u64]) -> Vec<u32> {
        let id = |row: u32| self.id_column.map_or("", |column| self.cell(row as usize, column));
        let mut rows: Vec<u32> = (0..self.len() as u32).collect();
        rows.par_sort_unstable_by(|a, b| {
            content[*a as usize].cmp(&content[*b as usize]).then_with(|| id(*a).cmp(id(*b))).then(a.cmp(b))
        });
        let mut rank = vec![0; rows.len()];
        for (at, row) in rows.iter().enumerate() {
            rank[*row as usize] = at as u32;
        }
        rank
    }
}

/// Reads a whole file into a table.
///
/// `profile` decides delimiter and types; `None` profiles the head first.
///
/// # Errors
/// See [`ReadError`]: unusable header, unknown or repeated id, a bound, a bad row in strict mode, cancellation.
pub fn read(
    mut reader: impl Read,
    profile: Option<&Profile>,
    options: &ReadOptions,
    control: &dyn Control,
) -> Result<Table, ReadError> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|source| ReadError::Io { name: options.name.clone(), source })?;
    let profile = match profile {
        Some(profile) => profile.clone(),
        None => {
            let head = &bytes[..bytes.len().min(super::profile::PROFILE_BYTES)];
            let end = if head.len() < bytes.len() {
                memchr::memrchr(b'\n', head).map_or(head.len(), |at| at + 1)
            } else {
                head.len()
            };
            profile_bytes(&head[..end], options)?
        }
    };
    let (content, _) = csv_text::decode(&bytes, options)?;
    let mut builder = Builder::new(profile, options, content.len())?;
    let meter = Meter::start(control, Phase::Ingesting, content.len() as u64, 0).map_err(|_| ReadError::Cancelled)?;
    let mut csv = csv_text::reader(&content, builder.delimiter());
    let header = csv_text::header(&mut csv, options)?;
    builder.check_header(&header)?;
    let mut record = csv::StringRecord::new();
    let mut reported = 0;
    loop {
        let before = csv.position().line();
        match csv.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => builder.row(&record)?,
            Err(error) => builder.bad(before, "", "", &error.to_string())?,
        }
        let at = csv.position().byte();
        if at - reported > 256 << 10 {
            meter.add(at - reported, 0).map_err(|_| ReadError::Cancelled)?;
            reported = at;
        }
    }
    builder.finish()
}

/// Collects rows; typed values are parsed with their own scale and brought to one at the end.
struct Builder<'a> {
    options: &'a ReadOptions,
    profile: Profile,
    money: Vec<Vec<Option<Decimal>>>,
    dates: Vec<Vec<i32>>,
    pending: Vec<Parsed>,
    cells: String,
    ends: Vec<u32>,
    lines: Vec<u32>,
    errors: Vec<RowError>,
    error_count: u64,
}

#[derive(Clone, Copy)]
enum Parsed {
    Money(Option<Decimal>),
    Date(i32),
    Text,
}

impl<'a> Builder<'a> {
    fn new(profile: Profile, options: &'a ReadOptions, bytes: usize) -> Result<Self, ReadError> {
        if u32::try_from(bytes).is_err() {
            return Err(ReadError::Limit {
                name: options.name.clone(),
                at: String::new(),
                limit: "bytes",
                value: u32::MAX as usize,
            });
        }
        let width = profile.columns.len();
        Ok(Self {
            options,
            money: vec![Vec::new(); width],
            dates: vec![Vec::new(); width],
            pending: Vec::with_capacity(width),
            cells: String::with_capacity(bytes),
            ends: Vec::new(),
            lines: Vec::new(),
            errors: Vec::new(),
            error_count: 0,
            profile,
        })
    }

    fn delimiter(&self) -> u8 {
        u8::try_from(self.profile.delimiter).unwrap_or(b',')
    }

    fn check_header(&self, header: &[String]) -> Result<(), ReadError> {
        if header.iter().eq(self.profile.columns.iter().map(|c| &c.name)) {
            return Ok(());
        }
        let reason = "the columns are not those of the profile the file was read with".to_owned();
        Err(ReadError::Header { name: self.options.name.clone(), reason })
    }

    fn bad(&mut self, line: u64, column: &str, value: &str, reason: &str) -> Result<(), ReadError> {
        let value: String = value.chars().take(200).collect();
        if self.options.strict {
            return Err(ReadError::BadRow {
                name: self.options.name.clone(),
                line,
                column: column.to_owned(),
                value,
                reason: reason.to_owned(),
            });
        }
        self.error_count += 1;
        if self.errors.len() < MAX_ROW_ERRORS {
            self.errors.push(RowError { line, column: column.to_owned(), value, reason: reason.to_owned() });
        }
        Ok(())
    }

    fn row(&mut self, record: &csv::StringRecord) -> Result<(), ReadError> {
        let line = record.position().map_or(0, csv::Position::line);
        let width = self.profile.columns.len();
        if record.len() == 1 && record.get(0).is_some_and(|cell| cell.trim().is_empty()) && width > 1 {
            return Ok(());
        }
        if record.len() != width {
            let reason = format!("{} fields where the header has {width}", record.len());
            let begin: Vec<&str> = record.iter().take(4).collect();
            return self.bad(line, "", &begin.join(&self.profile.delimiter.to_string()), &reason);
        }
        if self.lines.len() >= self.options.limits.max_rows {
            let value = self.options.limits.max_rows;
            return Err(ReadError::Limit {
                name: self.options.name.clone(),
                at: String::new(),
                limit: "max_rows",
                value,
            });
        }
        self.pending.clear();
        for (column, cell) in record.iter().enumerate() {
            let cell = cell.trim();
            match parse_cell(cell, &self.profile.columns[column], self.options) {
                Ok(parsed) => self.pending.push(parsed),
                Err(reason) => {
                    let name = self.profile.columns[column].name.clone();
                    return self.bad(line, &name, cell, &reason);
                }
            }
        }
        for (column, parsed) in self.pending.iter().enumerate() {
            match parsed {
                Parsed::Money(value) => self.money[column].push(*value),
                Parsed::Date(day) => self.dates[column].push(*day),
                Parsed::Text => {}
            }
        }
        for cell in record {
            self.cells.push_str(cell.trim());
            // Fits: the whole file was checked to be under 4 GiB and trimming only shortens.
            self.ends.push(self.cells.len() as u32);
        }
        self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
        Ok(())
    }

    fn finish(mut self) -> Result<Table, ReadError> {
        let mut columns = Vec::with_capacity(self.profile.columns.len());
        for (at, profile) in self.profile.columns.iter().enumerate() {
            let typed = match profile.kind {
                ColumnType::Money | ColumnType::Number => {
                    let values = std::mem::take(&mut self.money[at]);
                    let scale = values.iter().flatten().map(|d| d.scale).max().unwrap_or(2).max(2);
                    // A value that overflows at the column's scale was refused when it was parsed.
                    let units = values.iter().map(|v| v.and_then(|d| d.at_scale(scale)).unwrap_or(NO_AMOUNT)).collect();
                    Typed::Money { units, scale }
                }
                ColumnType::Date => Typed::Date(std::mem::take(&mut self.dates[at])),
                ColumnType::Text | ColumnType::Code => Typed::Text,
            };
            columns.push(Column { profile: profile.clone(), typed });
        }
        let mut table = Table {
            name: self.options.name.clone(),
            id_column: None,
            profile: self.profile,
            columns,
            errors: self.errors,
            error_count: self.error_count,
            cells: self.cells,
            ends: self.ends,
            lines: self.lines,
        };
        table.id_column = choose_id(&table, self.options)?;
        Ok(table)
    }
}

fn parse_cell(cell: &str, column: &ColumnProfile, options: &ReadOptions) -> Result<Parsed, String> {
    if cell.len() > options.limits.max_field_bytes {
        return Err(format!("field longer than {} bytes (max_field_bytes)", options.limits.max_field_bytes));
    }
    match column.kind {
        ColumnType::Text | ColumnType::Code => Ok(Parsed::Text),
        ColumnType::Money | ColumnType::Number if csv_text::is_missing(cell) => Ok(Parsed::Money(None)),
        ColumnType::Money | ColumnType::Number => {
            let style = column.decimal.unwrap_or(amount::DecimalStyle::Point);
            let value = amount::parse(cell, style).filter(|d| d.at_scale(amount::MAX_SCALE).is_some());
            value.map(|d| Parsed::Money(Some(d))).ok_or_else(|| format!("not an amount like {}", column.format))
        }
        ColumnType::Date if csv_text::is_missing(cell) => Ok(Parsed::Date(NO_DATE)),
        ColumnType::Date => {
            let style = column.date.unwrap_or(date::DateStyle::YearMonthDay);
            date::parse(cell, style).map(Parsed::Date).ok_or_else(|| format!("not a date like {}", column.format))
        }
    }
}

/// The id column asked for, which must be unique; else the first unique one of the whole file, which the head
/// the profile saw may have promised wrongly.
fn choose_id(table: &Table, options: &ReadOptions) -> Result<Option<usize>, ReadError> {
    if let Some(name) = &options.id_column {
        let column = table.column_index(name).ok_or_else(|| ReadError::NoColumn {
            name: options.name.clone(),
            column: name.clone(),
            available: table.columns.iter().map(|c| c.profile.name.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        return match repeated(table, column) {
            None => Ok(Some(column)),
            Some((first, row)) => Err(ReadError::IdRepeated {
                name: options.name.clone(),
                line: table.line(row),
                column: name.clone(),
                value: table.cell(row, column).to_owned(),
                first_line: table.line(first),
            }),
        };
    }
    // A date, an amount or a free text names no row, though no value of it is seen twice.
    let is_name = |c: &Column| {
        let one_word = c.profile.samples.iter().all(|value| !value.contains(' '));
        c.profile.kind == ColumnType::Code || (c.profile.kind == ColumnType::Text && one_word)
    };
    let columns = table.columns.iter().enumerate().filter(|(_, c)| c.profile.unique && is_name(c));
    Ok(columns.map(|(at, _)| at).find(|at| repeated(table, *at).is_none()))
}

fn repeated(table: &Table, column: usize) -> Option<(usize, usize)> {
    let mut seen = FxHashMap::with_capacity_and_hasher(table.len(), rustc_hash::FxBuildHasher);
    (0..table.len()).find_map(|row| seen.insert(table.cell(row, column), row).map(|first| (first, row)))
}
