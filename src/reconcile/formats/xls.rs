//! XLS workbooks of Excel 5 to 2003: records of the stream `Workbook` in a compound file.
//!
//! A reader of its own, because cells must be counted while they come: calamine makes a dense table of what a file
//! declares, and trusts every length. Easy to get wrong: a text that goes on in a `CONTINUE` record begins there with
//! a byte that says anew how wide its characters are.
use super::ReadError;
use super::compound::{Compound, MAGIC};
use super::document::failed;
use super::format::{Format, Input, Sink};
use super::workbook::{DAYS_1904, MAX_UNPACKED_BYTES, Sheets, day_text, number_text};
use encoding_rs::Encoding;

/// Old Excel workbooks.
pub(crate) struct OldWorkbook;

impl Format for OldWorkbook {
    fn sniff(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn has_sheets(&self) -> bool {
        true
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let refused = |reason: String| failed(options, String::new(), reason);
        let broken =
            |reason: String| refused(format!("this is an old Excel workbook, and it cannot be read: {reason}"));
        let file = Compound::open(&bytes)
            .map_err(|reason| refused(format!("this is an old Office document, and it cannot be read: {reason}")))?;
        let Some(stream) = file.stream("Workbook").or_else(|| file.stream("Book")) else {
            let what = if file.has("EncryptedPackage") {
                "this is a workbook under a password; save it without one"
            } else {
                "this is an old Office document without a workbook; save its table as XLSX or CSV"
            };
            return Err(refused(what.to_owned()));
        };
        let stream = stream.map_err(broken)?;
        let book = Book::read(&stream).map_err(broken)?;
        let names: Vec<String> = book.sheets.iter().map(|(name, _)| name.clone()).collect();
        let mut sheets = Sheets::new(options);
        for (name, at) in &book.sheets {
            if sheets.wants(name) {
                sheets.begin(name);
                book.take(&stream, *at, &mut sheets).map_err(|error| match error {
                    Stop::Bound(error) => error,
                    Stop::Broken(reason) => failed(options, format!(", sheet {name:?}"), reason),
                })?;
            }
        }
        sheets.give("xls", &names, sink)
    }
}

/// Why a sheet is not read to its end.
enum Stop {
    Bound(ReadError),
    Broken(String),
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Bound(error)
    }
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

/// A record with those that continue it.
struct Record<'a> {
    kind: u16,
    parts: Vec<&'a [u8]>,
}

impl<'a> Record<'a> {
    fn data(&self) -> &'a [u8] {
        self.parts[0]
    }

    fn cut(&self) -> String {
        format!("a record of type {:#06x} is too short", self.kind)
    }

    fn bytes<const N: usize>(&self, at: usize) -> Result<[u8; N], String> {
        self.data().get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or_else(|| self.cut())
    }

    fn u16(&self, at: usize) -> Result<u16, String> {
        self.bytes(at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Result<u32, String> {
        self.bytes(at).map(u32::from_le_bytes)
    }
}

/// The records from a place on; the stream may end anywhere between two.
struct Records<'a> {
    stream: &'a [u8],
    at: usize,
}

impl<'a> Records<'a> {
    const CONTINUE: u16 = 0x003c;

    fn peek(&self) -> Result<Option<(u16, &'a [u8])>, String> {
        let rest = self.stream.get(self.at..).unwrap_or_default();
        let Some(head) = rest.first_chunk::<4>() else { return Ok(None) };
        let (kind, length) = (u16::from_le_bytes([head[0], head[1]]), u16::from_le_bytes([head[2], head[3]]));
        let data = rest.get(4..4 + usize::from(length)).ok_or("its records are cut off")?;
        Ok(Some((kind, data)))
    }

    fn next(&mut self) -> Result<Option<Record<'a>>, String> {
        let Some((kind, data)) = self.peek()? else { return Ok(None) };
        self.at += 4 + data.len();
        let mut parts = vec![data];
        while let Some((Self::CONTINUE, more)) = self.peek()? {
            self.at += 4 + more.len();
            parts.push(more);
        }
        Ok(Some(Record { kind, parts }))
    }
}

