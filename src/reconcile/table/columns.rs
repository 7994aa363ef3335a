//! A file in memory: typed columns side by side, the raw cells, and the rows that could not be read.
//!
//! A row with a value its column's type cannot hold is a [`RowError`] and not part of the table: it is counted,
//! named by line, and the rest goes on. Easy to get wrong: line numbers are those of the file (quoted line breaks
//! count), row numbers those of the table.
use super::{ColumnProfile, ColumnRole, ColumnType, HeadRows, Profile, SignedBy};
use crate::amount::{self, DecimalStyle};
use crate::date::{self, DateStyle};
use crate::formats::is_missing;
use crate::reading::{ColumnReading, NameHint, Reading};
use crate::text;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

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

impl RowError {
    const MISSING: &str = "missing line(s): the balance does not follow, by ";

    /// Of the value its beginning is kept.
    pub(crate) fn new(line: u64, column: &str, value: &str, reason: &str) -> Self {
        let value = value.chars().take(200).collect();
        Self { line, column: column.to_owned(), value, reason: reason.to_owned() }
    }

    pub(crate) fn missing_line(amount: &str) -> String {
        format!("{}{amount}", Self::MISSING)
    }

    /// Nothing is wrong with a row, but the balances say that rows are missing here.
    pub fn is_missing_line(&self) -> bool {
        self.reason.starts_with(Self::MISSING)
    }
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
    /// Rows that could not be read, and places where a balance says that rows are missing; at most [`MAX_ROW_ERRORS`].
    pub errors: Vec<RowError>,
    /// All rows that could not be read; what is missing is not counted.
    pub error_count: u64,
    /// The user said what the signs are, or that amounts are in minor units: nothing is tried then.
    pub(crate) options_sign: bool,
    pub(crate) options_scale: bool,
    pub(crate) id_column: Option<usize>,
    pub(crate) cells: Cells,
    /// Cells of columns that are not in the file, behind the others.
    pub(crate) derived: Cells,
    pub(crate) lines: Vec<u32>,
}

/// Texts of equal rows, end to end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cells {
    pub(crate) text: String,
    pub(crate) ends: Vec<u32>,
    pub(crate) width: usize,
}

impl Cells {
    pub(crate) fn get(&self, row: usize, column: usize) -> &str {
        let at = row * self.width + column;
        let start = if at == 0 { 0 } else { self.ends[at - 1] as usize };
        &self.text[start..self.ends[at] as usize]
    }

    /// Whether there was room: positions are 32 bits.
    pub(crate) fn push(&mut self, cell: &str) -> bool {
        self.text.push_str(cell);
        match u32::try_from(self.text.len()) {
            Ok(end) => self.ends.push(end),
            Err(_) => return false,
        }
        true
    }

    /// The rows that are not in `bad`, which is in order.
    pub(crate) fn without(&self, bad: &[bool]) -> Self {
        let mut kept = Self {
            text: String::with_capacity(self.text.len()),
            ends: Vec::with_capacity(self.ends.len()),
            width: self.width,
        };
        for (row, _) in bad.iter().enumerate().filter(|(_, bad)| !**bad) {
            for column in 0..self.width {
                // Fits: it is a part of what fitted.
                kept.push(self.get(row, column));
            }
        }
        kept
    }
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
        match column.checked_sub(self.cells.width) {
            None => self.cells.get(row, column),
            Some(derived) => self.derived.get(row, derived),
        }
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

    /// How many rows were left out and the first of them, in a line for a terminal; `None` when all could be read.
    pub fn bad_rows_line(&self) -> Option<String> {
        let first = self.errors.iter().find(|error| !error.is_missing_line())?;
        let place = if first.column.is_empty() { String::new() } else { format!(", column {:?}", first.column) };
        Some(format!(
            "{}: {} bad row(s) left out, first: line {}{place}, value {:?}: {}",
            self.name, self.error_count, first.line, first.value, first.reason
        ))
    }

    /// The name of the id column; `None` when rows are named by line.
    pub fn id_column(&self) -> Option<&str> {
        self.id_column.map(|at| self.columns[at].profile.name.as_str())
    }

