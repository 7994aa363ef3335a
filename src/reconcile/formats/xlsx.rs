//! XLSX workbooks: one sheet as a table, its header found as in delimited text.
//!
//! Cells are streamed and the unpacked size is bounded first, because a small archive can hold a giant sheet. Easy to
//! get wrong: dates are day numbers with a style, and numbers are floats whose last digit is noise.
use super::super::csv_text::{ReadError, ReadOptions};
use super::super::reading::header::{self, HEAD_ROWS, HeadRow};
use super::document::{failed, whole};
use super::sheet::{Format, Heading, Sink};
use calamine::{DataRef, Reader, Xlsx};
use std::io::{Cursor, Read};

/// Bytes of everything in a workbook, unpacked.
const MAX_UNPACKED_BYTES: u64 = 512 << 20;

/// Excel workbooks.
pub(crate) struct Workbook;

impl Format for Workbook {
    fn sniff(&self, head: &[u8]) -> bool {
        let names: [&[u8]; 3] = [b"[Content_Types].xml", b"xl/", b"_rels/.rels"];
        head.starts_with(b"PK\x03\x04") && names.iter().any(|name| memchr::memmem::find(head, name).is_some())
    }

    fn rows(
        &self,
        head: Vec<u8>,
        rest: &mut dyn Read,
        options: &ReadOptions,
        sink: &mut dyn Sink,
    ) -> Result<(), ReadError> {
        let bytes = whole(head, rest, options)?;
        let broken = |reason: String| {
            failed(options, String::new(), format!("this is an Excel workbook, and it cannot be read: {reason}"))
        };
        bounded(&bytes).map_err(broken)?;
        let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes.as_slice())).map_err(|error| broken(error.to_string()))?;
        let names = book.sheet_names();
        let candidates: Vec<String> = match &options.reading.sheet {
            Some(name) if !names.contains(name) => {
                return Err(failed(options, String::new(), format!("no sheet {name:?}; it has {}", names.join(", "))));
            }
            Some(name) => vec![name.clone()],
            None => names,
        };
        for name in &candidates {
            let rows = sheet(&mut book, name, options)?;
            if !rows.is_empty() {
                let others: Vec<&str> = candidates.iter().filter(|other| *other != name).map(String::as_str).collect();
                return table(name, &others, &rows, options, sink);
            }
        }
        Err(failed(options, String::new(), "no sheet has a row".into()))
    }
}

/// Unpacks everything into nothing, and stops at the bound.
fn bounded(bytes: &[u8]) -> Result<(), String> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let mut left = MAX_UNPACKED_BYTES;
    for at in 0..archive.len() {
        let entry = archive.by_index(at).map_err(|error| error.to_string())?;
        let read = std::io::copy(&mut entry.take(left + 1), &mut std::io::sink()).map_err(|error| error.to_string())?;
        left = left.checked_sub(read).ok_or_else(|| format!("it holds more than {MAX_UNPACKED_BYTES} bytes"))?;
    }
    Ok(())
}

/// The rows of a sheet; cells that are not there are empty.
fn sheet(book: &mut Xlsx<Cursor<&[u8]>>, name: &str, options: &ReadOptions) -> Result<Vec<HeadRow>, ReadError> {
    let place = || format!(", sheet {name:?}");
    let mut cells = book.worksheet_cells_reader(name).map_err(|error| failed(options, place(), error.to_string()))?;
    let mut rows: Vec<HeadRow> = Vec::new();
    loop {
        let cell = match cells.next_cell() {
            Ok(Some(cell)) => cell,
            Ok(None) => return Ok(rows),
            Err(error) => return Err(failed(options, place(), error.to_string())),
        };
        let (row, column) = cell.get_position();
        let text = show(cell.get_value());
        if text.is_empty() {
            continue;
        }
        let column = column as usize;
        let limit = |limit, value| ReadError::Limit {
            name: options.name.clone(),
            at: format!(", sheet {name:?}, cell {}", address(row, column)),
            limit,
            value,
        };
        if column >= options.limits.max_columns {
            return Err(limit("max_columns", options.limits.max_columns));
        }
        let line = u64::from(row) + 1;
        if rows.last().is_none_or(|last| last.line != line) {
            if rows.len() > options.limits.max_rows {
                return Err(limit("max_rows", options.limits.max_rows));
            }
            rows.push(HeadRow { line, cells: Vec::new() });
        }
        if let Some(last) = rows.last_mut() {
            last.cells.resize(last.cells.len().max(column + 1), String::new());
            last.cells[column] = text;
        }
    }
}

/// `B7`
fn address(row: u32, mut column: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(char::from(b'A' + (column % 26) as u8));
        if column < 26 {
            break;
        }
        column = column / 26 - 1;
    }
    format!("{}{}", letters.iter().rev().collect::<String>(), row + 1)
}

fn show(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Empty => String::new(),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => number_text(*number),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.trim().to_owned(),
        DataRef::SharedString(text) => text.trim().to_owned(),
        DataRef::Bool(yes) => yes.to_string(),
        DataRef::DateTime(date) if date.is_datetime() => day_text(date.as_f64()),
        DataRef::DateTime(date) => number_text(date.as_f64()),
        DataRef::Error(error) => error.to_string(),
    }
}

/// Fifteen digits are what a spreadsheet keeps; behind them a float has noise.
fn number_text(number: f64) -> String {
    let rounded: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    rounded.to_string()
}

/// A day number as `2026-03-05`; the time of day is left out.
fn day_text(serial: f64) -> String {
    let days = serial.floor() as i64 - 25_569;
    let (era, day_of_era) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

fn table(
    name: &str,
    others: &[&str],
    rows: &[HeadRow],
    options: &ReadOptions,
    sink: &mut dyn Sink,
) -> Result<(), ReadError> {
    let skip = options.reading.skip.unwrap_or(0);
    let width = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let head: Vec<HeadRow> =
        rows.iter().filter(|row| row.line > skip).take(HEAD_ROWS).map(|row| even(row, width)).collect();
    let shape = header::shape(&head);
    let layout = header::find(&head, &shape, options.reading.header).map_err(|(line, reason)| ReadError::Header {
        name: options.name.clone(),
        line,
        reason,
    })?;
    let mut warnings = layout.warnings.clone();
    if !others.is_empty() {
        warnings.push(format!("sheet {name:?} is read, and not {}", others.join(", ")));
    }
    sink.heading(Heading {
        format: "xlsx".into(),
        header_line: layout.header_line,
        skipped_above: layout.header_line.unwrap_or(layout.first_line) - 1,
        names: layout.names.clone(),
        warnings,
        ..Heading::default()
    })?;
    let width = layout.names.len();
    for row in rows.iter().filter(|row| row.line >= layout.first_line) {
        if row.cells.len() > width {
            let first: Vec<&str> = row.cells.iter().take(4).map(String::as_str).collect();
            let reason = format!("{} cells where the header has {width}", row.cells.len());
            sink.bad(row.line, &address(row.line as u32 - 1, width), &first.join(" | "), &reason)?;
            continue;
        }
        let row_cells = even(row, width);
        let cells: Vec<&str> = row_cells.cells.iter().map(String::as_str).collect();
        sink.row(row.line, &cells)?;
    }
    Ok(())
}

/// A row with empty cells up to the width.
fn even(row: &HeadRow, width: usize) -> HeadRow {
    let mut row = row.clone();
    row.cells.resize(row.cells.len().max(width), String::new());
    row
}
