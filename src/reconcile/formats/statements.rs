//! The statements of one file: all of them are read, or the one that was asked for.
//!
//! A statement is known by its account and by the name it gives itself; either picks it, and an account that has
//! several statements is picked with all of them. Easy to get wrong: what cannot be read of a statement that is left out
//! is no error.
use super::balances::{Balances, prove};
use super::document::{Booking, failed};
use super::format::Sink;
use super::{ReadError, ReadOptions};

/// Statements that an error names.
const NAMED: usize = 50;

/// Passes on the bookings of the statements that are wanted.
pub(super) struct Statements<'a> {
    sink: &'a mut dyn Sink,
    options: &'a ReadOptions,
    wanted: Option<String>,
    /// Account and name of each, as they came.
    there: Vec<(String, String)>,
    current: bool,
    found: bool,
    balances: Vec<Balances>,
}

impl<'a> Statements<'a> {
    pub(super) fn new(sink: &'a mut dyn Sink, options: &'a ReadOptions) -> Self {
        let wanted = options.reading.statement.as_deref().map(plain);
        let current = wanted.is_none();
        Self { sink, options, wanted, there: Vec::new(), current, found: false, balances: Vec::new() }
    }

    /// A statement begins; bookings up to the next one are its own.
    pub(super) fn begin(&mut self, account: &str, name: &str) {
        let Some(wanted) = &self.wanted else { return };
        self.current = [account, name].iter().any(|known| plain(known) == *wanted);
        self.found |= self.current;
        let pair = (account.trim().to_owned(), name.trim().to_owned());
        if !self.there.contains(&pair) && self.there.len() <= NAMED {
            self.there.push(pair);
        }
    }

    pub(super) fn row(&mut self, line: u64, booking: &Booking) -> Result<(), ReadError> {
        if self.current { self.sink.row(line, &booking.cells()) } else { Ok(()) }
    }

    pub(super) fn bad(&mut self, line: u64, column: &str, value: &str, reason: &str) -> Result<(), ReadError> {
        if self.current { self.sink.bad(line, column, value, reason) } else { Ok(()) }
    }

    pub(super) fn warn(&mut self, warning: String) {
        if self.current {
            self.sink.warn(warning);
        }
    }

    /// The statement ends, with these balances.
    pub(super) fn balances(&mut self, balances: Balances) {
        if self.current {
            self.balances.push(balances);
        }
    }

    /// Comes last: a statement that was asked for and is not there is an error.
    pub(super) fn end(self) -> Result<(), ReadError> {
        if let Some(proof) = prove(&self.balances) {
            self.sink.balance(proof);
        }
        match self.options.reading.statement.as_deref().filter(|_| !self.found) {
            None => Ok(()),
            Some(wanted) => Err(failed(self.options, String::new(), self.unknown(wanted))),
        }
    }

    fn unknown(&self, wanted: &str) -> String {
        let shown = |(account, name): &(String, String)| match (account.is_empty(), name.is_empty()) {
            (false, false) => format!("{account} ({name})"),
            (true, true) => "one without account and name".to_owned(),
            _ => format!("{account}{name}"),
        };
        let mut there: Vec<String> = self.there.iter().take(NAMED).map(shown).collect();
        if self.there.len() > NAMED {
            there.push("more".to_owned());
        }
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        format!("no statement {wanted:?}; it has {there}")
    }
}

/// Without blanks, in lower case: `DE00 1234` is `de001234`.
fn plain(name: &str) -> String {
    name.split_whitespace().collect::<String>().to_lowercase()
}
