//! ISO 20022 bank statements: CAMT.052, .053 and .054, of any version.
//!
//! Elements are known by their local names, which have hardly changed between versions. An entry with several
//! transactions that have amounts of their own becomes one row each. Easy to get wrong: an amount has no sign, it is in
//! `CdtDbtInd`, and a reversal keeps the indicator of what it does to the account.
use super::ReadError;
use super::balances::Balances;
use super::document::{Booking, failed, signed, statement, text};
use super::format::{Format, Input, Sink};
use super::statements::Statements;
use quick_xml::Reader;
use quick_xml::events::Event;

/// Nested elements; real files have about fifteen.
const MAX_DEPTH: usize = 64;

/// CAMT.052, .053, .054.
pub(crate) struct Camt;

impl Format for Camt {
    fn sniff(&self, head: &[u8]) -> bool {
        let head = String::from_utf8_lossy(&head[..head.len().min(8 << 10)]);
        head.trim_start_matches('\u{feff}').trim_start().starts_with('<')
            && ["BkToCstmrStmt", "BkToCstmrAcctRpt", "BkToCstmrDbtCdtNtfctn", "camt.05"]
                .iter()
                .any(|name| head.contains(name))
    }

    fn has_statements(&self) -> bool {
        true
    }

    fn rows(&self, file: Input<'_>, sink: &mut dyn Sink) -> Result<(), ReadError> {
        let options = file.options;
        let bytes = file.whole()?;
        let (text, encoding) = text(&bytes, options);
        let format =
            ["camt.052", "camt.053", "camt.054"].into_iter().find(|name| text.contains(name)).unwrap_or("camt.053");
        statement(format, encoding, sink)?;
        let mut xml = Reader::from_str(&text);
        let mut entries = Entries::default();
        let mut statements = Statements::new(sink, options);
        let line = |at: u64| {
            let end = usize::try_from(at).unwrap_or(usize::MAX).min(text.len());
            memchr::memchr_iter(b'\n', &text.as_bytes()[..end]).count() + 1
        };
        loop {
            let at = xml.buffer_position();
            let event = xml.read_event().map_err(|error| {
                failed(options, format!(", line {}", line(xml.error_position())), format!("not XML: {error}"))
            })?;
            match event {
                Event::Start(start) => {
                    if entries.path.len() >= MAX_DEPTH {
                        return Err(failed(
                            options,
                            format!(", line {}", line(at)),
                            "elements are nested too deep".into(),
                        ));
                    }
                    let name = start.local_name();
                    let currency =
                        start.try_get_attribute("Ccy").ok().flatten().map(|attribute| attribute.value.to_string());
                    entries.open(name.into_inner(), currency);
                }
                Event::End(_) => entries.close(&mut statements)?,
                Event::Text(part) => entries.value.push_str(&part.into_inner()),
                Event::CData(part) => entries.value.push_str(&part.into_inner()),
                Event::GeneralRef(reference) => match reference.resolve_char_ref() {
                    Ok(Some(c)) => entries.value.push(c),
                    _ => entries.value.push_str(match &*reference.into_inner() {
                        "amp" => "&",
                        "lt" => "<",
                        "gt" => ">",
                        "quot" => "\"",
                        "apos" => "'",
                        _ => "",
                    }),
                },
                Event::Eof => break,
                _ => {}
            }
        }
        if let Some(open) = entries.path.last() {
            return Err(failed(options, String::new(), format!("the file ends inside of element {open}")));
        }
        statements.end()
    }
}

/// Builds bookings from elements as they open and close.
#[derive(Default)]
struct Entries {
    path: Vec<String>,
    value: String,
    currency: Option<String>,
    account: String,
    /// `Stmt/Id`
    statement: String,
    /// One of its entries was seen.
    begun: bool,
    entry: Booking,
    out: bool,
    parts: Vec<Part>,
    count: u64,
    /// Its state: only what is `BOOK` is in the balances.
    booked: String,
    /// Entries before the statement.
    before: u64,
    /// Kind, amount, currency and direction of a balance.
    balance: [String; 4],
    opening: Option<[String; 4]>,
    closing: Option<[String; 4]>,
    sums: Balances,
}

/// One transaction of an entry.
#[derive(Clone, Default)]
struct Part {
    booking: Booking,
    out: Option<bool>,
    debtor: String,
    creditor: String,
}

