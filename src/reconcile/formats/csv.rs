//! Delimited text of any common dialect: CSV, TSV, semicolons, pipes.
//!
//! Streams: only the head is held, to tell encoding, delimiter and header. Easy to get wrong: a row with a wrong
//! number of fields that spans lines is most likely a stray quote, and then its lines are read again one by one.
use super::detect::{HEAD_BYTES, is_binary};
use super::format::{Format, Heading, Input, Sink};
use super::records::{Record, RecordError, Records, fields};
use super::{ReadError, ReadOptions};
use crate::reading::header::{self, HEAD_ROWS, HeadRow, Layout, unspread};
use encoding_rs::Encoding;
use std::io::{BufReader, Read};

/// Bytes of a column's name.
const MAX_NAME_BYTES: usize = 1 << 10;
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Delimited text.
pub(crate) struct Csv;

impl Format for Csv {
    fn sniff(&self, head: &[u8]) -> bool {
        !is_binary(head)
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let Input { head, rest, options } = file;
        let encoding = encoding(&head, options)?;
        let whole = head.len() < HEAD_BYTES;
        let (delimiter, layout, first) = look(&decoded(&head[..], encoding, whole), whole, options)?;
        check_names(&layout, options)?;
        let text = BufReader::with_capacity(64 << 10, text_of(head.chain(rest), encoding));
        let mut records = Records::new(text, delimiter, options.limits.max_field_bytes);
        let heading = Heading {
            format: "csv".into(),
            encoding: encoding.map_or("UTF-8", Encoding::name).to_owned(),
            delimiter: Some(char::from(delimiter)),
            header_line: layout.header_line,
            skipped_above: layout.header_line.unwrap_or(layout.first_line) - first,
            names: layout.names.clone(),
            warnings: layout.warnings.clone(),
            balance: None,
        };
        sink.heading(heading)?;
        each_row(&mut records, &layout, delimiter, options, sink)?;
        if records.single_byte_lines > 0 && records.multi_byte_lines == 0 {
            sink.encoding(encoding_rs::WINDOWS_1252.name());
        } else if records.single_byte_lines > 0 {
            let lines = records.single_byte_lines;
            sink.warn(format!("{lines} lines are not UTF-8 though others are; they were read as windows-1252"));
        }
        Ok(())
    }
}

fn each_row<R: std::io::BufRead>(
    records: &mut Records<R>,
    layout: &Layout,
    delimiter: u8,
    options: &ReadOptions,
    sink: &mut dyn Sink,
) -> Result<(), ReadError> {
    let width = layout.names.len();
    let mut cells: Vec<String> = Vec::new();
    while let Some(mut record) = records.next().map_err(|error| failed(error, options))? {
        if record.line < layout.first_line {
            continue;
        }
        let mut count = split(&record, delimiter, &mut cells);
        let ragged =
            |cells: &[String]| cells.len() < width || cells[width..].iter().any(|cell| !cell.trim().is_empty());
        if record.unclosed.is_none()
            && record.continued() > 0
            && (ragged(&cells[..count]) || record.swallows(width, delimiter))
        {
            records.split(&mut record);
            count = split(&record, delimiter, &mut cells);
        }
        let cells = &cells[..count];
        if let Some(line) = record.unclosed {
            let begin: String = record.text().chars().take(200).collect();
            sink.bad(
                line,
                "",
                &begin,
                "a quote opens here and is not closed; the lines below it are read on their own",
            )?;
        } else if cells.iter().all(|cell| cell.trim().is_empty())
            && (width > 1 || cells.len() > 1 || record.text().is_empty())
        {
            // An empty line is not worth counting; delimiters alone are a blank row.
            if !record.text().trim().is_empty() {
                sink.blank();
            }
        } else if ragged(cells) {
            let begin: Vec<&str> = cells.iter().take(4).map(String::as_str).collect();
            let begin = begin.join(&char::from(delimiter).to_string());
            let noun = if cells.len() == 1 { "field" } else { "fields" };
            sink.bad(record.line, "", &begin, &format!("{} {noun} where the header has {width}", cells.len()))?;
        } else {
            let row: Vec<&str> = cells[..width].iter().map(|cell| unspread(cell.trim())).collect();
            sink.row(record.line, &row)?;
        }
    }
    Ok(())
}

/// Puts the fields of a record into `cells`, whose strings are used again.
fn split(record: &Record, delimiter: u8, cells: &mut Vec<String>) -> usize {
    let mut count = 0;
    fields(record.text(), delimiter, |cell| {
        match cells.get_mut(count) {
            Some(place) => {
                place.clear();
                place.push_str(cell);
            }
            None => cells.push(cell.to_owned()),
        }
        count += 1;
    });
    count
}

fn failed(error: RecordError, options: &ReadOptions) -> ReadError {
    let name = options.name.clone();
    match error {
        RecordError::Io(source) => ReadError::Io { name, source },
        RecordError::Nul(line) => ReadError::Format {
            name,
            place: format!(", line {line}"),
            reason: "a NUL byte: this is no text, or text in UTF-16 (then say encoding = \"utf-16le\")".into(),
        },
        RecordError::TooLong(line) => {
            let at = format!(", line {line}");
            ReadError::Limit { name, at, limit: "max_field_bytes", value: options.limits.max_field_bytes }
        }
    }
}

