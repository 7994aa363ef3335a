//! The files a reconciliation leaves: a stable contract, documented in `docs/OUTPUT.md`.
//!
//! The one writer for command line, server and examples. Writes to any `io::Write`; opening files is the caller's.
//! Column order and names here never change without a changelog line, because people's spreadsheets depend on them.
use super::{CANDIDATES_HEADER, Cells, ERRORS_HEADER, Lines, MatchedLine, UnmatchedLine};
use crate::outcome::{Break, BreakKind, Candidate, Match, Outcome, Side};
use crate::table::Table;
use std::io::Write;

/// Writes every file; `open` makes the writer of a file name.
///
/// # Errors
/// The file that could not be opened or written, and why.
pub fn write_all<W: Write>(
    mut open: impl FnMut(&str) -> std::io::Result<W>,
    cells: Cells,
    outcome: &Outcome,
    left: &Table,
    right: &Table,
) -> Result<(), (String, String)> {
    let mut write =
        |name: &str, content: &dyn Fn(std::io::BufWriter<W>) -> csv::Result<()>| write_file(&mut open, name, content);
    write("matches.csv", &|out| write_matches(Lines::new(out, cells), outcome, left, right))?;
    write("candidates.csv", &|out| write_candidates(Lines::new(out, cells), outcome, left, right))?;
    write("unmatched_left.csv", &|out| write_unmatched(Lines::new(out, cells), outcome, Side::Left, left, right))?;
    write("unmatched_right.csv", &|out| write_unmatched(Lines::new(out, cells), outcome, Side::Right, left, right))?;
    write("errors.csv", &|out| write_errors(Lines::new(out, cells), left, right))?;
    write("summary.json", &|out| write_json(out, &summary_json(outcome, left, right)))
}

/// Writes one file by its name.
pub(crate) fn write_file<W: Write>(
    mut open: impl FnMut(&str) -> std::io::Result<W>,
    name: &str,
    content: impl FnOnce(std::io::BufWriter<W>) -> csv::Result<()>,
) -> Result<(), (String, String)> {
    let failed = |reason: String| (name.to_owned(), reason);
    let out = open(name).map_err(|error| failed(error.to_string()))?;
    content(std::io::BufWriter::with_capacity(1 << 16, out)).map_err(|error| failed(error.to_string()))
}

/// Writes an indented JSON file that ends with a line feed.
pub(crate) fn write_json(mut out: impl Write, value: &impl serde::Serialize) -> csv::Result<()> {
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush().map_err(csv::Error::from)
}

/// A name for a match made of the content of its rows: the same in every run that finds the same match, whatever the
/// order of the rows.
pub fn match_id(found: &Match, left: &Table, right: &Table) -> String {
    let mut rows: Vec<u64> = found
        .lines
        .iter()
        .map(|line| {
            let table = if line.side == Side::Left { left } else { right };
            let row = line.row as usize;
            let cells = (0..table.columns.len()).map(|column| crate::text::hash(table.cell(row, column)));
            let id = crate::text::hash(&table.id(row));
            cells.fold(crate::text::combine(line.side as u64, id), crate::text::combine)
        })
        .collect();
    rows.sort_unstable();
    let hash = rows.into_iter().fold(0, crate::text::combine);
    format!("m{hash:016x}")
}

/// Writes `matches.csv` with cells as they are; see [`write_matches`].
///
/// # Errors
/// The writer failed.
pub fn write_matches_csv(out: impl Write, outcome: &Outcome, left: &Table, right: &Table) -> csv::Result<()> {
    write_matches(Lines::new(out, Cells::Exact), outcome, left, right)
}

/// Writes `matches.csv`: one line per pair of rows; lines of one group share `match_id`.
///
/// # Errors
/// The writer failed.
pub fn write_matches<W: Write>(mut to: Lines<W>, outcome: &Outcome, left: &Table, right: &Table) -> csv::Result<()> {
    to.matches_header()?;
    let (amount, date) = (outcome.comparing.amount, outcome.comparing.date);
    for found in &outcome.matches {
        let id = match_id(found, left, right);
        for l in found.rows(Side::Left) {
            for r in found.rows(Side::Right) {
                let (l, r) = (l as usize, r as usize);
                let values = |columns: Option<(usize, usize)>| {
                    columns.map_or(["", ""], |columns| [left.cell(l, columns.0), right.cell(r, columns.1)])
                };
                to.matched(&MatchedLine {
                    match_id: &id,
                    left_id: &left.id(l),
                    right_id: &right.id(r),
                    kind: found.kind.as_str(),
                    probability: Some(found.probability),
                    state: found.state.as_str(),
                    explanation: &found.said.explanation,
                    lines: [Some(left.line(l)), Some(right.line(r))],
                    amounts: values(amount),
                    dates: values(date),
                })?;
            }
        }
    }
    to.finish().map(drop)
}