    /// What was understood of the file.
    pub fn reading(&self) -> &Reading {
        &self.profile.reading
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

    /// Places among the errors where a balance says that lines are missing.
    pub fn missing_count(&self) -> u64 {
        self.profile.reading.balance.as_ref().map_or(0, |proof| proof.gaps.len() as u64)
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

/// Amounts of a column read in another way.
pub(crate) struct Amounts {
    units: Vec<i64>,
    scale: u8,
}

impl Amounts {
    /// The values in units of `10^-18`, without sign.
    pub(crate) fn magnitudes(&self) -> Vec<u128> {
        let factor = 10_u128.pow(u32::from(amount::MAX_SCALE - self.scale));
        let filled = self.units.iter().filter(|value| **value != NO_AMOUNT && **value != 0);
        filled.map(|value| u128::from(value.unsigned_abs()) * factor).collect()
    }
}

/// What the other file decides is changed after the table was read; see `reading::settle`.
impl Table {
    /// The amounts of a column in another style; `None` when a value is none then.
    pub(crate) fn amounts_in(&self, column: usize, style: DecimalStyle) -> Option<Amounts> {
        let cells = (0..self.len()).map(|row| self.cell(row, column));
        let parsed: Option<Vec<_>> = cells
            .map(|cell| if is_missing(cell) { Some(None) } else { amount::parse_either(cell, style).map(Some) })
            .collect();
        let parsed = parsed?;
        let scale = parsed.iter().flatten().map(|d| d.scale).max().unwrap_or(2).max(2);
        let units =
            parsed.iter().map(|value| value.map_or(Some(NO_AMOUNT), |d| d.at_scale(scale))).collect::<Option<_>>();
        units.map(|units| Amounts { units, scale })
    }

    /// Whole numbers of a column that was not read as amounts, in units of `10^-18` and without sign; `None` when it
    /// holds anything else, or counts, codes or dates by its name.
    pub(crate) fn figures_in(&self, column: usize) -> Option<Vec<u128>> {
        let Column { profile, typed } = &self.columns[column];
        let hint = NameHint::of(&profile.name);
        let may_be = matches!(typed, Typed::Text) && profile.role.is_none() && profile.distinct >= 4;
        if !may_be || hint.code || hint.date || hint.currency {
            return None;
        }
        let whole = |cell: &str| -> Option<u128> {
            let digits = cell.trim_start_matches(['-', '+']);
            // A number that begins with a nought is no amount.
            let figures =
                digits.starts_with(|c: char| c.is_ascii_digit()) && !(digits.len() > 1 && digits.starts_with('0'));
            let value = amount::parse(cell, DecimalStyle::Point).filter(|value| figures && value.scale == 0)?;
            Some(u128::from(value.units.unsigned_abs()) * 10_u128.pow(u32::from(amount::MAX_SCALE)))
        };
        let cells = (0..self.len()).map(|row| self.cell(row, column)).filter(|cell| !is_missing(cell));
        cells.map(whole).collect()
    }

    /// Reads a column of whole numbers as amounts, as the other file says they are.
    pub(crate) fn make_amounts(&mut self, column: usize) {
        let units = (0..self.len()).map(|row| {
            let parsed = amount::parse(self.cell(row, column), DecimalStyle::Point);
            parsed.and_then(|value| value.at_scale(2)).unwrap_or(NO_AMOUNT)
        });
        let units = units.collect();
        let Column { profile, typed } = &mut self.columns[column];
        *typed = Typed::Money { units, scale: 2 };
        profile.kind = ColumnType::Money;
        profile.decimal = Some(DecimalStyle::Point);
        DecimalStyle::Point.describe().clone_into(&mut profile.format);
        let shown = ColumnReading {
            name: profile.name.clone(),
            kind: profile.kind,
            style: profile.format.clone(),
            role: None,
            runner_up: None,
            decided_by: None,
            flipped: false,
            minor_digits: None,
            unread: 0,
        };
        self.profile.columns[column] = profile.clone();
        // In the order of the file, as when the rules name the column.
        let later = |other: &ColumnReading| self.profile.columns[column..].iter().any(|c| c.name == other.name);
        let at = self.profile.reading.columns.iter().position(later);
        let at = at.unwrap_or(self.profile.reading.columns.len());
        self.profile.reading.columns.insert(at, shown);
        if self.id_column == Some(column) {
            // An amount names no row.
            let name = self.profile.id_column().map(str::to_owned);
            self.id_column = name.as_deref().and_then(|name| self.column_index(name));
            self.profile.reading.id_column = name;
        }
    }

    /// Takes those amounts for the column's.
    pub(crate) fn retype_amounts(&mut self, column: usize, style: DecimalStyle, amounts: Amounts) {
        let target = &mut self.columns[column];
        target.typed = Typed::Money { units: amounts.units, scale: amounts.scale };
        let before = std::mem::replace(&mut target.profile.format, style.describe().to_owned());
        target.profile.decimal = Some(style);
        self.restyled(column, before);
    }

    /// The days of a column in a style; [`NO_DATE`] where there is none.
    pub(crate) fn dates_in(&self, column: usize, style: DateStyle) -> Option<Vec<i32>> {
        matches!(self.columns[column].typed, Typed::Date(_)).then(|| {
            (0..self.len())
                .into_par_iter()
                .map(|row| date::parse(self.cell(row, column), style).unwrap_or(NO_DATE))
                .collect()
        })
    }

    /// Reads the dates of a column in another style.
    pub(crate) fn retype_dates(&mut self, column: usize, style: DateStyle) {
        if self.columns[column].profile.date == Some(style) {
            return;
        }
        let Some(days) = self.dates_in(column, style) else { return };
        let lost = (0..self.len()).filter(|row| days[*row] == NO_DATE && !is_missing(self.cell(*row, column))).count();
        let target = &mut self.columns[column];
        target.typed = Typed::Date(days);
        target.profile.date = Some(style);
        target.profile.unread += lost as u64;
        let before = std::mem::replace(&mut target.profile.format, style.describe().to_owned());
        self.restyled(column, before);
        if lost > 0 {
            let name = self.columns[column].profile.name.clone();
            self.warn(format!("column {name:?}: {lost} dates cannot be read as {}", style.describe()));
        }
    }

    /// Says in the reading that a column's style is not the one that stood there.
    fn restyled(&mut self, column: usize, before: String) {
        let ColumnProfile { name, format, unread, .. } = &self.columns[column].profile;
        if let Some(shown) = self.profile.reading.columns.iter_mut().find(|shown| shown.name == *name) {
            shown.style.clone_from(format);
            shown.runner_up = Some(before);
            shown.unread = *unread;
        }
        self.profile.columns[column] = self.columns[column].profile.clone();
    }

    /// Turns the signs of a column round.
    pub(crate) fn flip(&mut self, column: usize) {
        let target = &mut self.columns[column];
        if let Typed::Money { units, .. } = &mut target.typed {
            units.iter_mut().filter(|value| **value != NO_AMOUNT).for_each(|value| *value = -*value);
        }
        target.profile.flipped = !target.profile.flipped;
        self.shown(column, |shown, profile| shown.flipped = profile.flipped);
        self.rewrite_derived(column);
    }

    /// Turns the signs of some rows of a column that is made of two.
    pub(crate) fn turn_rows(&mut self, column: usize, rows: &[bool]) {
        let target = &mut self.columns[column];
        if let Typed::Money { units, .. } = &mut target.typed {
            let turned = units.iter_mut().zip(rows).filter(|(value, turn)| **turn && **value != NO_AMOUNT);
            turned.for_each(|(value, _)| *value = -*value);
        }
        if let Some(SignedBy::Columns { negative, .. }) = &mut target.profile.signed_by {
            *negative = !*negative;
        }
        self.shown(column, |_, _| {});
        self.rewrite_derived(column);
    }

    /// Gives the amounts of some rows a minus, which the words of another column stand for.
    pub(crate) fn sign_by(&mut self, column: usize, flag: usize, went_out: &[bool]) {
        let name = self.columns[flag].profile.name.clone();
        let few = self.columns[flag].profile.distinct <= 2;
        let target = &mut self.columns[column];
        if let Typed::Money { units, .. } = &mut target.typed {
            let out = units.iter_mut().zip(went_out).filter(|(value, out)| **out && **value != NO_AMOUNT);
            out.for_each(|(value, _)| *value = -value.abs());
        }
        target.profile.signed_by = Some(SignedBy::Flag { column: name.clone() });
        self.shown(column, |_, _| {});
        if few {
            // Nothing but the sign: a longer list of words (kinds of booking) may be compared as well.
            let profile = &mut self.columns[flag].profile;
            profile.role = Some(ColumnRole::Flag);
            let shown = ColumnReading {
                name,
                kind: profile.kind,
                style: "text".to_owned(),
                role: profile.role,
                runner_up: None,
                decided_by: Some("the other file".to_owned()),
                flipped: false,
                minor_digits: None,
                unread: 0,
            };
            self.profile.reading.columns.push(shown);
            self.profile.columns[flag] = self.columns[flag].profile.clone();
        }
    }

    /// Reads the whole numbers of a column as units of `10^-digits`.
    pub(crate) fn divide(&mut self, column: usize, digits: u8) {
        if let Typed::Money { units, scale } = &mut self.columns[column].typed {
            let (more, factor) = (digits.min(amount::MAX_SCALE - *scale), 10_i64.pow(u32::from(*scale)));
            // Whole numbers: their fraction digits become those of the minor unit.
            units.iter_mut().filter(|value| **value != NO_AMOUNT).for_each(|value| *value /= factor);
            *scale = more;
            if *scale < 2 {
                let raise = 10_i64.pow(u32::from(2 - *scale));
                units
                    .iter_mut()
                    .filter(|value| **value != NO_AMOUNT)
                    .for_each(|value| *value = value.saturating_mul(raise));
                *scale = 2;
            }
        }
        self.columns[column].profile.minor_digits = Some(digits);
        self.shown(column, |shown, profile| shown.minor_digits = profile.minor_digits);
    }

    /// Closes the open choices of a column.
    pub(crate) fn decided(&mut self, column: usize, by: &str) {
        let profile = &mut self.columns[column].profile;
        profile.date_rivals.clear();
        profile.decimal_open = false;
        self.shown(column, |shown, _| shown.decided_by = Some(by.to_owned()));
    }

    fn shown(&mut self, column: usize, change: impl FnOnce(&mut crate::reading::ColumnReading, &ColumnProfile)) {
        let profile = &self.columns[column].profile;
        if let Some(shown) = self.profile.reading.columns.iter_mut().find(|shown| shown.name == profile.name) {
            change(shown, profile);
        }
        self.profile.columns[column] = profile.clone();
    }

    /// Adds something a person should know.
    pub(crate) fn warn(&mut self, warning: String) {
        self.profile.reading.warnings.push(warning);
    }

    /// Adds a choice that nothing decides.
    pub(crate) fn doubt(&mut self, doubt: String) {
        self.profile.reading.undecided.push(doubt);
    }

    /// Writes the cells of a column that is not in the file from its values.
    pub(crate) fn rewrite_derived(&mut self, column: usize) {
        let Some(_) = column.checked_sub(self.cells.width) else { return };
        let mut derived = Cells { width: self.columns.len() - self.cells.width, ..Cells::default() };
        for row in 0..self.len() {
            for column in &self.columns[self.cells.width..] {
                let cell = match &column.typed {
                    Typed::Money { units, scale } if units[row] != NO_AMOUNT => amount::format(units[row], *scale),
                    _ => String::new(),
                };
                // Fits: an amount is shorter than the two cells it was made of, or as short as a number can be.
                derived.push(&cell);
            }
        }
        self.derived = derived;
    }
}

impl HeadRows for (&Cells, usize) {
    fn rows(&self) -> usize {
        self.1
    }

    fn cell(&self, row: usize, column: usize) -> &str {
        self.0.get(row, column)
    }
}
