//! ODS workbooks (LibreOffice, Google Sheets): the tables of `content.xml`.
//!
//! A reader of its own, because repetitions must be counted before they are written out. Easy to get wrong: a
//! sheet ends in a million repeated empty rows, and a note at a cell has paragraphs as its text has.
use super::document::failed;
use super::format::{Format, Input, Sink};
use super::workbook::{MAX_UNPACKED_BYTES, Sheets, number_text};
use super::{ReadError, ReadLimits};
use quick_xml::events::{BytesStart, Event};
use std::cell::Cell;
use std::io::{BufReader, Cursor, Read};
use std::rc::Rc;

/// What the first entry of the archive says, uncompressed, so that the file can be told by it.
const MIMETYPE: &[u8] = b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet";
/// Nested elements; real files have about ten.
const MAX_DEPTH: usize = 128;
/// Bytes of one element's tag or one text.
const MAX_TOKEN_BYTES: u64 = 16 << 20;
/// Bytes of the manifest.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Rows that a spreadsheet has at most.
const MAX_SHEET_ROWS: u64 = 1 << 20;

/// OpenDocument workbooks.
pub(crate) struct OpenDocument;

type Archive<'a> = zip::ZipArchive<Cursor<&'a [u8]>>;
type Xml<R> = quick_xml::Reader<BufReader<Tokens<R>>>;

impl Format for OpenDocument {
    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(b"PK\x03\x04") && memchr::memmem::find(&head[..head.len().min(256)], MIMETYPE).is_some()
    }

    fn has_sheets(&self) -> bool {
        true
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let broken = |reason: String| {
            failed(options, String::new(), format!("this is an OpenDocument workbook, and it cannot be read: {reason}"))
        };
        let mut archive =
            Archive::new(Cursor::new(bytes.as_slice())).map_err(|error| broken(format!("no archive: {error}")))?;
        if is_encrypted(&mut archive) {
            return Err(broken("it is under a password; save it without one".to_owned()));
        }
        let mut sheets = Sheets::new(options);
        let mut names = Vec::new();
        let content = archive.by_name("content.xml").map_err(|error| broken(format!("content.xml: {error}")))?;
        let since = Rc::new(Cell::new(0));
        let tokens = Tokens { from: content, left: MAX_UNPACKED_BYTES, since: Rc::clone(&since) };
        let xml = Xml::from_reader(BufReader::new(tokens));
        let mut content = Content { xml, since, depth: 0, limits: options.limits };
        content.tables(&mut names, &mut sheets).map_err(|stop| match stop {
            Stop::Bound(error) => error,
            Stop::Broken(reason) => match names.last() {
                Some(name) => failed(options, format!(", sheet {name:?}"), reason),
                None => broken(reason),
            },
        })?;
        sheets.give("ods", &names, sink)
    }
}

fn is_encrypted(archive: &mut Archive<'_>) -> bool {
    let mut manifest = Vec::new();
    // A workbook without a manifest is read all the same, and one that cannot be read says nothing.
    let read =
        archive.by_name("META-INF/manifest.xml").map(|entry| entry.take(MAX_MANIFEST_BYTES).read_to_end(&mut manifest));
    matches!(read, Ok(Ok(_))) && memchr::memmem::find(&manifest, b"encryption-data").is_some()
}

/// Unpacked bytes, with a bound on all of them and on those of one token, which the parser holds as a whole.
struct Tokens<R> {
    from: R,
    left: u64,
    since: Rc<Cell<u64>>,
}

impl<R: Read> Read for Tokens<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.since.set(self.since.get() + read as u64);
        let refuse = |what: String| Err(std::io::Error::other(what));
        match self.left.checked_sub(read as u64) {
            Some(_) if self.since.get() > MAX_TOKEN_BYTES => {
                refuse(format!("a text or element of more than {MAX_TOKEN_BYTES} bytes"))
            }
            Some(left) => {
                self.left = left;
                Ok(read)
            }
            None => refuse(format!("it holds more than {MAX_UNPACKED_BYTES} bytes")),
        }
    }
}

/// Why the tables are not read to their end.
enum Stop {
    Bound(ReadError),
    Broken(String),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Bound(error)
    }
}

impl From<quick_xml::Error> for Stop {
    fn from(error: quick_xml::Error) -> Self {
        Self::Broken(format!("not XML: {error}"))
    }
}

/// `content.xml` as it is read.
struct Content<R> {
    xml: Xml<R>,
    since: Rc<Cell<u64>>,
    depth: usize,
    limits: ReadLimits,
}

/// Where the next row of a sheet stands, and the cells of the present one.
#[derive(Default)]
struct Row {
    at: u64,
    repeated: u64,
    column: usize,
    cells: Vec<(usize, usize, String)>,
}

impl<R: Read> Content<R> {
    /// The next event, without its borrow; counts the depth.
    fn next<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<Event<'b>, Stop> {
        buffer.clear();
        self.since.set(0);
        let event = self.xml.read_event_into(buffer)?;
        match &event {
            Event::Start(_) if self.depth >= MAX_DEPTH => {
                return Err(Stop::Broken("elements are nested too deep".to_owned()));
            }
            Event::Start(_) => self.depth += 1,
            Event::End(_) => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        Ok(event)
    }

