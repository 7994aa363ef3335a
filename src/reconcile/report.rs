//! The files a reconciliation leaves: a stable contract, documented in `docs/OUTPUT.md`.
//!
//! Writes to any `io::Write`; opening files is the caller's. Column order and names here never change without a
//! changelog line, because people's spreadsheets depend on them.
pub use super::lines::{Cells, ERRORS_HEADER, Lines, MATCHES_HEADER, MatchedLine, UnmatchedLine};
use super::outcome::{Break, Match, Outcome, Side};
use super::table::Table;
use std::io::Write;

/// A name for a match made of the ids it joins: the same in every run that finds the same match.
pub fn match_id(found: &Match, left: &Table, right: &Table) -> String {
    let mut hash = 0;
    for line in &found.lines {
        let table = if line.side == Side::Left { left } else { right };
        hash = super::text::combine(hash, super::text::hash(&table.id(line.row as usize)));
        hash = super::text::combine(hash, line.side as u64);
    }
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
    for found in &outcome.matches {
        let id = match_id(found, left, right);
        for l in found.rows(Side::Left) {
            for r in found.rows(Side::Right) {
                to.matched(&MatchedLine {
                    match_id: &id,
                    left_id: &left.id(l as usize),
                    right_id: &right.id(r as usize),
                    kind: found.kind.as_str(),
                    probability: Some(found.probability),
                    state: found.state.as_str(),
                    explanation: &found.explanation,
                })?;
            }
        }
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
    let own_side = lonely.kind == super::outcome::BreakKind::Duplicate;
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
    serde_json::json!({
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
        "duplicates": s.duplicates,
        "pairs_compared": s.pairs_compared,
        "blocks_split": s.blocks_split,
        "blocks_left_out": s.blocks_left_out,
        "sum_searches_cut": s.sum_searches_cut,
    })
}
