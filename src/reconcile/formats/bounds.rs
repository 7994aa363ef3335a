//! Whether a whole file keeps within its bounds, in one pass whose memory does not grow with the file.
//!
//! For whoever takes a file in and must say no before it is stored; what the values mean is left to `table`. Easy to
//! get wrong: a reader that builds a record before its length is looked at holds the rest of the file when a quote is
//! never closed. So the states of the CSV automaton are counted here, and no field is kept.
use super::{ReadError, ReadOptions};
use crate::formats;
use csv_core::ReadFieldResult;
use std::io::{self, Read};

/// Bytes of a column's name.
pub const MAX_NAME_BYTES: usize = 1024;
/// Bytes of a record's fields together, unless one field alone may have more.
pub const MAX_RECORD_BYTES: usize = 8 << 20;
/// The head in which the delimiter is looked for.
const SNIFF_BYTES: u64 = 1 << 20;
/// Bytes read at once.
const CHUNK: usize = 64 << 10;

/// What [`check_bounds`] found of a file that keeps them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Rows, the header not among them; 0 of a file that is no delimited text.
    pub rows: u64,
    /// The delimiter with which they were counted.
    pub delimiter: u8,
}

/// Counts the rows of a file.
///
/// # Errors
/// [`ReadError::Limit`] names the bound that was passed, with the line on which the field begins where one field or
/// record passed it; [`ReadError::Io`] when the reader failed.
pub fn check_bounds(mut reader: impl Read, options: &ReadOptions) -> Result<Shape, ReadError> {
    let failed = |source| ReadError::Io { name: options.name.clone(), source };
    let mut begin = Vec::new();
    reader.by_ref().take(formats::HEAD_BYTES as u64).read_to_end(&mut begin).map_err(failed)?;
    // Other formats keep their bounds while they are read, and are no text whose fields could be counted.
    if !formats::is_delimited_text(&begin) {
        return Ok(Shape { rows: 0, delimiter: b',' });
    }
    let reader = io::Cursor::new(begin).chain(reader);
    // Encodings other than UTF-16, which has a mark, write delimiters, quotes and line ends as ASCII does.
    let mut text = encoding_rs_io::DecodeReaderBytesBuilder::new().strip_bom(true).build(reader);
    let mut head = Vec::new();
    text.by_ref().take(SNIFF_BYTES).read_to_end(&mut head).map_err(failed)?;
    let delimiter = options.delimiter.unwrap_or_else(|| sniff(&head));
    let mut scan = Scan::new(delimiter, options);
    let mut text = io::Cursor::new(head).chain(text);
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match text.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(failed)?,
        };
        if scan.take(&chunk[..read])? {
            return Ok(Shape { rows: scan.records.saturating_sub(1), delimiter });
        }
    }
}

/// The delimiter, from the whole lines of a head.
fn sniff(head: &[u8]) -> u8 {
    let whole = if head.len() as u64 == SNIFF_BYTES { memchr::memrchr(b'\n', head) } else { None };
    let head = &head[..whole.map_or(head.len(), |at| at + 1)];
    let mut best = (0_usize, b',');
    // The one with which the first records have the same number of fields, the most fields winning.
    for delimiter in [b',', b';', b'\t', b'|'] {
        let mut csv =
            csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(head);
        let mut widths = csv.byte_records().take(50).filter_map(|record| record.ok().map(|record| record.len()));
        let Some(first) = widths.next() else { continue };
        let (same, total) = widths.fold((1, 1), |(same, total), width| (same + usize::from(width == first), total + 1));
        let score = if first < 2 { 0 } else { 1_000 * same / total * 1_000 + first };
        if score > best.0 {
            best = (score, delimiter);
        }
    }
    best.1
}

/// A pass over a file: where it is, and how much of the present field and record it has seen.
struct Scan<'a> {
    options: &'a ReadOptions,
    csv: csv_core::Reader,
    /// Where the automaton puts what it read; looked at for the header only.
    output: Vec<u8>,
    names: Vec<String>,
    /// The present name.
    name: Vec<u8>,
    /// Records that have ended, the header among them.
    records: u64,
    column: usize,
    record_bytes: usize,
    field_bytes: usize,
    /// The line on which the present field begins, and whether by a quote; none between fields.
    opened: Option<(u64, bool)>,
    /// Line ends that the automaton did not see.
    skipped_lines: u64,
}