impl Part {
    /// The other side of what went out is the creditor, of what came in the debtor; where only one is named, that one.
    fn counterparty(&self, out: bool) -> String {
        let (first, second) = if out { (&self.creditor, &self.debtor) } else { (&self.debtor, &self.creditor) };
        [first, second, &self.booking.counterparty]
            .into_iter()
            .find(|name| !name.is_empty())
            .cloned()
            .unwrap_or_default()
    }
}

impl Entries {
    fn open(&mut self, name: &str, currency: Option<String>) {
        match name {
            "Ntry" => {
                self.entry = Booking { account: self.account.clone(), ..Booking::default() };
                self.out = false;
                self.parts.clear();
                self.booked.clear();
            }
            "Bal" => self.balance = Default::default(),
            "TxDtls" => self.parts.push(Part::default()),
            "Stmt" | "Rpt" | "Ntfctn" => {
                self.account.clear();
                self.statement.clear();
                self.begun = false;
                (self.opening, self.closing, self.sums) = (None, None, Balances::of(""));
                self.before = self.count;
            }
            _ => {}
        }
        if currency.is_some() {
            self.currency = currency;
        }
        self.path.push(name.to_owned());
        self.value.clear();
    }

    fn within(&self, name: &str) -> bool {
        self.path.iter().any(|element| element == name)
    }

    fn close(&mut self, sink: &mut Statements<'_>) -> Result<(), ReadError> {
        let Some(name) = self.path.pop() else { return Ok(()) };
        let value = self.value.split_whitespace().collect::<Vec<_>>().join(" ");
        self.value.clear();
        if name == "Ntry" {
            if !std::mem::replace(&mut self.begun, true) {
                sink.begin(&self.account, &self.statement);
            }
            return self.finish(sink);
        }
        let parent = self.path.last().cloned().unwrap_or_default();
        if self.within("Bal") {
            match (parent.as_str(), name.as_str()) {
                ("CdOrPrtry", "Cd") => self.balance[0] = value,
                ("Bal", "Amt") => {
                    self.balance[1] = value;
                    self.balance[2] = self.currency.clone().unwrap_or_default();
                }
                ("Bal", "CdtDbtInd") => self.balance[3] = value,
                _ => {}
            }
            return Ok(());
        }
        if !self.within("Ntry") {
            if name == "Bal" {
                let kept = match self.balance[0].as_str() {
                    "OPBD" | "PRCD" => &mut self.opening,
                    "CLBD" => &mut self.closing,
                    _ => return Ok(()),
                };
                // Of several the first counts: an opening balance stands before those of its pages.
                kept.get_or_insert_with(|| std::mem::take(&mut self.balance));
                return Ok(());
            }
            if (name == "IBAN" || (name == "Id" && parent == "Othr")) && self.within("Acct") && self.account.is_empty()
            {
                self.account = value;
            } else if name == "Id" && matches!(parent.as_str(), "Stmt" | "Rpt" | "Ntfctn") {
                self.statement = value;
            } else if matches!(name.as_str(), "Stmt" | "Rpt" | "Ntfctn") {
                if !self.begun {
                    sink.begin(&self.account, &self.statement);
                }
                self.end_statement(sink);
            }
            return Ok(());
        }
        let (inside, debtor, creditor) = (self.within("TxDtls"), self.within("Dbtr"), self.within("Cdtr"));
        match self.parts.last_mut().filter(|_| inside) {
            Some(part) if name == "Nm" && debtor && part.debtor.is_empty() => part.debtor = value,
            Some(part) if name == "Nm" && creditor && part.creditor.is_empty() => part.creditor = value,
            Some(_) if name == "Nm" && (debtor || creditor) => {}
            Some(part) => detail(part, &name, &parent, value, &self.currency),
            None => self.entry_field(&name, &parent, value),
        }
        Ok(())
    }

    fn entry_field(&mut self, name: &str, parent: &str, value: String) {
        let entry = &mut self.entry;
        match (parent, name) {
            ("Ntry", "Amt") => {
                entry.amount = value;
                entry.currency = self.currency.clone().unwrap_or_default();
            }
            ("Ntry", "CdtDbtInd") => self.out = value == "DBIT",
            ("Ntry", "Sts") if self.booked.is_empty() => self.booked = value,
            ("Sts", "Cd") => self.booked = value,
            ("BookgDt", "Dt" | "DtTm") => entry.date = value,
            ("ValDt", "Dt" | "DtTm") => entry.value_date = value,
            ("Ntry", "AcctSvcrRef") => entry.bank_reference = value,
            ("Ntry", "NtryRef") => entry.reference = value,
            ("Ntry", "AddtlNtryInf") => entry.text = value,
            _ => {}
        }
    }

