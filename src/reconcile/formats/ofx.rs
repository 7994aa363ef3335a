//! OFX and QFX, as SGML (version 1) and as XML (version 2).
//!
//! Tags of version 1 need no end, so both are read as a row of tags with the text behind each. Easy to get wrong: banks
//! leave out what the standard demands and add what it does not know; only `STMTTRN` with a date and an amount counts.
use super::super::csv_text::{ReadError, ReadOptions};
use super::document::{Booking, statement, text, whole};
use super::sheet::{Format, Sink};
use super::statements::Statements;
use std::io::Read;

/// OFX and QFX.
pub(crate) struct Ofx;

impl Format for Ofx {
    fn sniff(&self, head: &[u8]) -> bool {
        let head = String::from_utf8_lossy(&head[..head.len().min(4 << 10)]).to_ascii_uppercase();
        head.contains("OFXHEADER") || head.contains("<OFX>")
    }

    fn has_statements(&self) -> bool {
        true
    }

    fn rows(
        &self,
        head: Vec<u8>,
        rest: &mut dyn Read,
        options: &ReadOptions,
        sink: &mut dyn Sink,
    ) -> Result<(), ReadError> {
        let bytes = whole(head, rest, options)?;
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
                if let Some((_, booking)) = &mut self.booking {
                    set(booking, name, value);
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

fn set(booking: &mut Booking, name: &str, value: &str) {
    let value = unescaped(value);
    match name {
        "DTPOSTED" => booking.date = date(&value),
        "DTAVAIL" | "DTUSER" if booking.value_date.is_empty() => booking.value_date = date(&value),
        "TRNAMT" => booking.amount = value.split_whitespace().collect(),
        "FITID" => booking.bank_reference = value,
        "CHECKNUM" | "CHKNUM" | "REFNUM" if booking.reference.is_empty() => booking.reference = value,
        "NAME" if booking.counterparty.is_empty() => booking.counterparty = value,
        "MEMO" => booking.text = value,
        "CURSYM" => booking.currency = value,
        _ => {}
    }
}

/// `20090401122017.000[-5:EST]` as `2009-04-01`; anything else as it is, so that it is refused with its value.
fn date(value: &str) -> String {
    match value.get(..8).filter(|day| day.bytes().all(|b| b.is_ascii_digit())) {
        Some("00000000") => String::new(),
        Some(day) => format!("{}-{}-{}", &day[..4], &day[4..6], &day[6..]),
        None => value.to_owned(),
    }
}

fn unescaped(value: &str) -> String {
    if !value.contains('&') {
        return value.to_owned();
    }
    let plain = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    plain.replace("&nbsp;", " ").replace("&#39;", "'").replace("&amp;", "&")
}
