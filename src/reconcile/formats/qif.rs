//! Quicken Interchange Format: one field a line, a caret behind each record.
//!
//! Only accounts of money are read; lists of categories and investments are passed over with a warning. Easy to get
//! wrong: `1/ 5'06` is a date, its apostrophe stands before years from 2000 on.
use super::ReadError;
use super::document::{Booking, statement, text};
use super::format::{Format, Input, Sink};

/// QIF.
pub(crate) struct Qif;

impl Format for Qif {
    fn sniff(&self, head: &[u8]) -> bool {
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
        ["!type:", "!account", "!option:", "!clear:"]
            .iter()
            .any(|begin| head.get(..begin.len()).is_some_and(|start| start.eq_ignore_ascii_case(begin.as_bytes())))
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let (text, encoding) = text(&bytes, options);
        statement("qif", encoding, sink)?;
        let (mut money, mut booking, mut first, mut used) = (true, Booking::default(), 0, false);
        for (at, line) in text.split('\n').enumerate() {
            let (line, number) = (line.trim_end_matches('\r').trim_start_matches('\u{feff}'), at as u64 + 1);
            if let Some(section) = line.strip_prefix('!') {
                let kind = section.to_ascii_lowercase();
                let kind = kind.strip_prefix("type:").map(str::trim);
                money = kind.is_some_and(|kind| matches!(kind, "bank" | "cash" | "ccard" | "oth a" | "oth l"));
                if let Some(other) = kind.filter(|_| !money) {
                    sink.warn(format!("line {number}: the section {other:?} is no account of money and is not read"));
                }
                continue;
            }
            let Some(code) = line.chars().next().filter(|_| money) else { continue };
            let value = line[code.len_utf8()..].trim();
            if !used && code != '^' {
                first = number;
                used = true;
            }
            match code {
                '^' if used => {
                    finish(first, &std::mem::take(&mut booking), sink)?;
                    used = false;
                }
                'D' => booking.date = value.replace('\'', "/").replace(' ', ""),
                'T' => booking.amount = value.to_owned(),
                'U' if booking.amount.is_empty() => booking.amount = value.to_owned(),
                'N' => booking.reference = value.to_owned(),
                'P' => booking.counterparty = value.to_owned(),
                'M' => booking.text = value.to_owned(),
                _ => {}
            }
        }
        if used { finish(first, &booking, sink) } else { Ok(()) }
    }
}

fn finish(line: u64, booking: &Booking, sink: &mut dyn Sink) -> Result<(), ReadError> {
    if booking.date.is_empty() || booking.amount.is_empty() {
        let what = if booking.date.is_empty() { "D" } else { "T" };
        return sink.bad(line, what, &booking.counterparty, "a record without date or amount");
    }
    sink.row(line, &booking.cells())
}
