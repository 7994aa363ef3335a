//! The files a reconciliation leaves: a stable contract, documented in `docs/OUTPUT.md`.
//!
//! The one writer for command line, server and examples. Writes to any `io::Write`; opening files is the caller's.
//! Column order and names here never change without a changelog line, because people's spreadsheets depend on them.
use super::outcome::{Break, BreakKind, Candidate, Match, Outcome, Side};
use super::table::Table;
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
/// The header of `errors.csv`.
pub const ERRORS_HEADER: [&str; 5] = ["side", "line", "column", "value", "reason"];
/// The first columns of `unmatched_left.csv` and `unmatched_right.csv` behind the id.
pub const UNMATCHED_HEADER: [&str; 3] = ["line", "reason", "related_id"];

/// Writes every file; `open` makes the writer of a file name.
///
/// # Errors
/// The file that could not be opened or written, and why.
pub fn write_all<W: Write>(
    mut open: impl FnMut(&str) -> std::io::Result<W>,
    outcome: &Outcome,
    left: &Table,
    right: &Table,
) -> Result<(), (String, String)> {
    let mut write = |name: &str, content: &dyn Fn(std::io::BufWriter<W>) -> csv::Result<()>| {
        let failed = |reason: String| (name.to_owned(), reason);
        let out = open(name).map_err(|error| failed(error.to_string()))?;
        content(std::io::BufWriter::with_capacity(1 << 16, out)).map_err(|error| failed(error.to_string()))
    };
    write("matches.csv", &|out| write_matches_csv(out, outcome, left, right))?;
    write("candidates.csv", &|out| write_candidates_csv(out, outcome, left, right))?;
    write("unmatched_left.csv", &|out| write_unmatched_csv(out, outcome, Side::Left, left, right))?;
    write("unmatched_right.csv", &|out| write_unmatched_csv(out, outcome, Side::Right, left, right))?;
    write("errors.csv", &|out| write_errors_csv(out, left, right))?;
    write("summary.json", &|mut out| {
        serde_json::to_writer_pretty(&mut out, &summary_json(outcome, left, right)).map_err(std::io::Error::from)?;
        out.write_all(b"\n")?;
        out.flush().map_err(csv::Error::from)
    })
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
            let cells = (0..table.columns.len()).map(|column| super::text::hash(table.cell(row, column)));
            let id = super::text::hash(&table.id(row));
            cells.fold(super::text::combine(line.side as u64, id), super::text::combine)
        })
        .collect();
    rows.sort_unstable();
    let hash = rows.into_iter().fold(0, super::text::combine);
    format!("m{hash:016x}")
}

/// Writes `matches.csv`: one line per pair of rows; lines of one group share `match_id`.
///
/// # Errors
/// The writer failed.
pub fn write_matches_csv(out: impl Write, outcome: &Outcome, left: &Table, right: &Table) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(MATCHES_HEADER)?;
    let (amount, date) = (outcome.comparing.amount, outcome.comparing.date);
    for found in &outcome.matches {
        let id = match_id(found, left, right);
        let probability = format!("{:.6}", found.probability);
        for l in found.rows(Side::Left) {
            for r in found.rows(Side::Right) {
                let (l, r) = (l as usize, r as usize);
                let cell = |table: &'_ Table, row, column: Option<usize>| {
                    column.map_or(String::new(), |column| table.cell(row, column).to_owned())
                };
                csv.write_record([
                    id.as_str(),
                    &left.id(l),
                    &right.id(r),
                    found.kind.as_str(),
                    &probability,
                    found.state.as_str(),
                    &found.explanation,
                    &left.line(l).to_string(),
                    &right.line(r).to_string(),
                    &cell(left, l, amount.map(|a| a.0)),
                    &cell(right, r, amount.map(|a| a.1)),
                    &cell(left, l, date.map(|d| d.0)),
                    &cell(right, r, date.map(|d| d.1)),
                ])?;
            }
        }
    }
    csv.flush()?;
    Ok(())
}

/// Writes `candidates.csv`: the nearest rows of the other side for every row that is unmatched or for review.
///
/// # Errors
/// The writer failed.
pub fn write_candidates_csv(out: impl Write, outcome: &Outcome, left: &Table, right: &Table) -> csv::Result<()> {
    let mut csv = csv::Writer::from_writer(out);
    csv.write_record(CANDIDATES_HEADER)?;
    for Candidate { side, row, other, rank, probability, explanation } in &outcome.candidates {
        let (own, far) = if *side == Side::Left { (left, right) } else { (right, left) };
        let (row, other) = (*row as usize, *other as usize);
        csv.write_record([
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
    csv.write_record([id].into_iter().chain(UNMATCHED_HEADER).chain(own))?;
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
    let table = if matches!(lonely.kind, BreakKind::Duplicate | BreakKind::Contra) { own } else { other };
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
        "reading": { "left": left.reading(), "right": right.reading() },
        "comparing": outcome.comparing.json(left, right),
        "duplicates": s.duplicates,
        "pairs_compared": s.pairs_compared,
        "blocks_split": s.blocks_split,
        "blocks_left_out": s.blocks_left_out,
        "sum_searches_cut": s.sum_searches_cut,
    })
}
