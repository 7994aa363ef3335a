//! SWIFT MT940 and MT942: statements and interim reports, field by field.
//!
//! Real files have envelopes, blank lines and lone dashes around their fields; all that is no field is passed over.
//! Easy to get wrong: the second date of `:61:` has no year, and `RC` is a credit taken back.
use super::ReadError;
use super::balances::Balances;
use super::document::{Booking, statement, text};
use super::format::{Format, Input, Sink};
use super::statements::Statements;

/// MT940 and MT942.
pub(crate) struct Mt940;

impl Format for Mt940 {
    fn sniff(&self, head: &[u8]) -> bool {
        let head = String::from_utf8_lossy(&head[..head.len().min(8 << 10)]);
        // Banks put lines of their own above the first tag, but none with a quote: behind one it is a cell of a table.
        let unquoted = head.split('"').next().unwrap_or_default();
        let has = |tag: &str| {
            unquoted.lines().any(|line| line.trim_start().starts_with(tag) || line.contains(&format!("{{4:{tag}")))
        };
        has(":20:") && [":25:", ":28C:", ":28:", ":60F:", ":60M:", ":61:", ":34F:", ":13D:"].iter().any(|tag| has(tag))
    }

    fn has_statements(&self) -> bool {
        true
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let (text, encoding) = text(&bytes, options);
        statement("mt940", encoding, sink)?;
        let mut reader = Statement::default();
        let mut statements = Statements::new(sink, options);
        let mut field: Option<(u64, String, String)> = None;
        for (at, line) in text.split('\n').enumerate() {
            let (line, number) = (line.trim_end_matches('\r'), at as u64 + 1);
            match tag(line) {
                Some((tag, value)) => {
                    if let Some(done) = field.replace((number, tag.to_owned(), value.to_owned())) {
                        reader.field(done, &mut statements)?;
                    }
                }
                None if is_envelope(line) => {
                    if let Some(done) = field.take() {
                        reader.field(done, &mut statements)?;
                    }
                }
                None => {
                    if let Some((_, _, value)) = &mut field {
                        value.push('\n');
                        value.push_str(line);
                    }
                }
            }
        }
        if let Some(done) = field {
            reader.field(done, &mut statements)?;
        }
        reader.flush(&mut statements)?;
        statements.end()
    }
}

/// `:61:…`: a tag of two digits and perhaps a letter.
fn tag(line: &str) -> Option<(&str, &str)> {
    let start = line.find("{4:").map_or(line, |at| &line[at + 3..]).trim_start();
    let (tag, value) = start.strip_prefix(':')?.split_once(':')?;
    let bytes = tag.as_bytes();
    let known = matches!(bytes, [a, b] | [a, b, b'A'..=b'Z'] if a.is_ascii_digit() && b.is_ascii_digit());
    known.then_some((tag, value))
}

fn is_envelope(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line == "-" || line.starts_with("-}") || line.starts_with('{')
}

#[derive(Default)]
struct Statement {
    /// `:20:`
    name: String,
    account: String,
    currency: String,
    pending: Option<(u64, Booking)>,
    balances: Balances,
}

