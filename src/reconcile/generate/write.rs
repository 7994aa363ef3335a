//! A dataset as files: ledger and bank in a dialect, truth and breaks always plain.
use super::dialect::Dialect;
use super::events::{BankRow, Dataset, LedgerRow};
use std::io::{self, Write};

/// Writes the ledger: `ledger_id`, date, amount, currency, reference, counterparty, memo.
///
/// # Errors
/// The writer failed.
pub fn write_ledger(out: impl Write, made: &Dataset, dialect: Dialect) -> csv::Result<()> {
    let columns = ["ledger_id", "date", "amount", "currency", "reference", "counterparty", "memo"];
    let mut table = TableWriter::new(out, dialect, &columns)?;
    for LedgerRow { id, day, amount, currency, reference, counterparty, memo } in &made.ledger {
        table.row(&[id, &dialect.date(*day)], *amount, &[currency, reference, counterparty, memo])?;
    }
    table.end(made.ledger.iter().map(|row| row.amount).sum())
}

/// Writes the bank statement: `bank_id`, value date, amount, currency, description.
///
/// # Errors
/// The writer failed.
pub fn write_bank(out: impl Write, made: &Dataset, dialect: Dialect) -> csv::Result<()> {
    let columns = ["bank_id", "value_date", "amount", "currency", "description"];
    let mut table = TableWriter::new(out, dialect, &columns)?;
    for BankRow { id, day, amount, currency, description } in &made.bank {
        table.row(&[id, &dialect.date(*day)], *amount, &[currency, description])?;
    }
    table.end(made.bank.iter().map(|row| row.amount).sum())
}

/// Writes the true pairs: `ledger_id,bank_id,kind,group`.
///
/// # Errors
/// The writer failed.
pub fn write_truth(out: impl Write, made: &Dataset) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["ledger_id", "bank_id", "kind", "group"])?;
    for pair in &made.truth {
        let group = pair.group.map(|group| group.to_string()).unwrap_or_default();
        csv.write_record([pair.ledger.as_str(), &pair.bank, pair.kind, &group])?;
    }
    Ok(csv.flush()?)
}

/// Writes the rows that have no counterpart: `side,id,kind,of`.
///
/// # Errors
/// The writer failed.
pub fn write_breaks(out: impl Write, made: &Dataset) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(["side", "id", "kind", "of"])?;
    for lonely in &made.breaks {
        csv.write_record([lonely.side, &lonely.id, lonely.kind, &lonely.of])?;
    }
    Ok(csv.flush()?)
}

struct TableWriter<W: Write> {
    csv: csv::Writer<Encoder<W>>,
    dialect: Dialect,
    columns: usize,
}

impl<W: Write> TableWriter<W> {
    fn new(out: W, dialect: Dialect, plain: &[&'static str]) -> csv::Result<Self> {
        let mut out = Encoder { out, utf16: dialect.is_utf16() };
        if dialect.is_utf16() {
            out.out.write_all(&[0xFF, 0xFE])?;
        }
        out.write_all(dialect.lines_above().as_bytes())?;
        let mut csv = csv::WriterBuilder::new().delimiter(dialect.delimiter()).from_writer(out);
        let mut columns = Vec::new();
        for name in plain {
            if *name == "amount" && dialect.has_two_amounts() {
                columns.extend(["debit", "credit"]);
            } else {
                columns.push(dialect.column(name));
            }
        }
        csv.write_record(&columns)?;
        Ok(Self { csv, dialect, columns: columns.len() })
    }

    fn row(&mut self, before: &[&str], amount: i64, after: &[&str]) -> csv::Result<()> {
        for cell in before {
            self.csv.write_field(cell)?;
        }
        if self.dialect.has_two_amounts() {
            self.csv.write_field("")?;
        }
        self.csv.write_field(self.dialect.amount(amount))?;
        for cell in after {
            self.csv.write_field(cell)?;
        }
        self.csv.write_record(None::<&[u8]>)
    }

    fn end(mut self, total: i64) -> csv::Result<()> {
        if self.dialect.has_two_amounts() {
            let mut cells = vec![String::new(); self.columns];
            cells[0] = "Total".to_owned();
            cells[3] = self.dialect.amount(total);
            self.csv.write_record(&cells)?;
        }
        Ok(self.csv.flush()?)
    }
}

/// ASCII as it is, or as UTF-16 with the low byte first. Everything that is generated is ASCII.
struct Encoder<W> {
    out: W,
    utf16: bool,
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.utf16 {
            let wide: Vec<u8> = bytes.iter().flat_map(|byte| [*byte, 0]).collect();
            self.out.write_all(&wide)?;
            return Ok(bytes.len());
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::{Plan, generate};
    use super::*;

    fn text(dialect: Dialect) -> Vec<u8> {
        let made = generate(Plan { events: 3, seed: 1, days: 10 });
        let mut out = Vec::new();
        write_bank(&mut out, &made, dialect).unwrap();
        out
    }

    #[test]
    fn each_dialect_has_its_own_frame_around_the_same_rows() {
        let lines = |dialect| String::from_utf8(text(dialect)).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
        let plain = lines(Dialect::Plain);
        assert_eq!(plain[0], "bank_id,value_date,amount,currency,description");
        let german = lines(Dialect::German);
        assert_eq!(german[3], "bank_id;Valuta;Betrag;Waehrung;Verwendungszweck");
        assert_eq!(german.len(), plain.len() + 3);
        let two = lines(Dialect::DebitCredit);
        assert_eq!(two[0], "bank_id,value_date,debit,credit,currency,description");
        assert!(two.last().unwrap().starts_with("Total,,,"), "{two:?}");
        let excel = text(Dialect::Excel);
        assert!(excel.starts_with(&[0xFF, 0xFE, b'b', 0]) && excel.len().is_multiple_of(2));
    }
}
