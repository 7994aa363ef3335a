//! XLSX workbooks.
//!
//! Cells are streamed and the unpacked size is bounded first. Easy to get wrong: dates are day numbers with a style,
//! and numbers are floats whose last digit is noise.
use super::document::failed;
use super::format::{Format, Input, Sink};
use super::workbook::{DAYS_1904, MAX_UNPACKED_BYTES, Sheets, day_text, number_text};
use super::{ReadError, ReadOptions};
use calamine::{DataRef, Reader, SheetType, Xlsx};
use std::borrow::Cow;
use std::io::{Cursor, Read};

/// Excel workbooks.
pub(crate) struct Workbook;

impl Format for Workbook {
    fn sniff(&self, head: &[u8]) -> bool {
        let names: [&[u8]; 3] = [b"[Content_Types].xml", b"xl/", b"_rels/.rels"];
        head.starts_with(b"PK\x03\x04") && names.iter().any(|name| memchr::memmem::find(head, name).is_some())
    }

    fn has_sheets(&self) -> bool {
        true
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let broken = |reason: String| {
            failed(options, String::new(), format!("this is an Excel workbook, and it cannot be read: {reason}"))
        };
        bounded(&bytes).map_err(broken)?;
        let mut book: Xlsx<_> = Xlsx::new(Cursor::new(bytes.as_slice())).map_err(|error| broken(error.to_string()))?;
        let sheets = book.sheets_metadata().iter().filter(|sheet| sheet.typ == SheetType::WorkSheet);
        let names: Vec<String> = sheets.map(|sheet| sheet.name.clone()).collect();
        let mut sheets = Sheets::new(options);
        for name in &names {
            if sheets.wants(name) {
                sheets.begin(name);
                take(&mut book, name, options, &mut sheets)?;
            }
        }
        sheets.give("xlsx", &names, sink)
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

/// The cells of a sheet.
fn take(
    book: &mut Xlsx<Cursor<&[u8]>>,
    name: &str,
    options: &ReadOptions,
    sheets: &mut Sheets<'_>,
) -> Result<(), ReadError> {
    let refused = |error: calamine::XlsxError| failed(options, format!(", sheet {name:?}"), error.to_string());
    let epoch = if book.has_1904_epoch() { DAYS_1904 } else { 0.0 };
    let mut cells = book.worksheet_cells_reader(name).map_err(refused)?;
    while let Some(cell) = cells.next_cell().map_err(refused)? {
        let (row, column) = cell.get_position();
        sheets.cell(row, column as usize, &show(cell.get_value(), epoch))?;
    }
    Ok(())
}

/// `epoch` is the day from which the workbook counts.
fn show<'a>(value: &'a DataRef<'_>, epoch: f64) -> Cow<'a, str> {
    match value {
        DataRef::Empty => Cow::Borrowed(""),
        DataRef::Int(number) => number.to_string().into(),
        DataRef::Float(number) => number_text(*number).into(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.into(),
        DataRef::SharedString(text) => Cow::Borrowed(text),
        DataRef::Bool(yes) => yes.to_string().into(),
        DataRef::DateTime(date) if date.is_datetime() => day_text(date.as_f64() + epoch).into(),
        DataRef::DateTime(date) => number_text(date.as_f64()).into(),
        DataRef::Error(error) => error.to_string().into(),
    }
}
