//! Delimited text to records: physical lines put together where a quote spans them.
//!
//! Bounded: a quote that is not closed within some lines or bytes is broken, and reading goes on behind the line
//! where it opened, so that it cannot swallow the rest of a file. Easy to get wrong: `\r`, `\n` and `\r\n` may be
//! mixed, and line numbers count them all.
use std::collections::VecDeque;
use std::io::{self, BufRead};

/// Lines a quoted field may span.
const MAX_QUOTED_LINES: usize = 200;
/// Bytes of a physical line; a longer one has no place in a table.
const MAX_LINE_BYTES: usize = 16 << 20;

/// One record, or what was left of one.
#[derive(Debug)]
pub(crate) struct Record {
    /// The line it begins on.
    pub(crate) line: u64,
    /// The lines it is made of.
    lines: Vec<(u64, String)>,
    /// The line where a quote opens that is never closed; the record ends with it.
    pub(crate) unclosed: Option<u64>,
    text: String,
}

impl Record {
    /// The whole text, lines joined by `\n`.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Lines behind the first.
    pub(crate) fn continued(&self) -> usize {
        self.lines.len().saturating_sub(1)
    }

    /// Whether the lines behind the first look like records of their own, which a stray quote has swallowed.
    pub(crate) fn swallows(&self, width: usize, delimiter: u8) -> bool {
        let inner = self.lines.get(1..).unwrap_or_default();
        let alike = |line: &(u64, String)| memchr::memchr_iter(delimiter, line.1.as_bytes()).count() + 1 >= width;
        width > 2 && inner.len() >= 2 && inner.iter().filter(|line| alike(line)).count() * 2 > inner.len()
    }
}

/// Why no record can be given.
#[derive(Debug)]
pub(crate) enum RecordError {
    Io(io::Error),
    /// A NUL byte on this line.
    Nul(u64),
    /// This line is longer than any line of a table.
    TooLong(u64),
}

/// Reads records from decoded bytes.
pub(crate) struct Records<R> {
    reader: R,
    delimiter: u8,
    line: u64,
    again: VecDeque<(u64, String)>,
    max_quoted_bytes: usize,
    after_cr: bool,
    /// Lines that are no UTF-8 and were read as windows-1252.
    pub(crate) single_byte_lines: u64,
    /// Lines with UTF-8 beyond ASCII.
    pub(crate) multi_byte_lines: u64,
}

impl<R: BufRead> Records<R> {
    pub(crate) fn new(reader: R, delimiter: u8, max_quoted_bytes: usize) -> Self {
        Self {
            reader,
            delimiter,
            line: 0,
            again: VecDeque::new(),
            max_quoted_bytes,
            after_cr: false,
            single_byte_lines: 0,
            multi_byte_lines: 0,
        }
    }

    /// The next record; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, RecordError> {
        let Some((line, first)) = self.line()? else { return Ok(None) };
        let mut state = quote_state(&first, self.delimiter, false);
        if !state {
            return Ok(Some(Record { line, unclosed: None, text: first, lines: Vec::new() }));
        }
        let mut record = Record { line, unclosed: None, text: first.clone(), lines: Vec::new() };
        let mut opened = line;
        let mut bytes = first.len();
        record.lines.push((line, first));
        while state {
            let next = if record.lines.len() > MAX_QUOTED_LINES || bytes > self.max_quoted_bytes {
                None
            } else {
                self.line()?
            };
            let Some((number, text)) = next else {
                self.reopen(&mut record, opened);
                return Ok(Some(record));
            };
            bytes += text.len() + 1;
            state = quote_state(&text, self.delimiter, true);
            if state && text.as_bytes().contains(&b'"') {
                opened = number;
            }
            record.text.push('\n');
            record.text.push_str(&text);
            record.lines.push((number, text));
        }
        Ok(Some(record))
    }

    /// Ends a record on its first line and gives its other lines out again.
    pub(crate) fn split(&mut self, record: &mut Record) {
        let line = record.line;
        self.reopen(record, line);
    }

    fn reopen(&mut self, record: &mut Record, opened: u64) {
        let kept = record.lines.iter().take_while(|(line, _)| *line <= opened).count().max(1);
        for line in record.lines.drain(kept..).rev() {
            self.again.push_front(line);
        }
        record.text = record.lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
        record.unclosed = Some(opened);
    }

    fn line(&mut self) -> Result<Option<(u64, String)>, RecordError> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut bytes = Vec::new();
        let mut any = false;
        loop {
            let buffer = match self.reader.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(RecordError::Io(error)),
            };
            if buffer.is_empty() {
                break;
            }
            if self.after_cr {
                self.after_cr = false;
                if buffer[0] == b'\n' {
                    self.reader.consume(1);
                    continue;
                }
            }
            any = true;
            match memchr::memchr2(b'\n', b'\r', buffer) {
                Some(at) => {
                    bytes.extend_from_slice(&buffer[..at]);
                    self.after_cr = buffer[at] == b'\r';
                    self.reader.consume(at + 1);
                    break;
                }
                None => {
                    bytes.extend_from_slice(buffer);
                    let length = buffer.len();
                    self.reader.consume(length);
                }
            }
            if bytes.len() > MAX_LINE_BYTES {
                return Err(RecordError::TooLong(self.line + 1));
            }
        }
        if !any {
            return Ok(None);
        }
        self.line += 1;
        if memchr::memchr(0, &bytes).is_some() {
            return Err(RecordError::Nul(self.line));
        }
        Ok(Some((self.line, self.decode(bytes))))
    }

    fn decode(&mut self, bytes: Vec<u8>) -> String {
        match String::from_utf8(bytes) {
            Ok(text) => {
                self.multi_byte_lines += u64::from(!text.is_ascii());
                text
            }
            Err(error) => {
                self.single_byte_lines += 1;
                encoding_rs::WINDOWS_1252.decode_without_bom_handling(error.as_bytes()).0.into_owned()
            }
        }
    }
}

