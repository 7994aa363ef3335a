//! A document as a whole, for formats that cannot be read line by line; and the columns that all statements share.
//!
//! Easy to get wrong: rows of a document have no line of their own (it may all be one line), so they are numbered, and
//! that number is what errors and results name.
use super::format::{Heading, Input, Sink};
use super::{ReadError, ReadOptions};
use std::io::Read;

/// Bytes of a document that is held as a whole.
pub(super) const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// The columns of a bank statement of any format.
pub(super) const STATEMENT: [&str; 9] =
    ["date", "value_date", "amount", "currency", "reference", "counterparty", "text", "account", "bank_reference"];

/// One booking of a statement.
#[derive(Clone, Default, Debug)]
pub(super) struct Booking {
    pub(super) date: String,
    pub(super) value_date: String,
    /// Signed, with a point.
    pub(super) amount: String,
    pub(super) currency: String,
    pub(super) reference: String,
    pub(super) counterparty: String,
    pub(super) text: String,
    pub(super) account: String,
    pub(super) bank_reference: String,
}

impl Booking {
    pub(super) fn cells(&self) -> [&str; 9] {
        [
            &self.date,
            &self.value_date,
            &self.amount,
            &self.currency,
            &self.reference,
            &self.counterparty,
            &self.text,
            &self.account,
            &self.bank_reference,
        ]
        .map(|cell| cell.trim())
    }
}

/// Announces a statement.
pub(super) fn statement(format: &str, encoding: &str, sink: &mut dyn Sink) -> Result<(), ReadError> {
    sink.heading(Heading {
        format: format.to_owned(),
        encoding: encoding.to_owned(),
        names: STATEMENT.map(str::to_owned).to_vec(),
        ..Heading::default()
    })
}

impl Input<'_> {
    /// All bytes of a document.
    pub(super) fn whole(self) -> Result<Vec<u8>, ReadError> {
        let Self { mut head, rest, options } = self;
        let io = |source| ReadError::Io { name: options.name.clone(), source };
        rest.take((MAX_DOCUMENT_BYTES + 1) as u64).read_to_end(&mut head).map_err(io)?;
        if head.len() > MAX_DOCUMENT_BYTES {
            let reason = format!(
                "larger than {MAX_DOCUMENT_BYTES} bytes, the most that is read of a document of this kind; export it as CSV"
            );
            return Err(failed(options, String::new(), reason));
        }
        Ok(head)
    }
}

/// The text of a document, and its encoding: as given, by mark, UTF-8 when valid, else windows-1252.
pub(super) fn text(bytes: &[u8], options: &ReadOptions) -> (String, &'static str) {
    let given =
        options.reading.encoding.as_deref().and_then(|label| encoding_rs::Encoding::for_label(label.as_bytes()));
    let marked = encoding_rs::Encoding::for_bom(bytes).map(|(encoding, _)| encoding);
    let encoding = given.or(marked).unwrap_or(match std::str::from_utf8(bytes) {
        Ok(_) => encoding_rs::UTF_8,
        Err(_) => encoding_rs::WINDOWS_1252,
    });
    (encoding.decode(bytes).0.into_owned(), encoding.name())
}

pub(super) fn failed(options: &ReadOptions, place: String, reason: String) -> ReadError {
    ReadError::Format { name: options.name.clone(), place, reason }
}

/// `-` before an amount that went out, unless it has a sign already.
pub(super) fn signed(amount: &str, out: bool) -> String {
    let amount = amount.trim();
    match amount.strip_prefix('-') {
        Some(rest) if out => rest.to_owned(),
        _ if out => format!("-{amount}"),
        _ => amount.to_owned(),
    }
}