/// Writes `candidates.csv`: the nearest rows of the other side for every row that is unmatched or for review.
///
/// # Errors
/// The writer failed.
pub fn write_candidates<W: Write>(mut to: Lines<W>, outcome: &Outcome, left: &Table, right: &Table) -> csv::Result<()> {
    to.line(CANDIDATES_HEADER)?;
    for Candidate { side, row, other, rank, probability, explanation } in &outcome.candidates {
        let (own, far) = if *side == Side::Left { (left, right) } else { (right, left) };
        let (row, other) = (*row as usize, *other as usize);
        to.line([
            side.as_str(),
            &own.id(row),
            &own.line(row).to_string(),
            &far.id(other),
            &far.line(other).to_string(),
            &rank.to_string(),
            &format!("{probability:.6}"),
            explanation,
        ])?;
    }
    to.finish().map(drop)
}

/// Writes the unmatched rows of a side with cells as they are; see [`write_unmatched`].
///
/// # Errors
/// The writer failed.
pub fn write_unmatched_csv(
    out: impl Write,
    outcome: &Outcome,
    side: Side,
    left: &Table,
    right: &Table,
) -> csv::Result<()> {
    write_unmatched(Lines::new(out, Cells::Exact), outcome, side, left, right)
}

/// Writes `unmatched_left.csv` or `unmatched_right.csv`: `id,line,reason,related_id`, then the file's own columns.
///
/// # Errors
/// The writer failed.
pub fn write_unmatched<W: Write>(
    mut to: Lines<W>,
    outcome: &Outcome,
    side: Side,
    left: &Table,
    right: &Table,
) -> csv::Result<()> {
    let table = if side == Side::Left { left } else { right };
    to.unmatched_header(side, table.columns.iter().map(|c| c.profile.name.as_str()))?;
    for lonely in outcome.breaks.iter().filter(|b| b.side == side) {
        let row = lonely.row as usize;
        let line = UnmatchedLine {
            id: &table.id(row),
            line: table.line(row),
            reason: lonely.kind.as_str(),
            related_id: &related_id(lonely, left, right).unwrap_or_default(),
        };
        to.unmatched(&line, (0..table.columns.len()).map(|column| table.cell(row, column)))?;
    }
    to.finish().map(drop)
}

/// The row that a duplicate repeats, else the nearest candidate, if there was one.
pub fn related_id(lonely: &Break, left: &Table, right: &Table) -> Option<String> {
    let own_side = matches!(lonely.kind, BreakKind::Duplicate | BreakKind::Contra);
    let table = if (lonely.side == Side::Left) == own_side { left } else { right };
    lonely.related.map(|row| table.id(row as usize).into_owned())
}

/// Writes `errors.csv` with cells as they are; see [`write_errors`].
///
/// # Errors
/// The writer failed.
pub fn write_errors_csv(out: impl Write, left: &Table, right: &Table) -> csv::Result<()> {
    write_errors(Lines::new(out, Cells::Exact), left, right)
}

/// Writes `errors.csv`: the rows that could not be read.
///
/// # Errors
/// The writer failed.
pub fn write_errors<W: Write>(mut to: Lines<W>, left: &Table, right: &Table) -> csv::Result<()> {
    to.line(ERRORS_HEADER)?;
    for (side, table) in [(Side::Left, left), (Side::Right, right)] {
        for error in &table.errors {
            let line = error.line.to_string();
            to.line([side.as_str(), &line, &error.column, &error.value, &error.reason])?;
        }
    }
    to.finish().map(drop)
}

/// The content of `summary.json`.
pub fn summary_json(outcome: &Outcome, left: &Table, right: &Table) -> serde_json::Value {
    let s = &outcome.summary;
    let side = |table: &Table, unmatched: u64| {
        serde_json::json!({
            "file": table.name, "id_column": table.id_column(),
            "rows": table.len(), "errors": table.error_count, "unmatched": unmatched,
        })
    };
    let mut summary = serde_json::json!({
        "left": side(left, s.unmatched_left),
        "right": side(right, s.unmatched_right),
        "matches": {
            "total": s.matches,
            "by_state": { "auto": s.auto, "review": s.review, "discrepancy": s.discrepancy },
            "by_kind": {
                "one_to_one": s.one_to_one, "one_to_many": s.one_to_many,
                "many_to_one": s.many_to_one, "many_to_many": s.many_to_many,
            },
        },
        "reading": { "left": left.reading(), "right": right.reading() },
        "comparing": outcome.comparing.json(left, right),
        "duplicates": s.duplicates,
        "pairs_compared": s.pairs_compared,
        "blocks_split": s.blocks_split,
        "blocks_left_out": s.blocks_left_out,
        "sum_searches_cut": s.sum_searches_cut,
    });
    if let Some(of) = left.reading().sampled_from {
        summary["sample"] = serde_json::json!({ "left_rows": left.len(), "of": of });
    }
    summary
}
