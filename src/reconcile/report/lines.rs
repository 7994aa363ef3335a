//! The lines of the result files: one writer for whoever has the result in memory and for whoever reads it from a store.
//!
//! Easy to get wrong: a spreadsheet takes a cell that begins with `=` for a formula and runs it; one that begins with `-` may
//! be a number, and must stay one.
use crate::outcome::Side;
use std::borrow::Cow;
use std::io::Write;

/// The header of `matches.csv`.
pub const MATCHES_HEADER: [&str; 13] = [
    "match_id",
    "left_id",
    "right_id",
    "kind",
    "probability",
    "state",
    "explanation",
    "left_line",
    "right_line",
    "left_amount",
    "right_amount",
    "left_date",
    "right_date",
];
/// The header of `candidates.csv`.
pub const CANDIDATES_HEADER: [&str; 8] =
    ["side", "id", "line", "candidate_id", "candidate_line", "rank", "probability", "explanation"];
/// The first columns of `unmatched_left.csv` and `unmatched_right.csv` behind the id.
pub const UNMATCHED_HEADER: [&str; 3] = ["line", "reason", "related_id"];
/// The header of `errors.csv`.
pub const ERRORS_HEADER: [&str; 5] = ["side", "line", "column", "value", "reason"];

/// How cells are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cells {
    /// As they are.
    #[default]
    Exact,
    /// With `'` before what a spreadsheet would take for a formula: cells that begin with `=`, `+`, `-`, `@`, a tab or a
    /// carriage return and are no numbers.
    Spreadsheet,
}

impl Cells {
    /// The cell as it is written.
    pub fn of(self, cell: &str) -> Cow<'_, str> {
        match self {
            Self::Spreadsheet if is_formula(cell) => Cow::Owned(format!("'{cell}")),
            _ => Cow::Borrowed(cell),
        }
    }
}

fn is_formula(cell: &str) -> bool {
    let begins = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    begins && !cell.strip_prefix(['+', '-']).is_some_and(is_unsigned_number)
}