/// What the workbook says once for all sheets.
struct Book {
    sheets: Vec<(String, usize)>,
    texts: Vec<String>,
    /// By cell style: whether its numbers are days.
    is_day: Vec<bool>,
    since_1904: bool,
    /// BIFF8, the records of Excel 97 and later.
    wide: bool,
    encoding: &'static Encoding,
}

impl Book {
    fn read(stream: &[u8]) -> Result<Self, String> {
        let mut book = Self {
            sheets: Vec::new(),
            texts: Vec::new(),
            is_day: Vec::new(),
            since_1904: false,
            wide: true,
            encoding: encoding_rs::WINDOWS_1252,
        };
        let mut formats: Vec<(u16, bool)> = Vec::new();
        let mut styles: Vec<u16> = Vec::new();
        let mut records = Records { stream, at: 0 };
        while let Some(record) = records.next()? {
            match record.kind {
                0x0809 => {
                    let version = record.u16(0)?;
                    book.wide = version >= 0x0600;
                    if version < 0x0500 {
                        return Err("it is of Excel 4 or older; save it as XLSX".to_owned());
                    }
                }
                0x002f => return Err("it is under a password; save it without one".to_owned()),
                0x0042 => book.encoding = code_page(record.u16(0)?),
                0x0022 => book.since_1904 = record.u16(0)? == 1,
                0x041e => {
                    let mut text = Text::new(&record, 2);
                    let length = if book.wide { text.u16()? } else { u16::from(text.u8()?) };
                    let format = text.chars(usize::from(length), book.wide, book.encoding)?;
                    formats.push((record.u16(0)?, is_day_format(&format)));
                }
                0x00e0 => styles.push(record.u16(2)?),
                0x0085 => {
                    let [kind] = record.bytes(5)?;
                    let mut text = Text::new(&record, 6);
                    let length = usize::from(text.u8()?);
                    let name = text.chars(length, book.wide, book.encoding)?.replace('\0', "");
                    // Charts and macros are no sheets of cells.
                    if kind == 0 {
                        book.sheets.push((name, record.u32(0)? as usize));
                    }
                }
                0x00fc => book.texts = shared_texts(&record)?,
                0x000a => break,
                _ => {}
            }
        }
        book.is_day = styles
            .iter()
            .map(|style| {
                let own = formats.iter().rev().find(|(id, _)| id == style).map(|(_, day)| *day);
                // Built in are 14 to 17 and 22, and those of East Asian calendars.
                own.unwrap_or(matches!(style, 14..=17 | 22 | 27..=31 | 36 | 50..=54 | 57 | 58))
            })
            .collect();
        Ok(book)
    }

    fn number(&self, value: f64, style: u16) -> String {
        match self.is_day.get(usize::from(style)) {
            Some(true) => day_text(value + if self.since_1904 { DAYS_1904 } else { 0.0 }),
            _ => number_text(value),
        }
    }