impl<'a> Scan<'a> {
    fn new(delimiter: u8, options: &'a ReadOptions) -> Self {
        Self {
            options,
            csv: csv_core::ReaderBuilder::new().delimiter(delimiter).build(),
            output: vec![0; CHUNK],
            names: Vec::new(),
            name: Vec::new(),
            records: 0,
            column: 0,
            record_bytes: 0,
            field_bytes: 0,
            opened: None,
            skipped_lines: 0,
        }
    }

    /// Takes the next bytes; none are the end of the file. True when the end was reached.
    fn take(&mut self, mut input: &[u8]) -> Result<bool, ReadError> {
        let end = input.is_empty();
        loop {
            if self.opened.is_none() {
                if self.column == 0 {
                    input = self.skip_line_ends(input);
                }
                match input.first() {
                    Some(first) => self.opened = Some((self.csv.line() + self.skipped_lines, *first == b'"')),
                    None if end => {}
                    None => return Ok(false),
                }
            }
            let (result, used, written) = self.csv.read_field(input, &mut self.output);
            input = &input[used..];
            self.grow(written)?;
            match result {
                ReadFieldResult::InputEmpty if end => {}
                ReadFieldResult::InputEmpty => return Ok(false),
                ReadFieldResult::OutputFull => {}
                ReadFieldResult::Field { record_end } => self.field_ended(record_end)?,
                ReadFieldResult::End => return Ok(true),
            }
        }
    }

