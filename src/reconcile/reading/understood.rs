//! What was understood of a file, as a value that people, `summary.json` and the API see.
//!
//! Nothing is guessed in silence: every choice stands here, with the runner-up where it was close, and everything
//! that makes a result less than sure is a warning. Easy to get wrong: a choice that nothing decides is `undecided`,
//! and then no match may be settled without a person.
use crate::table::{ColumnRole, ColumnType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was understood of a file.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct Reading {
    /// `csv`, `xlsx`, `camt.053`, `mt940`, …
    pub format: String,
    /// Encoding label, e.g. `UTF-8` or `windows-1252`; empty for formats that are no text.
    #[serde(default)]
    pub encoding: String,
    /// Field separator, of delimited text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// The line of the header, from 1; none when the first line is data already or the format has no header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header_line: Option<u64>,
    /// Lines above the header (or the first row) that were left out; blank ones count.
    #[serde(default)]
    pub skipped_above: u64,
    /// Lines below the last row that are no records: totals, closing words. They stand in the errors, too.
    #[serde(default)]
    pub skipped_below: u64,
    /// Rows without a value.
    #[serde(default)]
    pub blank_rows: u64,
    /// The column that names rows; none when they are named by line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// The columns that are more than text, in file order.
    #[serde(default)]
    pub columns: Vec<ColumnReading>,
    /// What the balance column proves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance: Option<BalanceProof>,
    /// Choices that neither file decides; while there is one, no match is settled without a person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub undecided: Vec<String>,
    /// Rows of the file, when only a sample of them takes part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled_from: Option<u64>,
    /// What a person should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What was understood of a column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct ColumnReading {
    /// The column.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// The style in words, e.g. `dd/mm/yyyy` or `1.234,56`.
    pub style: String,
    /// What it is for, when that is more than its type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<ColumnRole>,
    /// The style that would read the values as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<String>,
    /// What decided between the two, such as `the other file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<String>,
    /// Signs are turned round.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flipped: bool,
    /// The amounts are whole numbers of units of `10^-scale`, e.g. 2 for cents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minor_digits: Option<u8>,
    /// Values that look like an amount or a date (or should, by the column's name) and could not be read.
    #[serde(default)]
    pub unread: u64,
}

/// What [`BalanceProof::column`] says when the balances are those of statements.
pub(crate) const STATEMENTS: &str = "closing balance";

/// Whether `previous balance + amount = balance` holds down the file, or from statement to statement.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BalanceProof {
    /// The balance column; `closing balance` when each statement of the file has its balances.
    pub column: String,
    /// Rows that follow from their neighbour; statements whose bookings lead from the opening to the closing balance.
    pub holds: u64,
    /// Those that do not: lines are missing there. Each stands in the errors, too.
    pub breaks: u64,
    /// The first break: its line and what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_break: Option<String>,
    /// The breaks one by one, at most a thousand: missing lines, each with the amount they add up to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<BalanceGap>,
}

/// Missing line(s): the balance does not follow from the row before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct BalanceGap {
    /// The line (or number) of the row at which the balance breaks.
    pub line: u64,
    /// What the missing lines add up to.
    pub missing: String,
    /// The balance that does not follow.
    #[serde(default)]
    pub balance: String,
}

/// Gaps that are shown on a terminal.
const SHOWN_GAPS: usize = 10;

impl Reading {
    /// Why no match may be settled without a person; `None` when everything that matters was read for sure.
    pub fn doubt(&self) -> Option<&str> {
        self.undecided.first().map(String::as_str)
    }

    /// What was understood, in a few lines for a terminal.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let mut first = format!("{name}: {}", self.format);
        if !self.encoding.is_empty() {
            first.push_str(&format!(", {}", self.encoding));
        }
        if let Some(delimiter) = self.delimiter {
            first.push_str(&format!(", delimiter {delimiter:?}"));
        }
        match self.header_line {
            Some(line) => first.push_str(&format!(", header on line {line}")),
            None if self.format == "csv" => first.push_str(", no header"),
            None => {}
        }
        for (count, what) in
            [(self.skipped_above, "above left out"), (self.skipped_below, "below left out"), (self.blank_rows, "blank")]
        {
            if count > 0 {
                first.push_str(&format!(", {count} {what}"));
            }
        }
        first.push_str(&format!(", rows named by {}", self.id_column.as_deref().unwrap_or("line")));
        if let Some(of) = self.sampled_from {
            first.push_str(&format!(", a sample of its {of} rows"));
        }
        let mut lines = vec![first];
        let columns: Vec<String> = self.columns.iter().map(ColumnReading::describe).collect();
        if !columns.is_empty() {
            lines.push(format!("  {}", columns.join("; ")));
        }
        if let Some(proof) = &self.balance {
            let whole = if proof.breaks == 0 {
                "the statement is whole".to_owned()
            } else {
                format!("{} break(s), first: {}", proof.breaks, proof.first_break.as_deref().unwrap_or("unknown"))
            };
            let what = if proof.column == STATEMENTS { "statement(s) add up" } else { "rows follow" };
            lines.push(format!("  balance {:?}: {} {what}, {whole}", proof.column, proof.holds));
            for gap in proof.gaps.iter().take(SHOWN_GAPS) {
                lines.push(format!("  break: missing line(s) at line {}, {}", gap.line, gap.missing));
            }
            if let Some(more) = proof.breaks.checked_sub(SHOWN_GAPS as u64).filter(|more| *more > 0) {
                lines.push(format!("  break: missing line(s) at {more} more lines"));
            }
        }
        lines.extend(self.undecided.iter().chain(&self.warnings).map(|warning| format!("  warning: {warning}")));
        lines
    }
}

impl ColumnReading {
    fn describe(&self) -> String {
        let mut text = format!("{} {}", self.name, self.style);
        if let Some(role) = self.role {
            text.push_str(&format!(" ({})", role.as_str()));
        }
        if self.flipped {
            text.push_str(", signs turned");
        }
        if let Some(digits) = self.minor_digits {
            text.push_str(&format!(", minor units of {digits} digits"));
        }
        match (&self.runner_up, &self.decided_by) {
            (Some(other), Some(by)) => text.push_str(&format!(", not {other}: by {by}")),
            (Some(other), None) => text.push_str(&format!(", or {other}")),
            (None, _) => {}
        }
        if self.unread > 0 {
            text.push_str(&format!(", {} unread", self.unread));
        }
        text
    }
}