impl Statement {
    fn field(&mut self, (line, tag, value): (u64, String, String), sink: &mut Statements<'_>) -> Result<(), ReadError> {
        match tag.as_str() {
            "25" => {
                self.flush(sink)?;
                self.account = value.trim().to_owned();
                self.balances = Balances::of(&self.account);
                sink.begin(&self.account, &self.name);
            }
            "60F" | "60M" => {
                self.flush(sink)?;
                // C190825EUR1111,10
                self.currency = value.get(7..10).unwrap_or_default().to_owned();
                self.balances = Balances::of(&self.account);
                if let Some(amount) = balance(&value) {
                    self.balances.open(line, &amount, &self.currency);
                }
            }
            "34F" => self.currency = value.get(..3).unwrap_or_default().to_owned(),
            "61" => {
                self.flush(sink)?;
                match booking(&value) {
                    Ok(booking) => {
                        self.balances.book(&booking.amount);
                        let (account, currency) = (self.account.clone(), self.currency.clone());
                        self.pending = Some((line, Booking { account, currency, ..booking }));
                    }
                    Err(reason) => {
                        self.balances.book_unknown();
                        sink.bad(line, ":61:", &value, reason)?;
                    }
                }
            }
            "86" => {
                if let Some((_, booking)) = &mut self.pending {
                    describe(&value, booking);
                    self.flush(sink)?;
                }
            }
            "20" => {
                self.flush(sink)?;
                self.name = value.trim().to_owned();
            }
            "62F" | "62M" => {
                self.flush(sink)?;
                if let Some(amount) = balance(&value) {
                    self.balances.close(line, &amount);
                }
                sink.balances(std::mem::replace(&mut self.balances, Balances::of(&self.account)));
            }
            _ => {}
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut Statements<'_>) -> Result<(), ReadError> {
        self.pending.take().map_or(Ok(()), |(line, booking)| sink.row(line, &booking))
    }
}

/// `1908240824D5,34N426NONREF//B4 supplementary`: value date, entry date, sign, amount, type, references.
fn booking(value: &str) -> Result<Booking, &'static str> {
    let (first, more) = value.split_once('\n').unwrap_or((value, ""));
    let digits =
        |text: &str, count: usize| text.len() >= count && text.as_bytes()[..count].iter().all(u8::is_ascii_digit);
    if !digits(first, 6) {
        return Err("no value date of six digits");
    }
    let (day, mut rest) = first.split_at(6);
    let value_date = iso(day).ok_or("not a date")?;
    let mut date = value_date.clone();
    if digits(rest, 4) {
        date = entry_date(day, &rest[..4]).ok_or("not an entry date")?;
        rest = &rest[4..];
    }
    let (out, after) = [("RC", true), ("RD", false), ("EC", false), ("ED", true), ("C", false), ("D", true)]
        .iter()
        .find_map(|(mark, out)| rest.strip_prefix(mark).map(|after| (*out, after)))
        .ok_or("no C or D behind the dates")?;
    let after = after.strip_prefix(|c: char| c.is_ascii_alphabetic()).unwrap_or(after);
    let end = after.find(|c: char| !c.is_ascii_digit() && c != ',' && c != '.').unwrap_or(after.len());
    let amount = after[..end].replace(',', ".");
    if !amount.bytes().any(|b| b.is_ascii_digit()) {
        return Err("no amount");
    }
    let amount = amount.strip_suffix('.').unwrap_or(&amount);
    let amount = if out { format!("-{amount}") } else { amount.to_owned() };
    let references = after[end..].get(4..).unwrap_or_default();
    let (reference, bank) = references.split_once("//").unwrap_or((references, ""));
    let reference = if reference.trim() == "NONREF" { "" } else { reference.trim() };
    Ok(Booking {
        date,
        value_date,
        amount,
        reference: reference.to_owned(),
        bank_reference: bank.trim().to_owned(),
        text: more.replace('\n', " ").trim().to_owned(),
        ..Booking::default()
    })
}

/// `C190825EUR1111,10`, signed and with a point.
fn balance(value: &str) -> Option<String> {
    let amount = value.get(10..)?.trim().replace(',', ".");
    let amount = amount.strip_suffix('.').unwrap_or(&amount);
    match value.as_bytes().first()? {
        b'C' => Some(amount.to_owned()),
        b'D' => Some(format!("-{amount}")),
        _ => None,
    }
}

fn iso(day: &str) -> Option<String> {
    let year: i32 = day[..2].parse().ok()?;
    let year = if year < 70 { 2000 + year } else { 1900 + year };
    let (month, day) = (day[2..4].parse().ok()?, day[4..6].parse().ok()?);
    crate::date::days_from_civil(year, month, day).map(|_| format!("{year}-{month:02}-{day:02}"))
}

/// The entry date has no year: it is the one that is nearest to the value date.
fn entry_date(value: &str, entry: &str) -> Option<String> {
    let (year, month): (i32, i32) = (value[..2].parse().ok()?, value[2..4].parse().ok()?);
    let booked: i32 = entry[..2].parse().ok()?;
    let year = match booked - month {
        7.. => year - 1,
        ..=-7 => year + 1,
        _ => year,
    };
    iso(&format!("{:02}{entry}", year.rem_euclid(100)))
}

/// `:86:` as a text, or in the parts German and Polish banks give it: `?20` to `?29` text, `?32` and `?33` the name.
fn describe(value: &str, booking: &mut Booking) {
    let separator = value.chars().nth(3).filter(|c| !c.is_alphanumeric() && !c.is_whitespace());
    let structured = value.len() > 4 && value.as_bytes()[..3].iter().all(u8::is_ascii_digit) && separator.is_some();
    if let (true, Some(separator)) = (structured, separator) {
        let flat = value.replace('\n', "");
        for part in flat.split(separator).skip(1) {
            let (Some(code), Some(rest)) = (part.get(..2).and_then(|code| code.parse::<u8>().ok()), part.get(2..))
            else {
                continue;
            };
            match code {
                20..=29 | 60..=63 => booking.text.push_str(rest),
                32 | 33 => booking.counterparty.push_str(rest),
                _ => {}
            }
        }
        return;
    }
    let flat = value.replace('\n', " ");
    booking.text = if booking.text.is_empty() { flat } else { format!("{} {flat}", booking.text) };
}
