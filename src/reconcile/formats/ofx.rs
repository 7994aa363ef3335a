//! OFX and QFX, as SGML (version 1) and as XML (version 2).
//!
//! Tags of version 1 need no end, so both are read as a row of tags with the text behind each. Easy to get wrong: banks
//! leave out what the standard demands and add what it does not know; only `STMTTRN` with a date and an amount counts.
use super::document::{Booking, statement, text};
use super::format::{Format, Input, Sink};
use super::statements::Statements;
use super::{ReadError, ReadOptions};

/// OFX and QFX.
pub(crate) struct Ofx;

impl Format for Ofx {
    fn sniff(&self, head: &[u8]) -> bool {
        let head = String::from_utf8_lossy(&head[..head.len().min(4 << 10)]).to_ascii_uppercase();
        let head = head.trim_start_matches('\u{feff}').trim_start();
        // A table may hold the marks in a cell: only a file that begins with its header or a tag is a document.
        ["OFXHEADER", "DATA:OFXSGML", "<"].iter().any(|begin| head.starts_with(begin))
            && (head.contains("OFXHEADER") || head.contains("<OFX>"))
    }

    fn has_statements(&self) -> bool {
        true
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let options = &declared(&bytes, options);
        let (text, encoding) = text(&bytes, options);
        statement("ofx", encoding, sink)?;
        let mut reader = Reader::default();
        let mut statements = Statements::new(sink, options);
        for_each_tag(&text, |line, name, value| reader.tag(line, name, value, &mut statements))?;
        reader.end(&mut statements)?;
        if reader.investments {
            statements.warn("investment transactions are not read, only those of bank accounts and cards".to_owned());
        }
        statements.end()
    }
}

/// The options with the encoding that the header declares, where it is one that cannot be told by the bytes: `CHARSET:1251`.
/// ASCII, Latin and no declaration are read by what is in the file, because banks declare them and write something else.
fn declared(bytes: &[u8], options: &ReadOptions) -> ReadOptions {
    let head = &bytes[..bytes.len().min(1 << 10)];
    let head = head.split(|byte| *byte == b'<').next().unwrap_or_default();
    let page = memchr::memmem::find(head, b"CHARSET:").and_then(|at| head.get(at + 8..at + 12));
    let mut options = options.clone();
    if let Some(page @ [b'1', b'2', b'5', b'0' | b'1' | b'3'..=b'8']) = page
        && std::str::from_utf8(bytes).is_err()
    {
        options.reading.encoding.get_or_insert_with(|| format!("windows-{}", String::from_utf8_lossy(page)));
    }
    options
}

/// Calls `each` with line, upper-case name and text of every tag; end tags keep their slash.
fn for_each_tag(text: &str, mut each: impl FnMut(u64, &str, &str) -> Result<(), ReadError>) -> Result<(), ReadError> {
    let (mut line, mut counted) = (1_u64, 0);
    let mut at = 0;
    while let Some(open) = text[at..].find('<').map(|open| at + open) {
        let Some(close) = text[open..].find('>').map(|close| open + close) else { break };
        let end = text[close..].find('<').map_or(text.len(), |next| close + next);
        line += memchr::memchr_iter(b'\n', &text.as_bytes()[counted..open]).count() as u64;
        counted = open;
        let name = text[open + 1..close].trim();
        let name = name.split_whitespace().next().unwrap_or_default().trim_end_matches('/').to_ascii_uppercase();
        each(line, &name, text[close + 1..end].trim())?;
        at = end;
    }
    Ok(())
}

#[derive(Default)]
struct Reader {
    account: String,
    currency: String,
    booking: Option<(u64, Booking)>,
    payee: bool,
    investments: bool,
    count: u64,
}