    /// The cells of the sheet whose records begin there.
    fn take(&self, stream: &[u8], at: usize, sheets: &mut Sheets<'_>) -> Result<(), Stop> {
        let mut records = Records { stream, at };
        // Charts within a sheet have records of cells as well.
        let mut depth = 0_usize;
        let mut formula = (0, 0);
        while let Some(record) = records.next()? {
            match record.kind {
                0x0809 => depth += 1,
                0x000a if depth <= 1 => return Ok(()),
                0x000a => depth -= 1,
                _ if depth > 1 => {}
                0x0207 => {
                    let mut text = Text::new(&record, 0);
                    let length = usize::from(text.u16()?);
                    let value = text.chars(length, self.wide, self.encoding)?;
                    sheets.cell(formula.0, formula.1, &value)?;
                }
                0x00bd => {
                    let (row, first) = (record.u16(0)?, record.u16(2)?);
                    let cells = record.data().len().saturating_sub(6) / 6;
                    for at in 0..cells {
                        let value = packed(record.u32(6 + 6 * at)?);
                        let text = self.number(value, record.u16(4 + 6 * at)?);
                        sheets.cell(u32::from(row), usize::from(first) + at, &text)?;
                    }
                }
                0x0203 | 0x0204 | 0x00d6 | 0x0205 | 0x0006 | 0x027e | 0x00fd => {
                    formula = (u32::from(record.u16(0)?), usize::from(record.u16(2)?));
                    let text = self.value(&record)?;
                    sheets.cell(formula.0, formula.1, &text)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn value(&self, record: &Record<'_>) -> Result<String, String> {
        let style = record.u16(4)?;
        Ok(match record.kind {
            0x0203 => self.number(f64::from_le_bytes(record.bytes(6)?), style),
            0x027e => self.number(packed(record.u32(6)?), style),
            0x0205 => {
                let [value, is_error] = record.bytes(6)?;
                flag_or_error(value, is_error == 1)
            }
            0x00fd => self.texts.get(record.u32(6)? as usize).cloned().unwrap_or_default(),
            0x0006 => match record.bytes::<8>(6)? {
                // A text follows in a record of its own.
                [0 | 3, .., 0xff, 0xff] => String::new(),
                [kind, _, value, .., 0xff, 0xff] => flag_or_error(value, kind == 2),
                value => self.number(f64::from_le_bytes(value), style),
            },
            _ => {
                let mut text = Text::new(record, 6);
                let length = usize::from(text.u16()?);
                text.chars(length, self.wide, self.encoding)?
            }
        })
    }
}

fn flag_or_error(value: u8, is_error: bool) -> String {
    let text = match (is_error, value) {
        (false, 0) => "false",
        (false, _) => "true",
        (true, 0x00) => "#NULL!",
        (true, 0x07) => "#DIV/0!",
        (true, 0x0f) => "#VALUE!",
        (true, 0x17) => "#REF!",
        (true, 0x1d) => "#NAME?",
        (true, 0x24) => "#NUM!",
        (true, _) => "#N/A",
    };
    text.to_owned()
}

/// A number in 30 bits: whole or the upper half of a float, and perhaps in hundredths.
fn packed(bits: u32) -> f64 {
    let value = if bits & 2 == 0 { f64::from_bits(u64::from(bits & !3) << 32) } else { f64::from((bits as i32) >> 2) };
    if bits & 1 == 0 { value } else { value / 100.0 }
}

/// Whether a number format shows a day: `dd.mm.yyyy`, and neither `hh:mm` nor `#,##0.00 "days"`.
fn is_day_format(format: &str) -> bool {
    if format.eq_ignore_ascii_case("general") || format.eq_ignore_ascii_case("standard") {
        return false;
    }
    let (mut day, mut month, mut time) = (false, false, false);
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        match c.to_ascii_lowercase() {
            '"' => drop(chars.find(|c| *c == '"')),
            '[' => drop(chars.find(|c| *c == ']')),
            '\\' | '_' | '*' => drop(chars.next()),
            'd' | 'y' => day = true,
            'm' => month = true,
            'h' | 's' => time = true,
            _ => {}
        }
    }
    day || (month && !time)
}

/// The encoding of texts before BIFF8.
fn code_page(page: u16) -> &'static Encoding {
    let label = match page {
        367 | 1252 | 32769 => "windows-1252",
        932 => "shift_jis",
        936 => "gbk",
        949 => "euc-kr",
        950 => "big5",
        10000 | 32768 => "macintosh",
        866 => "ibm866",
        _ => &format!("windows-{page}"),
    };
    Encoding::for_label(label.as_bytes()).unwrap_or(encoding_rs::WINDOWS_1252)
}

fn shared_texts(record: &Record<'_>) -> Result<Vec<String>, String> {
    let mut text = Text::new(record, 8);
    let mut texts = Vec::new();
    // A text of no character takes three bytes of the file, and a String more.
    let mut room = MAX_UNPACKED_BYTES as usize;
    while !text.at_end() {
        let length = text.u16()?;
        let flags = text.u8()?;
        let runs = if flags & 8 != 0 { usize::from(text.u16()?) * 4 } else { 0 };
        let more = if flags & 4 != 0 { text.u32()? as usize } else { 0 };
        let found = text.wide_or_narrow(usize::from(length), flags & 1 != 0)?;
        text.skip(runs)?;
        text.skip(more)?;
        room = room
            .checked_sub(found.len() + size_of::<String>())
            .ok_or_else(|| format!("its texts hold more than {MAX_UNPACKED_BYTES} bytes"))?;
        texts.push(found);
    }
    Ok(texts)
}

/// Reads on through a record and those that continue it.
struct Text<'r, 'a> {
    record: &'r Record<'a>,
    part: usize,
    at: usize,
}

impl<'r, 'a> Text<'r, 'a> {
    fn new(record: &'r Record<'a>, at: usize) -> Self {
        Self { record, part: 0, at }
    }

    fn rest(&self) -> &'a [u8] {
        self.record.parts.get(self.part).and_then(|part| part.get(self.at..)).unwrap_or_default()
    }

    fn at_end(&mut self) -> bool {
        while self.rest().is_empty() && self.part < self.record.parts.len() {
            (self.part, self.at) = (self.part + 1, 0);
        }
        self.part >= self.record.parts.len()
    }

    fn u8(&mut self) -> Result<u8, String> {
        if self.at_end() {
            return Err(self.record.cut());
        }
        let byte = self.rest()[0];
        self.at += 1;
        Ok(byte)
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_le_bytes([self.u8()?, self.u8()?, self.u8()?, self.u8()?]))
    }