/// Whether a quote is open behind this line, when it was or was not before it.
fn quote_state(line: &str, delimiter: u8, open: bool) -> bool {
    let bytes = line.as_bytes();
    if memchr::memchr(b'"', bytes).is_none() {
        return open;
    }
    let (mut at, mut open, mut start) = (0, open, !open);
    while at < bytes.len() {
        if open {
            match memchr::memchr(b'"', &bytes[at..]) {
                None => return true,
                Some(quote) if bytes.get(at + quote + 1) == Some(&b'"') => at += quote + 2,
                Some(quote) => {
                    at += quote + 1;
                    open = false;
                    start = false;
                }
            }
        } else if start && bytes[at] == b'"' {
            open = true;
            at += 1;
        } else {
            match memchr::memchr(delimiter, &bytes[at..]) {
                None => return false,
                Some(next) => {
                    at += next + 1;
                    start = true;
                }
            }
        }
    }
    open
}

/// Cuts a record into its fields; quotes are taken off, and doubled ones stand for one.
pub(crate) fn fields(text: &str, delimiter: u8, mut each: impl FnMut(&str)) {
    let bytes = text.as_bytes();
    if memchr::memchr(b'"', bytes).is_none() {
        let mut start = 0;
        for at in memchr::memchr_iter(delimiter, bytes) {
            each(&text[start..at]);
            start = at + 1;
        }
        return each(&text[start..]);
    }
    let mut at = 0;
    let mut field = String::new();
    loop {
        field.clear();
        if bytes.get(at) == Some(&b'"') {
            at += 1;
            while at < bytes.len() {
                let quote = memchr::memchr(b'"', &bytes[at..]).map_or(bytes.len(), |quote| at + quote);
                field.push_str(&text[at..quote]);
                at = (quote + 1).min(bytes.len());
                if bytes.get(at) != Some(&b'"') || quote == bytes.len() {
                    break;
                }
                field.push('"');
                at += 1;
            }
        }
        let end = memchr::memchr(delimiter, &bytes[at..]).map_or(bytes.len(), |next| at + next);
        field.push_str(&text[at..end]);
        each(&field);
        if end == bytes.len() {
            return;
        }
        at = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(u64, Vec<String>, Option<u64>)> {
        let mut records = Records::new(text.as_bytes(), b',', 1_000);
        let mut out = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let mut cells = Vec::new();
            fields(record.text(), b',', |cell| cells.push(cell.to_owned()));
            out.push((record.line, cells, record.unclosed));
        }
        out
    }

    fn lines(text: &str) -> Vec<u64> {
        all(text).into_iter().map(|(line, _, _)| line).collect()
    }

    #[test]
    fn quotes_may_span_lines_and_line_breaks_may_be_mixed() {
        let got = all("a,b\r\n\"x\ny\",2\r3,\"4 \"\"5\"\"\"\n");
        assert_eq!(got[1], (2, vec!["x\ny".into(), "2".into()], None));
        assert_eq!(got[2], (4, vec!["3".into(), "4 \"5\"".into()], None));
        assert_eq!(lines("a\r\rb\r\n\nc"), [1, 2, 3, 4, 5]);
        assert_eq!(all("\"5\" nails,2")[0].1, ["5 nails", "2"]);
    }

    #[test]
    fn an_unclosed_quote_costs_its_own_line_and_no_other() {
        let got = all("a,b\n1,\"open\n2,x\n3,y\n");
        assert_eq!(got.iter().map(|g| (g.0, g.2)).collect::<Vec<_>>(), [(1, None), (2, Some(2)), (3, None), (4, None)]);
        let long = format!("1,\"open\n{}", "2,x\n".repeat(5_000));
        assert_eq!(lines(&long).len(), 5_001);
    }

    #[test]
    fn fields_are_those_of_the_csv_crate() {
        for text in ["a,b", "\"a,b\",c", "", ",", "\"\"", "\"a\"b,c", "a\"b,c", "\"\"\"\",x", "\"a\"\"\",", "x,\"y\""] {
            let mut own = Vec::new();
            fields(text, b',', |cell| own.push(cell.to_owned()));
            let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
            let theirs: Vec<String> =
                reader.records().flat_map(|r| r.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()).collect();
            assert_eq!(own, if text.is_empty() { vec![String::new()] } else { theirs }, "{text:?}");
        }
    }
}