impl Reader {
    fn tag(&mut self, line: u64, name: &str, value: &str, sink: &mut Statements<'_>) -> Result<(), ReadError> {
        match name {
            "STMTTRN" => {
                self.end(sink)?;
                let (account, currency) = (self.account.clone(), self.currency.clone());
                self.booking = Some((line, Booking { account, currency, ..Booking::default() }));
            }
            "/STMTTRN" | "/BANKTRANLIST" | "BANKTRANLIST" => self.end(sink)?,
            "INVTRANLIST" => self.investments = true,
            "ACCTID" if self.booking.is_none() => {
                self.account = unescaped(value);
                sink.begin(&self.account, "");
            }
            "CURDEF" => self.currency = unescaped(value),
            "PAYEE" => self.payee = true,
            _ => {
                if let Some((_, booking)) = &mut self.booking
                    && let Some(doubt) = set(booking, name, value)
                {
                    sink.warn(format!("line {line}: {name} {value:?} {doubt}"));
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, sink: &mut Statements<'_>) -> Result<(), ReadError> {
        let Some((line, booking)) = self.booking.take() else { return Ok(()) };
        self.count += 1;
        if booking.date.is_empty() || booking.amount.is_empty() {
            let tag = if booking.date.is_empty() { "DTPOSTED" } else { "TRNAMT" };
            let value = format!("{} {}", booking.counterparty, booking.text);
            return sink.bad(self.count, tag, value.trim(), &format!("the STMTTRN on line {line} has no {tag}"));
        }
        sink.row(self.count, &booking)
    }
}

/// Takes a field, and says how it was read where that is not certain.
fn set(booking: &mut Booking, name: &str, value: &str) -> Option<&'static str> {
    let value = unescaped(value);
    let mut doubt = None;
    match name {
        "DTPOSTED" => (booking.date, doubt) = date(&value),
        "DTAVAIL" | "DTUSER" if booking.value_date.is_empty() => (booking.value_date, doubt) = date(&value),
        "TRNAMT" => (booking.amount, doubt) = amount(&value),
        "FITID" => booking.bank_reference = value,
        "CHECKNUM" | "CHKNUM" | "REFNUM" if booking.reference.is_empty() => booking.reference = value,
        "NAME" if booking.counterparty.is_empty() => booking.counterparty = value,
        "MEMO" => booking.text = value,
        "CURSYM" => booking.currency = value,
        _ => {}
    }
    doubt
}

/// With a point and without groups: the last of point and comma stands before the decimals.
fn amount(value: &str) -> (String, Option<&'static str>) {
    let plain: String = value.split_whitespace().collect();
    let plain = plain.strip_prefix('+').unwrap_or(&plain);
    let decimals = match plain.rfind([',', '.']) {
        Some(at) if plain[at..].starts_with(',') => at,
        _ => return (plain.replace(',', ""), None),
    };
    // The format has no groups, so that a lone comma stands before decimals.
    let doubt = plain.len() - decimals == 4 && !plain[..decimals].contains(['.', ',']);
    let whole = plain[..decimals].replace(['.', ','], "");
    let text = format!("{whole}.{}", &plain[decimals + 1..]);
    (text, doubt.then_some("is read with decimals behind the comma"))
}

/// `20090401122017.000[-5:EST]` as `2009-04-01`; anything else as it is, so that it is refused with its value.
fn date(value: &str) -> (String, Option<&'static str>) {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    let day = &value[..digits];
    let text = match digits {
        _ if digits >= 6 && day.bytes().take(8).all(|digit| digit == b'0') => String::new(),
        8.. => format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..8]),
        // Not of the format, and banks that write six digits put the day first.
        6 if value.len() == 6 => {
            let text = format!("20{}-{}-{}", &day[4..], &day[2..4], &day[..2]);
            return (text, Some("is read as day, month and year"));
        }
        _ => value.to_owned(),
    };
    (text, None)
}

fn unescaped(value: &str) -> String {
    if !value.contains('&') {
        return value.to_owned();
    }
    let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    plain.replace("&nbsp;", " ").replace("&#39;", "'").replace("&amp;", "&")
}
