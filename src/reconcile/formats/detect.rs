//! Which format a file has, by its content: a name or an extension decides nothing.
//!
//! Easy to get wrong: delimited text comes last, because nearly anything could be it; what is certainly no table
//! (a PDF, a picture, an archive) is refused by name.
use super::bai2::Bai2;
use super::camt::Camt;
use super::csv::Csv;
use super::document::failed;
use super::format::{Format, Input, Sink};
use super::jsonl::JsonLines;
use super::mt940::Mt940;
use super::ods::OpenDocument;
use super::ofx::Ofx;
use super::qif::Qif;
use super::xls::OldWorkbook;
use super::xlsx::Workbook;
use super::{ReadError, ReadOptions};
use std::io::Read;

/// Bytes looked at to tell format, encoding, delimiter and header.
pub(crate) const HEAD_BYTES: usize = 256 << 10;

/// In the order they are tried.
const FORMATS: &[&dyn Format] =
    &[&Workbook, &OpenDocument, &OldWorkbook, &Camt, &Ofx, &Mt940, &Qif, &Bai2, &JsonLines, &Csv];

/// Beginnings of files that hold no table, and what they are.
const OTHERS: &[(&[u8], &str)] = &[
    (b"%PDF", "a PDF document; export the statement as CSV, XLSX, CAMT or MT940"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"PAR1", "a Parquet file, which this version does not read; export it as CSV or JSON Lines"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (
        b"PK\x03\x04",
        "a ZIP archive (or a document that is no workbook); unpack it, or save its table as XLSX, ODS or CSV",
    ),
];

/// Gives the rows of a file of any known format.
///
/// # Errors
/// The reader failed, the file is of no known format, or it cannot be read as what it is.
pub(crate) fn rows(mut reader: impl Read, options: &ReadOptions, sink: &mut dyn Sink) -> Result<(), ReadError> {
    let mut head = Vec::new();
    let io = |source| ReadError::Io { name: options.name.clone(), source };
    reader.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(io)?;
    for format in FORMATS {
        if format.sniff(&head) {
            if let Some(wanted) = options.reading.statement.as_deref().filter(|_| !format.has_statements()) {
                let reason = format!("no statement {wanted:?}: only CAMT, MT940, OFX and BAI2 files name theirs");
                return Err(failed(options, String::new(), reason));
            }
            if let Some(wanted) = options.reading.sheet.as_deref().filter(|_| !format.has_sheets()) {
                let reason = format!("no sheet {wanted:?}: this is no workbook (XLSX, XLS, ODS)");
                return Err(failed(options, String::new(), reason));
            }
            return format.rows(Input { head, rest: &mut reader, options }, sink);
        }
    }
    let what = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)).map_or("of no known format", |(_, what)| what);
    Err(failed(options, String::new(), format!("this is {what}")))
}

/// Whether a file that begins so is delimited text, the format of last resort.
pub(crate) fn is_delimited_text(head: &[u8]) -> bool {
    let (last, others) = FORMATS.split_last().expect("there are formats");
    !others.iter().any(|format| format.sniff(head)) && last.sniff(head)
}

/// Whether a file is known to hold no delimited text.
pub(super) fn is_binary(head: &[u8]) -> bool {
    OTHERS.iter().any(|(magic, _)| head.starts_with(magic))
}