    /// Adds the entry to what was booked.
    fn sum(&mut self) {
        if !matches!(self.booked.as_str(), "" | "BOOK") {
            return;
        }
        let foreign = self.opening.as_ref().is_some_and(|opening| opening[2] != self.entry.currency);
        if foreign || self.entry.amount.is_empty() {
            self.sums.book_unknown();
        } else {
            self.sums.book(&signed(&self.entry.amount, self.out));
        }
    }

    fn end_statement(&mut self, sink: &mut Statements<'_>) {
        let mut sums = std::mem::take(&mut self.sums);
        if let (Some(opening), Some(closing)) = (&self.opening, &self.closing)
            && opening[2] == closing[2]
        {
            sums.account.clone_from(&self.account);
            let amount = |balance: &[String; 4]| signed(&balance[1], balance[3] == "DBIT");
            sums.open(self.before + 1, &amount(opening), &opening[2]);
            sums.close(self.count.max(1), &amount(closing));
            sink.balances(sums);
        }
    }

    /// One row, or one for each transaction when each has its amount.
    fn finish(&mut self, sink: &mut Statements<'_>) -> Result<(), ReadError> {
        self.sum();
        let parts = std::mem::take(&mut self.parts);
        let several = parts.len() > 1 && parts.iter().all(|part| !part.booking.amount.is_empty());
        let row = |part: &Part| {
            let out = part.out.filter(|_| several).unwrap_or(self.out);
            let booking = Booking { counterparty: part.counterparty(out), ..part.booking.clone() };
            (merged(&self.entry, &booking, several), out)
        };
        let rows: Vec<(Booking, bool)> = match parts.as_slice() {
            parts if several => parts.iter().map(row).collect(),
            [first, ..] => vec![row(first)],
            [] => vec![row(&Part::default())],
        };
        for (mut booking, out) in rows {
            self.count += 1;
            if booking.amount.is_empty() {
                sink.bad(self.count, "Ntry/Amt", &booking.text, &format!("entry {} has no amount", self.count))?;
                continue;
            }
            booking.amount = signed(&booking.amount, out);
            sink.row(self.count, &booking)?;
        }
        Ok(())
    }
}

fn detail(part: &mut Part, name: &str, parent: &str, value: String, currency: &Option<String>) {
    let booking = &mut part.booking;
    let add = |text: &mut String, value: &str| {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(value);
    };
    match (parent, name) {
        ("TxDtls" | "TxAmt", "Amt") if booking.amount.is_empty() => {
            booking.amount = value;
            booking.currency = currency.clone().unwrap_or_default();
        }
        ("TxDtls", "CdtDbtInd") => part.out = Some(value == "DBIT"),
        ("Refs", "EndToEndId") if value != "NOTPROVIDED" => booking.reference = value,
        ("Refs", "AcctSvcrRef" | "TxId") if booking.bank_reference.is_empty() => booking.bank_reference = value,
        ("RmtInf", "Ustrd") | ("TxDtls", "AddtlTxInf") | ("RtrInf", "AddtlInf") => add(&mut booking.text, &value),
        ("CdtrRefInf", "Ref") | ("RfrdDocInf", "Nb") => add(&mut booking.text, &value),
        (_, "Nm") if booking.counterparty.is_empty() => booking.counterparty = value,
        _ => {}
    }
}

/// The entry with what its transaction adds.
fn merged(entry: &Booking, part: &Booking, own_amount: bool) -> Booking {
    let pick = |a: &str, b: &str| if a.is_empty() { b.to_owned() } else { a.to_owned() };
    Booking {
        date: entry.date.clone(),
        value_date: entry.value_date.clone(),
        amount: if own_amount { part.amount.clone() } else { entry.amount.clone() },
        currency: if own_amount { pick(&part.currency, &entry.currency) } else { entry.currency.clone() },
        reference: pick(&part.reference, &entry.reference),
        counterparty: part.counterparty.clone(),
        text: pick(&part.text, &entry.text),
        account: entry.account.clone(),
        bank_reference: pick(&entry.bank_reference, &part.bank_reference),
    }
}
