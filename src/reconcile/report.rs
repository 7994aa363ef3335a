//! The files a reconciliation leaves: a stable contract, documented in `docs/API.md`.
//!
//! Writes to any `io::Write`; opening files is the caller's. Column order and names here never change without a
//! changelog line, because people's spreadsheets depend on them.
use super::outcome::{Break, Match, Outcome, Side};
use super::table::Table;
use std::io::Write;

/// The header of `matches.csv`.
pub const MATCHES_HEADER: [&str; 7] =
    ["match_id", "left_id", "right_id", "kind", "probability", "state", "explanation"];
/// The header of `errors.csv`.
pub const ERRORS_HEADER: [&str; 5] = ["side", "line", "column", "value", "reason"];

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

/// Writes `matches.csv`: one line per pair of rows; lines of one group share `match_id`.
///
/// # Errors
/// The writer failed.
pub fn write_matches_csv(out: impl Write, outcome: &Outcome, left: &Table, right: &Table) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(MATCHES_HEADER)?;
    for found in &outcome.matches {
        let id = match_id(found, left, right);
        let probability = format!("{:.6}", found.probability);
        for l in found.rows(Side::Left) {
            for r in found.rows(Side::Right) {
                csv.write_record([
                    id.as_str(),
                    &left.id(l as usize),
                    &right.id(r as usize),
                    found.kind.as_str(),
                    &probability,
                    found.state.as_str(),
                    &found.explanation,
                ])?;
            }
        }
    }
    csv.flush()?;
    Ok(())
}

/// Writes `unmatched_left.csv` or `unmatched_right.csv`: `id,line,reason,related_id`, then the file's own columns.
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
    let (table, other) = if side == Side::Left { (left, right) } else { (right, left) };
    let mut csv = csv::Writer::from_writer(out);
    let own = table.columns.iter().map(|c| c.profile.name.as_str());
    let id = if side == Side::Left { "left_id" } else { "right_id" };
    csv.write_record([id, "line", "reason", "related_id"].into_iter().chain(own))?;
    for lonely in outcome.breaks.iter().filter(|b| b.side == side) {
        let row = lonely.row as usize;
        csv.write_field(table.id(row).as_ref())?;
        csv.write_field(table.line(row).to_string())?;
        csv.write_field(lonely.kind.as_str())?;
        csv.write_field(related_id(lonely, table, other))?;
        for column in 0..table.columns.len() {
            csv.write_field(table.cell(row, column))?;
        }
        csv.write_record(None::<&[u8]>)?;
    }
    csv.flush()?;
    Ok(())
}

fn related_id(lonely: &Break, own: &Table, other: &Table) -> String {
    let table = if lonely.kind == super::outcome::BreakKind::Duplicate { own } else { other };
    lonely.related.map_or(String::new(), |row| table.id(row as usize).into_owned())
}

/// Writes `errors.csv`: the rows that could not be read.
///
/// # Errors
/// The writer failed.
pub fn write_errors_csv(out: impl Write, left: &Table, right: &Table) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(ERRORS_HEADER)?;
    for (side, table) in [(Side::Left, left), (Side::Right, right)] {
        for error in &table.errors {
            let line = error.line.to_string();
            csv.write_record([side.as_str(), &line, &error.column, &error.value, &error.reason])?;
        }
    }
    csv.flush()?;
    Ok(())
}

/// The content of `summary.json`.
pub fn summary_json(outcome: &Outcome, left: &Table, right: &Table) -> serde_json::Value {
    let s = &outcome.summary;
    let side = |table: &Table, unmatched: u64| {
        serde_json::json!({
            "file": table.name, "id_column": table.id_column(),
            "rows": table.len(), "errors": table.error_count, "unmatched": unmatched,
            "reading": table.reading(),
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
