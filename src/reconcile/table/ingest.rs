//! A file to a table: rows are collected as text, profiled, then typed column by column.
//!
//! A row with a value its column's type cannot hold becomes an error and leaves the table, and so do the lines below
//! the last record. Easy to get wrong: rows and errors add up to the records of the file, blank rows apart.
use super::profile::{HEAD_ROWS, assemble};
use super::typing::type_columns;
use super::{
    Cells, Column, ColumnRole, ColumnStats, MAX_ROW_ERRORS, NO_AMOUNT, Profile, RowError, SignedBy, Table, Typed,
    naming,
};
use crate::amount;
use crate::control::{Cancelled, Control, Meter, Phase};
use crate::formats::{self, Heading, ReadError, ReadOptions, Sink};
use crate::reading::{BalanceGap, BalanceProof, STATEMENTS, roles};
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::io::Read;

/// Reads a whole file into a table.
///
/// `profile` decides types and styles; `None` makes one from all rows.
///
/// # Errors
/// See [`ReadError`]: unusable header, unknown or repeated id, a bound, a bad row in strict mode, cancellation.
pub fn read(
    reader: impl Read,
    profile: Option<&Profile>,
    options: &ReadOptions,
    control: &dyn Control,
) -> Result<Table, ReadError> {
    let meter =
        Meter::start(control, Phase::Ingesting, options.size.unwrap_or(0), 0).map_err(|_| ReadError::Cancelled)?;
    let mut rows = Collector::new(options, &meter);
    formats::rows(reader, options, &mut rows)?;
    let Collector { heading, cells, lines, mut errors, mut error_count, blank, .. } = rows;
    let mut profile = match profile {
        Some(profile) => {
            check_columns(&heading, profile, options)?;
            let mut profile = profile.clone();
            profile.reading.balance = heading.balance.or(profile.reading.balance);
            profile
        }
        None => {
            let stats: Vec<ColumnStats> = (0..cells.width)
                .into_par_iter()
                .map(|column| {
                    let mut stats = ColumnStats::default();
                    for row in 0..lines.len() {
                        meter.check_at(row)?;
                        stats.see(cells.get(row, column));
                    }
                    Ok(stats)
                })
                .collect::<Result<_, Cancelled>>()
                .map_err(|_| ReadError::Cancelled)?;
            let head = (&cells, lines.len().min(HEAD_ROWS));
            assemble(heading, stats, &head, lines.len() as u64, options)?
        }
    };
    profile.reading.blank_rows = blank;
    meter.check().map_err(|_| ReadError::Cancelled)?;
    let (mut typed, bad, rounded) = type_columns(&cells, &lines, &profile, &meter).map_err(|_| ReadError::Cancelled)?;
    profile.reading.warnings.extend(rounded);
    let (cells, lines) = leave_out(cells, lines, &mut typed, bad, &mut errors, &mut error_count);
    let strict = if options.strict { errors.iter().min_by_key(|error| error.line) } else { None };
    if let Some(RowError { line, column, value, reason }) = strict.cloned() {
        return Err(ReadError::BadRow { name: options.name.clone(), line, column, value, reason });
    }
    errors.sort_by_key(|error| error.line);
    let last = lines.last().map_or(0, |line| u64::from(*line));
    profile.reading.skipped_below = closing_lines(&mut errors, last);
    meter.check().map_err(|_| ReadError::Cancelled)?;
    finish(profile, typed, cells, lines, errors, error_count, options)
}

fn check_columns(heading: &Heading, profile: &Profile, options: &ReadOptions) -> Result<(), ReadError> {
    let in_file = profile.columns.iter().filter(|c| !matches!(c.signed_by, Some(SignedBy::Columns { .. })));
    if heading.names.iter().eq(in_file.map(|c| &c.name)) {
        return Ok(());
    }
    let reason = "the columns are not those of the profile the file was read with".to_owned();
    Err(ReadError::Header { name: options.name.clone(), line: heading.header_line.unwrap_or(1), reason })
}

/// Takes rows as they come.
struct Collector<'a> {
    options: &'a ReadOptions,
    meter: &'a Meter<'a>,
    heading: Heading,
    cells: Cells,
    lines: Vec<u32>,
    errors: Vec<RowError>,
    error_count: u64,
    blank: u64,
    unmetered: usize,
}

impl<'a> Collector<'a> {
    fn new(options: &'a ReadOptions, meter: &'a Meter<'a>) -> Self {
        Self {
            options,
            meter,
            heading: Heading::default(),
            cells: Cells::default(),
            lines: Vec::new(),
            errors: Vec::new(),
            error_count: 0,
            blank: 0,
            unmetered: 0,
        }
    }

    fn limit(&self, limit: &'static str, value: usize) -> ReadError {
        ReadError::Limit { name: self.options.name.clone(), at: String::new(), limit, value }
    }
}

