//! The files of a search for duplicates; a contract, see `docs/OUTPUT.md`.
use super::Deduped;
use crate::report::{Cells, Lines, write_file, write_json};
use crate::table::Table;
use serde_json::json;
use std::io::Write;

/// The header of `clusters.csv`.
pub const CLUSTERS_HEADER: [&str; 6] = ["cluster", "id", "line", "probability", "representative", "state"];
/// The header of `pairs.csv`; `evaluate` reads it like `matches.csv`.
pub const PAIRS_HEADER: [&str; 9] =
    ["cluster", "left_id", "right_id", "kind", "probability", "state", "explanation", "left_line", "right_line"];
/// The header of `errors.csv`.
pub const DEDUPE_ERRORS_HEADER: [&str; 4] = ["line", "column", "value", "reason"];

/// Writes `clusters.csv`, `pairs.csv`, `errors.csv` and `summary.json`; `open` makes the writer of a file name.
///
/// # Errors
/// The file that could not be opened or written, and why.
pub fn write_deduped<W: Write>(
    mut open: impl FnMut(&str) -> std::io::Result<W>,
    cells: Cells,
    found: &Deduped,
    table: &Table,
) -> Result<(), (String, String)> {
    let mut write =
        |name: &str, content: &dyn Fn(std::io::BufWriter<W>) -> csv::Result<()>| write_file(&mut open, name, content);
    write("clusters.csv", &|out| clusters(Lines::new(out, cells), found, table))?;
    write("pairs.csv", &|out| pairs(Lines::new(out, cells), found, table))?;
    write("errors.csv", &|out| errors(Lines::new(out, cells), table))?;
    write("summary.json", &|out| write_json(out, &dedupe_summary_json(found, table)))
}

fn clusters<W: Write>(mut to: Lines<W>, found: &Deduped, table: &Table) -> csv::Result<()> {
    to.line(CLUSTERS_HEADER)?;
    for cluster in &found.clusters {
        for member in &cluster.members {
            let row = member.row as usize;
            to.line([
                cluster.id.as_str(),
                &table.id(row),
                &table.line(row).to_string(),
                &format!("{:.6}", member.probability),
                if member.is_representative { "yes" } else { "no" },
                cluster.state.as_str(),
            ])?;
        }
    }
    to.finish().map(drop)
}

fn pairs<W: Write>(mut to: Lines<W>, found: &Deduped, table: &Table) -> csv::Result<()> {
    to.line(PAIRS_HEADER)?;
    for cluster in &found.clusters {
        for pair in &cluster.pairs {
            let (first, second) = (pair.first as usize, pair.second as usize);
            to.line([
                cluster.id.as_str(),
                &table.id(first),
                &table.id(second),
                "duplicate",
                &format!("{:.6}", pair.probability),
                pair.state.as_str(),
                &pair.explanation,
                &table.line(first).to_string(),
                &table.line(second).to_string(),
            ])?;
        }
    }
    to.finish().map(drop)
}

fn errors<W: Write>(mut to: Lines<W>, table: &Table) -> csv::Result<()> {
    to.line(DEDUPE_ERRORS_HEADER)?;
    for error in &table.errors {
        to.line([&*error.line.to_string(), &error.column, &error.value, &error.reason])?;
    }
    to.finish().map(drop)
}

/// The content of `summary.json`.
pub fn dedupe_summary_json(found: &Deduped, table: &Table) -> serde_json::Value {
    let s = &found.summary;
    let compared: Vec<_> = found
        .comparing
        .compared
        .iter()
        .map(|c| json!({ "kind": c.kind, "left": c.left, "right": c.right, "evidence": c.evidence }))
        .collect();
    let left_out = found.comparing.left_out.iter().filter(|out| out.side == crate::outcome::Side::Left);
    let left_out: Vec<_> = left_out.map(|out| json!({ "column": out.column, "reason": out.reason })).collect();
    json!({
        "file": table.name,
        "id_column": table.id_column(),
        "rows": s.rows,
        "errors": table.error_count,
        "clusters": {
            "total": s.auto + s.review,
            "by_state": { "auto": s.auto, "review": s.review },
            "rows": s.clustered_rows,
            "largest": s.largest,
        },
        "rows_without_like": s.rows - s.clustered_rows,
        "rows_to_drop": s.clustered_rows - s.auto - s.review,
        "links_refused": s.links_refused,
        "reading": table.reading(),
        "comparing": { "compared": compared, "left_out": left_out, "warnings": found.comparing.warnings },
        "pairs_compared": s.pairs_compared,
        "blocks_split": s.blocks_split,
        "blocks_left_out": s.blocks_left_out,
    })
}