    /// Blank lines before a record belong to none; the automaton would pass over them without a word.
    fn skip_line_ends<'b>(&mut self, input: &'b [u8]) -> &'b [u8] {
        let blank = input.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.skipped_lines += memchr::memchr_iter(b'\n', &input[..blank]).count() as u64;
        &input[blank..]
    }

    fn grow(&mut self, written: usize) -> Result<(), ReadError> {
        let limits = self.options.limits;
        self.field_bytes += written;
        self.record_bytes += written;
        if self.records == 0 {
            self.name.extend_from_slice(&self.output[..written]);
            if self.field_bytes > MAX_NAME_BYTES {
                return Err(self.passed("max_name_bytes", MAX_NAME_BYTES));
            }
        }
        if self.field_bytes > limits.max_field_bytes {
            return Err(self.passed("max_field_bytes", limits.max_field_bytes));
        }
        let most = MAX_RECORD_BYTES.max(limits.max_field_bytes);
        if self.record_bytes > most { Err(self.passed("max_record_bytes", most)) } else { Ok(()) }
    }

    fn field_ended(&mut self, record_end: bool) -> Result<(), ReadError> {
        let limits = self.options.limits;
        if self.column >= limits.max_columns {
            return Err(self.passed("max_columns", limits.max_columns));
        }
        if self.records == 0 {
            self.names.push(String::from_utf8_lossy(&self.name).trim().to_owned());
            self.name.clear();
        }
        (self.column, self.field_bytes, self.opened) = (self.column + 1, 0, None);
        if record_end {
            self.records += 1;
            (self.column, self.record_bytes) = (0, 0);
        }
        if self.records > limits.max_rows as u64 + 1 {
            let (at, limit, value) = (String::new(), "max_rows", limits.max_rows);
            return Err(ReadError::Limit { name: self.options.name.clone(), at, limit, value });
        }
        Ok(())
    }

    /// The present field passes a bound.
    fn passed(&self, limit: &'static str, value: usize) -> ReadError {
        let (line, quoted) = self.opened.unwrap_or((self.csv.line() + self.skipped_lines, false));
        let column = match self.names.get(self.column) {
            Some(name) if self.records > 0 => format!("{name:?}"),
            _ => (self.column + 1).to_string(),
        };
        let quote = if quoted { ", where a quote opens" } else { "" };
        let at = format!(", line {line}, column {column}{quote}");
        ReadError::Limit { name: self.options.name.clone(), at, limit, value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReadLimits;
    use std::iter::repeat_n;

    fn checked(text: &[u8], limits: ReadLimits) -> Result<Shape, String> {
        let options = ReadOptions { name: "f.csv".into(), limits, ..ReadOptions::default() };
        check_bounds(text, &options).map_err(|error| error.to_string())
    }

    fn limits() -> ReadLimits {
        ReadLimits { max_columns: 3, max_rows: 4, max_field_bytes: 2_000 }
    }

    /// Text without an end, which counts what was taken of it.
    struct Endless<'a> {
        head: &'a [u8],
        taken: &'a std::cell::Cell<usize>,
    }

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = if self.head.is_empty() {
                buffer.fill(b'a');
                buffer.len()
            } else {
                self.head.read(buffer)?
            };
            self.taken.set(self.taken.get() + read);
            Ok(read)
        }
    }

    #[test]
    fn rows_are_counted_as_a_csv_reader_counts_them() {
        for text in
            ["", "a\n", "a,b\r\n1,2\r\n\r\n3,\"x\ny\"\r\n", "\n\na;b\n1;2\n3;4", "\u{feff}\"a,b\",c\n1,\"\"\"\"\n"]
        {
            let shape = checked(text.as_bytes(), limits()).unwrap();
            let mut csv =
                csv::ReaderBuilder::new().delimiter(shape.delimiter).flexible(true).from_reader(text.as_bytes());
            assert_eq!(shape.rows, csv.byte_records().count() as u64, "{text:?}");
        }
        let utf16: Vec<u8> = "\u{feff}a,b\n1,2\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(checked(&utf16, limits()).unwrap(), Shape { rows: 1, delimiter: b',' });
    }

    #[test]
    fn a_quote_that_is_never_closed_is_refused_where_it_opens_and_costs_no_memory() {
        let taken = std::cell::Cell::new(0);
        let endless = Endless { head: b"id,memo\n1,\"fine\nstill\"\n\n2,\"", taken: &taken };
        let options = ReadOptions { name: "f.csv".into(), limits: limits(), ..ReadOptions::default() };
        let error = check_bounds(endless, &options).unwrap_err().to_string();
        let at = "f.csv, line 5, column \"memo\", where a quote opens: more than max_field_bytes, which is 2000";
        assert_eq!(error, at);
        assert!(taken.get() <= SNIFF_BYTES as usize + 4 * CHUNK, "{} bytes were read", taken.get());
    }

    #[test]
    fn the_header_has_bounds_too() {
        let fits = format!("{},b\n1,2\n", "x".repeat(MAX_NAME_BYTES));
        assert_eq!(checked(fits.as_bytes(), limits()).unwrap().rows, 1);
        let long = format!("a,{}\n1,2\n", "x".repeat(MAX_NAME_BYTES + 1));
        let seen = checked(long.as_bytes(), limits()).unwrap_err();
        assert_eq!(seen, "f.csv, line 1, column 2: more than max_name_bytes, which is 1024");
        let quoted = format!("id,\"{}\n1,2\n", "x".repeat(3 << 20));
        assert!(checked(quoted.as_bytes(), limits()).unwrap_err().contains("max_name_bytes"));
        assert!(checked(b"a,b,c,d\n", limits()).unwrap_err().contains("line 1, column 4: more than max_columns"));
    }

    #[test]
    fn a_record_of_many_small_fields_is_bounded_as_well() {
        let many: String = std::iter::once("a,b\n1").chain(repeat_n(",", 5)).collect();
        let seen = checked(many.as_bytes(), limits()).unwrap_err();
        assert_eq!(seen, "f.csv, line 2, column 4: more than max_columns, which is 3");
        let wide = ReadLimits { max_columns: 512, max_rows: 4, max_field_bytes: 1 << 20 };
        let field = "x".repeat(1 << 20);
        let heavy = format!("a,b\n{}\n", [field.as_str(); 9].join(","));
        assert!(checked(heavy.as_bytes(), wide).unwrap_err().contains("line 2, column 9: more than max_record_bytes"));
        assert!(checked(b"a\n1\n2\n3\n4\n5\n", limits()).unwrap_err().contains("f.csv: more than max_rows"));
        assert_eq!(checked(b"a\n1\n2\n3\n4\n", limits()).unwrap().rows, 4);
    }
}