impl Sink for Collector<'_> {
    fn heading(&mut self, heading: Heading) -> Result<(), ReadError> {
        self.cells.width = heading.names.len();
        self.heading = heading;
        Ok(())
    }

    fn row(&mut self, line: u64, cells: &[&str]) -> Result<(), ReadError> {
        let most = self.options.limits.max_field_bytes;
        if let Some(long) = cells.iter().position(|cell| cell.len() > most) {
            let column = self.heading.names[long].clone();
            return self.bad(line, &column, cells[long], &format!("field longer than {most} bytes (max_field_bytes)"));
        }
        if self.lines.len() >= self.options.limits.max_rows {
            return Err(self.limit("max_rows", self.options.limits.max_rows));
        }
        for cell in cells {
            if !self.cells.push(cell) {
                return Err(self.limit("bytes", u32::MAX as usize));
            }
            self.unmetered += cell.len() + 1;
        }
        self.lines.push(u32::try_from(line).unwrap_or(u32::MAX));
        if self.unmetered > 256 << 10 {
            self.meter.add(self.unmetered as u64, 0).map_err(|_| ReadError::Cancelled)?;
            self.unmetered = 0;
        }
        Ok(())
    }

    fn bad(&mut self, line: u64, column: &str, value: &str, reason: &str) -> Result<(), ReadError> {
        self.error_count += 1;
        if self.errors.len() < MAX_ROW_ERRORS {
            self.errors.push(RowError::new(line, column, value, reason));
        }
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

/// Takes bad rows out of everything.
fn leave_out(
    cells: Cells,
    lines: Vec<u32>,
    typed: &mut [Typed],
    bad: FxHashMap<usize, RowError>,
    errors: &mut Vec<RowError>,
    error_count: &mut u64,
) -> (Cells, Vec<u32>) {
    if bad.is_empty() {
        return (cells, lines);
    }
    let mut is_bad = vec![false; lines.len()];
    *error_count += bad.len() as u64;
    for (row, error) in bad {
        is_bad[row] = true;
        errors.push(error);
    }
    errors.sort_by_key(|error| error.line);
    errors.truncate(MAX_ROW_ERRORS);
    let good = |row: usize| !is_bad[row];
    for typed in typed {
        match typed {
            Typed::Money { units, .. } => {
                *units = units.iter().enumerate().filter(|(row, _)| good(*row)).map(|(_, v)| *v).collect()
            }
            Typed::Date(days) => {
                *days = days.iter().enumerate().filter(|(row, _)| good(*row)).map(|(_, v)| *v).collect()
            }
            Typed::Text => {}
        }
    }
    let kept = lines.iter().enumerate().filter(|(row, _)| good(*row)).map(|(_, line)| *line).collect();
    (cells.without(&is_bad), kept)
}

/// Gives the errors below the last record their reason, and counts them.
fn closing_lines(errors: &mut [RowError], last: u64) -> u64 {
    let mut count = 0;
    for error in errors.iter_mut().filter(|error| error.line > last && last > 0) {
        if error.column.is_empty() && error.reason.contains("where the header has") {
            error.reason = format!("a line below the records, no record itself: {}", error.reason);
        }
        count += u64::from(error.column.is_empty());
    }
    count
}

fn finish(
    profile: Profile,
    typed: Vec<Typed>,
    cells: Cells,
    lines: Vec<u32>,
    errors: Vec<RowError>,
    error_count: u64,
    options: &ReadOptions,
) -> Result<Table, ReadError> {
    let columns = profile.columns.iter().cloned().zip(typed);
    let columns: Vec<Column> = columns.map(|(profile, typed)| Column { profile, typed }).collect();
    let mut table = Table {
        name: options.name.clone(),
        id_column: None,
        profile,
        columns,
        errors,
        error_count,
        options_sign: options.reading.sign.is_some(),
        options_scale: options.reading.scale.is_some(),
        cells,
        derived: Cells::default(),
        lines,
    };
    table.rewrite_derived(table.cells.width);
    prove_balance(&mut table);
    missing_lines(&mut table);
    table.id_column = naming::choose_id(&table, options)?;
    table.profile.reading.id_column = table.id_column().map(str::to_owned);
    Ok(table)
}

/// Names the places where a balance does not follow among the errors. They are no rows of the file and not counted.
fn missing_lines(table: &mut Table) {
    let Some(proof) = &table.profile.reading.balance else { return };
    for gap in &proof.gaps {
        table.errors.push(RowError::new(gap.line, &proof.column, &gap.balance, &RowError::missing_line(&gap.missing)));
    }
    table.errors.sort_by_key(|error| error.line);
    table.errors.truncate(MAX_ROW_ERRORS);
}

/// Follows the balance down the whole file and names the first break.
fn prove_balance(table: &mut Table) {
    if table.profile.reading.balance.as_ref().is_some_and(|proof| proof.column == STATEMENTS) {
        return;
    }
    let Some(proof) = table.profile.reading.balance.take() else { return };
    let money = |column: &Column| match &column.typed {
        Typed::Money { units, scale } => Some((units.clone(), *scale)),
        _ => None,
    };
    let Some(column) = table.column_index(&proof.column) else { return };
    let Some((balance, balance_scale)) = money(&table.columns[column]) else { return };
    let amounts = table
        .columns
        .iter()
        .filter(|c| !matches!(c.profile.role, Some(ColumnRole::Balance | ColumnRole::Debit | ColumnRole::Credit)));
    let wide = |units: &[i64], scale: u8| -> Vec<Option<i128>> {
        let factor = 10_i128.pow(u32::from(amount::MAX_SCALE - scale));
        units.iter().map(|value| (*value != NO_AMOUNT).then(|| i128::from(*value) * factor)).collect()
    };
    let balances = wide(&balance, balance_scale);
    let found = amounts
        .filter_map(money)
        .filter_map(|(units, scale)| roles::walk(&wide(&units, scale), &balances))
        .max_by_key(|walk| walk.holds);
    if let Some(walk) = found {
        let gap = |(row, missing): &(usize, i128)| BalanceGap {
            line: table.line(*row),
            balance: table.cell(*row, column).to_owned(),
            missing: amount::format(i64::try_from(missing / 10_i128.pow(16)).unwrap_or(i64::MAX), 2),
        };
        let gaps: Vec<_> = walk.gaps.iter().map(gap).collect();
        let first_break = gaps.first().map(|gap| format!("line {}, {} missing", gap.line, gap.missing));
        table.profile.reading.balance =
            Some(BalanceProof { holds: walk.holds, breaks: walk.breaks, first_break, gaps, ..proof });
    }
}