/// The encoding to decode with; `None` is UTF-8, and windows-1252 for lines that are not.
fn encoding(head: &[u8], options: &ReadOptions) -> Result<Option<&'static Encoding>, ReadError> {
    if let Some(label) = &options.reading.encoding {
        let known = Encoding::for_label(label.as_bytes());
        return known.map(|known| Some(known).filter(|known| *known != encoding_rs::UTF_8)).ok_or_else(|| {
            ReadError::Format {
                name: options.name.clone(),
                place: String::new(),
                reason: format!("encoding {label:?} is not known"),
            }
        });
    }
    if let Some((known, _)) = Encoding::for_bom(head) {
        return Ok(Some(known).filter(|known| *known != encoding_rs::UTF_8));
    }
    let sample = &head[..head.len().min(4096)];
    let zeros = |from: usize| sample.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (even, odd) = (zeros(0), zeros(1));
    for (many, few, label) in [(odd, even, "utf-16le"), (even, odd, "utf-16be")] {
        if many * 10 >= sample.len() * 3 && few * 10 < many {
            let reason = format!("this is UTF-16 without a byte order mark; say encoding = {label:?} to read it");
            return Err(ReadError::Format { name: options.name.clone(), place: String::new(), reason });
        }
    }
    Ok(None)
}

fn text_of<'a>(reader: impl Read + 'a, encoding: Option<&'static Encoding>) -> Box<dyn Read + 'a> {
    // Without an encoding only a byte order mark is taken off; bytes go through as they are.
    Box::new(encoding_rs_io::DecodeReaderBytesBuilder::new().encoding(encoding).strip_bom(true).build(reader))
}

/// The head as text; the last line is left out when it may be cut.
fn decoded(head: &[u8], encoding: Option<&'static Encoding>, whole: bool) -> Vec<u8> {
    let mut text = Vec::new();
    // Reading from memory cannot fail; malformed bytes are replaced.
    if text_of(head, encoding).read_to_end(&mut text).is_err() {
        text.clear();
    }
    if !whole && let Some(end) = memchr::memrchr2(b'\n', b'\r', &text) {
        text.truncate(end + 1);
    }
    text
}

/// Delimiter and layout, and the first line that counts as part of the file.
fn look(text: &[u8], whole: bool, options: &ReadOptions) -> Result<(u8, Layout, u64), ReadError> {
    let skip = options.reading.skip.unwrap_or(0);
    let chosen = options.reading.delimiter_byte().or(options.delimiter);
    let said = sep_line(text);
    let skip = if said.is_some() { skip.max(1) } else { skip };
    let candidates: Vec<u8> = match chosen.or(said) {
        Some(one) => vec![one],
        None => DELIMITERS.to_vec(),
    };
    let mut best: Option<(u8, Vec<HeadRow>, header::Shape)> = None;
    for delimiter in candidates {
        let rows = head_rows(text, delimiter, skip, options)?;
        let shape = header::shape(&rows);
        if best.as_ref().is_none_or(|(_, _, top)| shape.score > top.score + 1e-9) {
            best = Some((delimiter, rows, shape));
        }
    }
    let Some((delimiter, rows, shape)) = best else {
        return Err(ReadError::Header { name: options.name.clone(), line: 1, reason: "no delimiter".into() });
    };
    if rows.is_empty() && !whole {
        let line = ", line 1".to_owned();
        return Err(ReadError::Limit {
            name: options.name.clone(),
            at: line,
            limit: "max_field_bytes",
            value: options.limits.max_field_bytes,
        });
    }
    let layout = header::find(&rows, &shape, options.reading.header).map_err(|(line, reason)| ReadError::Header {
        name: options.name.clone(),
        line,
        reason,
    })?;
    Ok((delimiter, layout, 1))
}

fn head_rows(text: &[u8], delimiter: u8, skip: u64, options: &ReadOptions) -> Result<Vec<HeadRow>, ReadError> {
    let mut records = Records::new(text, delimiter, options.limits.max_field_bytes);
    let mut rows = Vec::new();
    while rows.len() < HEAD_ROWS {
        let Some(record) = records.next().map_err(|error| failed(error, options))? else { break };
        if record.line > skip {
            let mut cells = Vec::new();
            fields(record.text(), delimiter, |cell| cells.push(cell.to_owned()));
            rows.push(HeadRow { line: record.line, cells });
        }
    }
    Ok(rows)
}

/// `sep=;`, which spreadsheets write above the header.
fn sep_line(text: &[u8]) -> Option<u8> {
    let end = memchr::memchr2(b'\n', b'\r', text)?;
    let line = text[..end].trim_ascii().strip_prefix(b"\"").unwrap_or(text[..end].trim_ascii_end());
    let rest = line.get(..4).filter(|begin| begin.eq_ignore_ascii_case(b"sep=")).map(|_| &line[4..])?;
    match rest {
        [byte] | [byte, b'"'] if byte.is_ascii() && *byte != b'"' => Some(*byte),
        _ => None,
    }
}

pub(super) fn check_names(layout: &Layout, options: &ReadOptions) -> Result<(), ReadError> {
    let name = options.name.clone();
    if layout.names.len() > options.limits.max_columns {
        return Err(ReadError::Limit {
            name,
            at: String::new(),
            limit: "max_columns",
            value: options.limits.max_columns,
        });
    }
    if let Some(long) = layout.names.iter().position(|name| name.len() > MAX_NAME_BYTES) {
        let reason = format!("the name of column {} is longer than {MAX_NAME_BYTES} bytes", long + 1);
        return Err(ReadError::Header { name, line: layout.header_line.unwrap_or(1), reason });
    }
    Ok(())
}