/// Digits with at least one at either end, `.`, `,`, `'` and spaces between them as any country groups them; an exponent and a
/// percent sign may follow.
fn is_unsigned_number(text: &str) -> bool {
    let text = text.strip_suffix('%').unwrap_or(text).trim_matches(' ');
    let (digits, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(digits, rest)| (digits, Some(rest)));
    let of_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let grouped = |c: char| c.is_ascii_digit() || ['.', ',', '\'', ' ', '\u{a0}', '\u{202f}'].contains(&c);
    digits.chars().all(grouped)
        && digits.chars().any(|c| c.is_ascii_digit())
        && exponent.is_none_or(|exponent| of_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

/// One line of `matches.csv`: a pair of records.
#[derive(Clone, Copy, Debug)]
pub struct MatchedLine<'a> {
    /// The name of the match.
    pub match_id: &'a str,
    /// The record of the left side.
    pub left_id: &'a str,
    /// The record of the right side.
    pub right_id: &'a str,
    /// `one_to_one` and so on.
    pub kind: &'a str,
    /// That they belong together.
    pub probability: Option<f64>,
    /// `auto`, `review`, `discrepancy`.
    pub state: &'a str,
    /// Every comparison.
    pub explanation: &'a str,
    /// The lines of both records in their files.
    pub lines: [Option<u64>; 2],
    /// The amounts that were compared, as they stand in the files.
    pub amounts: [&'a str; 2],
    /// The dates that were compared, likewise.
    pub dates: [&'a str; 2],
}

/// One line of `unmatched_left.csv` or `unmatched_right.csv`, but for the file's own columns.
#[derive(Clone, Copy, Debug)]
pub struct UnmatchedLine<'a> {
    /// The record.
    pub id: &'a str,
    /// Its line in the file.
    pub line: u64,
    /// Why it has no match.
    pub reason: &'a str,
    /// The row it repeats, else its nearest candidate; empty when there is none.
    pub related_id: &'a str,
}

/// Writes lines.
pub struct Lines<W: Write> {
    csv: csv::Writer<W>,
    cells: Cells,
}

impl<W: Write> Lines<W> {
    /// To `out`, which is written in pieces of some kilobytes.
    pub fn new(out: W, cells: Cells) -> Self {
        Self { csv: csv::Writer::from_writer(out), cells }
    }

    /// The header of `matches.csv`.
    ///
    /// # Errors
    /// The writer failed; as all here.
    pub fn matches_header(&mut self) -> csv::Result<()> {
        self.line(MATCHES_HEADER)
    }

    /// The header of the unmatched records of a side: ours, then the file's own columns.
    ///
    /// # Errors
    /// The writer failed.
    pub fn unmatched_header<'a>(&mut self, side: Side, own: impl IntoIterator<Item = &'a str>) -> csv::Result<()> {
        let id = if side == Side::Left { "left_id" } else { "right_id" };
        self.line([id].into_iter().chain(UNMATCHED_HEADER).chain(own))
    }

    /// A pair.
    ///
    /// # Errors
    /// The writer failed.
    pub fn matched(&mut self, line: &MatchedLine<'_>) -> csv::Result<()> {
        let probability = line.probability.map(|probability| format!("{probability:.6}")).unwrap_or_default();
        let [left_line, right_line] = line.lines.map(|at| at.map(|at| at.to_string()).unwrap_or_default());
        let MatchedLine { match_id, left_id, right_id, kind, state, explanation, amounts, dates, .. } = line;
        let names = [*match_id, left_id, right_id, kind, &*probability, state, explanation, &left_line, &right_line];
        self.line(names.into_iter().chain(*amounts).chain(*dates))
    }

    /// A record without a match, with its cells in the order of the file's columns.
    ///
    /// # Errors
    /// The writer failed.
    pub fn unmatched<'a>(
        &mut self,
        line: &UnmatchedLine<'_>,
        own: impl IntoIterator<Item = &'a str>,
    ) -> csv::Result<()> {
        for cell in [line.id, &line.line.to_string(), line.reason, line.related_id] {
            self.csv.write_field(&*self.cells.of(cell))?;
        }
        for cell in own {
            self.csv.write_field(&*self.cells.of(cell))?;
        }
        self.csv.write_record(None::<&[u8]>)
    }

    /// Any line.
    ///
    /// # Errors
    /// The writer failed.
    pub fn line<'a>(&mut self, cells: impl IntoIterator<Item = &'a str>) -> csv::Result<()> {
        for cell in cells {
            self.csv.write_field(&*self.cells.of(cell))?;
        }
        self.csv.write_record(None::<&[u8]>)
    }

    /// Writes what is left, and gives back what it was written to.
    ///
    /// # Errors
    /// The writer failed.
    pub fn finish(self) -> csv::Result<W> {
        self.csv.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formula_becomes_text_and_a_number_stays_a_number() {
        let written = |cell: &str| Cells::Spreadsheet.of(cell).into_owned();
        for formula in [
            "=1+1",
            "=cmd|' /C calc'!A0",
            "+1+1",
            "-1-1",
            "-2/3",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "=",
            "-",
            "+",
            "@",
            "-x",
            "--1",
            "+-1",
            "-.",
            "-e5",
            "-1e",
            "-1e+",
            "=-1",
            "-1;=2",
            "+A1",
        ] {
            assert_eq!(written(formula), format!("'{formula}"), "{formula:?}");
        }
        for other in [
            "",
            "-1",
            "+1",
            "-0.50",
            "-1,234.56",
            "-1.234,56",
            "-1 234,56",
            "-1'234.50",
            "-1\u{a0}234",
            "-.5",
            "+5.",
            "-1e5",
            "-1.5E-3",
            "-12%",
            "a=1",
            " =1",
            "'=1",
            "1-1",
            "\u{2212}5",
            "x\t=1",
        ] {
            assert_eq!(written(other), other, "{other:?}");
            assert_eq!(Cells::Exact.of(other), other);
        }
        assert_eq!(Cells::Exact.of("=1+1"), "=1+1");
    }
}