    fn skip(&mut self, mut bytes: usize) -> Result<(), String> {
        while bytes > 0 {
            if self.at_end() {
                return Err(self.record.cut());
            }
            let now = bytes.min(self.rest().len());
            self.at += now;
            bytes -= now;
        }
        Ok(())
    }

    /// So many characters; in BIFF8 a byte before them says how wide they are.
    fn chars(&mut self, length: usize, flagged: bool, encoding: &'static Encoding) -> Result<String, String> {
        if !flagged {
            let found = encoding.decode_without_bom_handling(&self.rest()[..length.min(self.rest().len())]).0;
            self.skip(length)?;
            return Ok(found.into_owned());
        }
        if length == 0 && self.at_end() {
            return Ok(String::new());
        }
        let wide = self.u8()? & 1 != 0;
        self.wide_or_narrow(length, wide)
    }

    /// Characters of one or two bytes; each part of them says anew which.
    fn wide_or_narrow(&mut self, mut length: usize, mut wide: bool) -> Result<String, String> {
        let mut units: Vec<u16> = Vec::with_capacity(length);
        while length > 0 {
            if self.rest().is_empty() {
                if self.part + 1 >= self.record.parts.len() {
                    return Err(self.record.cut());
                }
                (self.part, self.at) = (self.part + 1, 0);
                wide = self.u8()? & 1 != 0;
                continue;
            }
            let rest = self.rest();
            if wide {
                let pairs = rest.as_chunks::<2>().0;
                if pairs.is_empty() {
                    return Err(self.record.cut());
                }
                let now = length.min(pairs.len());
                units.extend(pairs[..now].iter().map(|pair| u16::from_le_bytes(*pair)));
                self.at += now * 2;
                length -= now;
            } else {
                let now = length.min(rest.len());
                units.extend(rest[..now].iter().map(|byte| u16::from(*byte)));
                self.at += now;
                length -= now;
            }
        }
        Ok(String::from_utf16_lossy(&units))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_format_tells_days_from_times_and_amounts() {
        for format in ["dd.mm.yyyy", "m/d/yy", "[$-407]d. mmmm yyyy", "mmm yy", "yyyy\\-mm\\-dd hh:mm"] {
            assert!(is_day_format(format), "{format}");
        }
        for format in ["General", "#,##0.00", "0.00 \"days\"", "[Red]-0.00", "h:mm:ss", "mm:ss", "0.00_d", "@"] {
            assert!(!is_day_format(format), "{format}");
        }
    }

    #[test]
    fn packed_numbers_are_whole_or_floats_and_may_be_hundredths() {
        assert_eq!(packed((123 << 2) | 2), 123.0);
        assert_eq!(packed((12_345 << 2) | 3), 123.45);
        assert_eq!(packed(((-5_i32 << 2) | 2) as u32), -5.0);
        assert_eq!(packed((1.5_f64.to_bits() >> 32) as u32), 1.5);
    }
}