    fn tables(&mut self, names: &mut Vec<String>, sheets: &mut Sheets<'_>) -> Result<(), Stop> {
        let mut buffer = Vec::new();
        let mut row: Option<Row> = None;
        loop {
            match self.next(&mut buffer)? {
                Event::Start(start) if start.local_name().into_inner() == "table" => {
                    let name = attribute(&start, "table:name").unwrap_or_default();
                    let wanted = sheets.wants(&name);
                    if wanted {
                        sheets.begin(&name);
                    }
                    names.push(name);
                    row = wanted.then(Row::default);
                    if !wanted {
                        self.skip()?;
                    }
                }
                Event::End(end) if end.local_name().into_inner() == "table" => row = None,
                Event::Start(start) if start.local_name().into_inner() == "table-row" => {
                    if let Some(row) = &mut row {
                        row.repeated = repeated(&start, "table:number-rows-repeated");
                        row.column = 0;
                    }
                }
                Event::Empty(start) if start.local_name().into_inner() == "table-row" => {
                    if let Some(row) = &mut row {
                        row.at += repeated(&start, "table:number-rows-repeated");
                    }
                }
                Event::End(end) if end.local_name().into_inner() == "table-row" => {
                    if let Some(row) = &mut row {
                        row.give(sheets)?;
                    }
                }
                Event::Empty(start) if is_cell(&start) => {
                    if let Some(row) = &mut row {
                        row.cell(&start, String::new());
                    }
                }
                Event::Start(start) if is_cell(&start) => {
                    let start = start.into_owned();
                    let text = self.cell_text()?;
                    if let Some(row) = &mut row {
                        row.cell(&start, text);
                    }
                }
                Event::Eof if self.depth > 0 => {
                    return Err(Stop::Broken("content.xml ends inside of an element".to_owned()));
                }
                Event::Eof => return Ok(()),
                _ => {}
            }
        }
    }

    /// Passes over the rest of the element that was opened last.
    fn skip(&mut self) -> Result<(), Stop> {
        let (outside, mut buffer) = (self.depth - 1, Vec::new());
        while self.depth > outside {
            if let Event::Eof = self.next(&mut buffer)? {
                return Err(Stop::Broken("content.xml ends inside of an element".to_owned()));
            }
        }
        Ok(())
    }

    /// The paragraphs of a cell, up to its end; what is drawn or noted at it is left out.
    fn cell_text(&mut self) -> Result<String, Stop> {
        let (outside, mut buffer) = (self.depth - 1, Vec::new());
        let (mut text, mut paragraphs) = (String::new(), 0);
        loop {
            match self.next(&mut buffer)? {
                Event::Start(start) => match start.local_name().into_inner() {
                    "p" | "h" if self.depth == outside + 2 => {
                        if paragraphs > 0 {
                            text.push(' ');
                        }
                        paragraphs += 1;
                    }
                    "span" | "a" => {}
                    "s" | "tab" | "line-break" => text.push(' '),
                    _ => self.skip()?,
                },
                Event::Empty(start) if matches!(start.local_name().into_inner(), "s" | "tab" | "line-break") => {
                    text.push(' ');
                }
                // One that is too long already is refused for it.
                _ if text.len() > self.limits.max_field_bytes && self.depth > outside => {}
                Event::Text(part) if self.depth > outside + 1 => text.push_str(&part.into_inner()),
                Event::CData(part) if self.depth > outside + 1 => text.push_str(&part.into_inner()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(c)) => text.push(c),
                    _ => text.push_str(match &*reference.into_inner() {
                        "amp" => "&",
                        "lt" => "<",
                        "gt" => ">",
                        "quot" => "\"",
                        "apos" => "'",
                        _ => "",
                    }),
                },
                Event::End(_) if self.depth == outside => return Ok(text),
                Event::Eof => return Err(Stop::Broken("content.xml ends inside of a cell".to_owned())),
                _ => {}
            }
        }
    }
}

fn is_cell(start: &BytesStart<'_>) -> bool {
    matches!(start.local_name().into_inner(), "table-cell" | "covered-table-cell")
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = start.try_get_attribute(name).ok()??;
    attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).ok().map(|value| value.into_owned())
}

/// How often a row or cell stands there; once when that cannot be read.
fn repeated(start: &BytesStart<'_>, name: &str) -> u64 {
    attribute(start, name).and_then(|count| count.parse().ok()).unwrap_or(1).clamp(1, MAX_SHEET_ROWS)
}

impl Row {
    /// Takes a cell by its type; of an empty one only the place.
    fn cell(&mut self, start: &BytesStart<'_>, text: String) {
        let given = |name: &str| attribute(start, name);
        let value = match given("office:value-type").as_deref() {
            Some("float" | "currency" | "percentage") => {
                given("office:value").map(|value| value.parse().map_or(value, number_text))
            }
            Some("date") => given("office:date-value").map(|value| match value.split_once('T') {
                Some((day, _)) => day.to_owned(),
                None => value,
            }),
            Some("boolean") => given("office:boolean-value"),
            Some("string") => given("office:string-value"),
            _ => None,
        };
        let value = value.unwrap_or(text);
        let count = repeated(start, "table:number-columns-repeated") as usize;
        if !value.trim().is_empty() {
            self.cells.push((self.column, count, value));
        }
        self.column = self.column.saturating_add(count);
    }

    /// Gives the cells, as often as the row is repeated.
    fn give(&mut self, sheets: &mut Sheets<'_>) -> Result<(), ReadError> {
        let cells = std::mem::take(&mut self.cells);
        if !cells.is_empty() {
            for row in self.at..self.at + self.repeated {
                for (first, count, value) in &cells {
                    for column in *first..first + count {
                        sheets.cell(u32::try_from(row).unwrap_or(u32::MAX), column, value)?;
                    }
                }
            }
        }
        self.at += self.repeated;
        Ok(())
    }
}
