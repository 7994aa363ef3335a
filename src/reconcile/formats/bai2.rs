//! BAI2, the cash management reports of American banks.
//!
//! Easy to get wrong: amounts are whole minor units of the currency, and the sign is in the type code (100 to 399 came
//! in, 400 to 699 went out).
use super::ReadError;
use super::document::{Booking, statement, text};
use super::format::{Format, Input, Sink};
use super::statements::Statements;

/// BAI2.
pub(crate) struct Bai2;

impl Format for Bai2 {
    fn sniff(&self, head: &[u8]) -> bool {
        let head = String::from_utf8_lossy(&head[..head.len().min(8 << 10)]);
        let mut lines = head.trim_start_matches('\u{feff}').lines();
        lines.next().is_some_and(|line| line.starts_with("01,") && line.split(',').count() >= 6)
            && lines.next().is_some_and(|line| line.starts_with("02,"))
    }

    fn has_statements(&self) -> bool {
        true
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let (text, encoding) = text(&bytes, options);
        statement("bai2", encoding, sink)?;
        let mut report = Report::default();
        let mut statements = Statements::new(sink, options);
        let mut record: Option<(u64, String)> = None;
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if let (Some(more), Some((_, before))) = (line.strip_prefix("88,"), record.as_mut()) {
                before.push(if before.starts_with("16,") { ' ' } else { ',' });
                before.push_str(more.trim_end_matches('/'));
            } else if let Some((number, done)) = record.replace((at as u64 + 1, line.trim_end_matches('/').to_owned()))
            {
                report.record(number, &done, &mut statements)?;
            }
        }
        if let Some((number, done)) = record {
            report.record(number, &done, &mut statements)?;
        }
        statements.end()
    }
}

#[derive(Default)]
struct Report {
    date: String,
    currency: String,
    account: String,
}

impl Report {
    fn record(&mut self, line: u64, record: &str, sink: &mut Statements<'_>) -> Result<(), ReadError> {
        let fields: Vec<&str> = record.split(',').collect();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default().trim();
        match field(0) {
            "02" => {
                self.date = day(field(4));
                self.currency = field(6).to_owned();
            }
            "03" => {
                self.account = field(1).to_owned();
                sink.begin(&self.account, "");
                if !field(2).is_empty() {
                    self.currency = field(2).to_owned();
                }
            }
            "16" => return self.transaction(line, &fields, sink),
            _ => {}
        }
        Ok(())
    }

    /// `16,type,amount,funds type[,more],bank reference,customer reference,text`
    fn transaction(&self, line: u64, fields: &[&str], sink: &mut Statements<'_>) -> Result<(), ReadError> {
        let field = |at: usize| fields.get(at).copied().unwrap_or_default().trim();
        let Ok(code) = field(1).parse::<u16>() else {
            return sink.bad(line, "type", field(1), "not a type code");
        };
        let amount = field(2).trim_start_matches('+');
        let (negative, digits) = amount.strip_prefix('-').map_or((false, amount), |digits| (true, digits));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return sink.bad(line, "amount", field(2), "not an amount in minor units");
        }
        let (skip, value_date) = match field(3) {
            "V" => (2, day(field(4))),
            "S" => (3, String::new()),
            "D" => (1 + 2 * field(4).parse::<usize>().unwrap_or(0).min(fields.len()), String::new()),
            _ => (0, String::new()),
        };
        let decimals = match self.currency.as_str() {
            "JPY" | "KRW" | "CLP" | "ISK" | "VND" => 0,
            "KWD" | "BHD" | "OMR" | "JOD" | "TND" => 3,
            _ => 2,
        };
        let padded = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = padded.split_at(padded.len() - decimals);
        let out = (400..700).contains(&code) != negative;
        let booking = Booking {
            date: self.date.clone(),
            value_date,
            amount: format!("{}{whole}{}{fraction}", if out { "-" } else { "" }, if decimals > 0 { "." } else { "" }),
            currency: if self.currency.is_empty() { "USD".into() } else { self.currency.clone() },
            bank_reference: field(4 + skip).to_owned(),
            reference: field(5 + skip).to_owned(),
            text: fields.get(6 + skip..).unwrap_or_default().join(",").trim().to_owned(),
            account: self.account.clone(),
            ..Booking::default()
        };
        sink.row(line, &booking)
    }
}

/// `260305` as `2026-03-05`; anything else as it is, so that it is refused with its value.
fn day(text: &str) -> String {
    if text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit()) {
        return format!("20{}-{}-{}", &text[..2], &text[2..4], &text[4..]);
    }
    text.to_owned()
}
