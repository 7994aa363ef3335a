//! A result as text: CSV lines in the columns of the output contract, or JSON Lines.
//!
//! Leaves reading and sending to `routes::export`. Easy to get wrong: the columns are those that `tieout reconcile`
//! writes (docs/OUTPUT.md), so that one spreadsheet fits both.
use super::error::{ApiError, ApiResult};
use crate::{
    db::results::{ResultItem, ResultRecord, ResultStatus},
    reconcile::{
        Side,
        report::{Cells, Lines, MatchedLine, UnmatchedLine},
    },
};
use serde::Deserialize;

/// The format of a download.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Comma-separated, one line per pair of records.
    Csv,
    /// One result item per line.
    Jsonl,
}

impl Format {
    /// Its media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Jsonl => "application/jsonl; charset=utf-8",
        }
    }

    /// Its file extension.
    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// For whom the cells of CSV are written.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Safe {
    /// A spreadsheet, which would run cells that look like formulas: they get a `'` before them.
    Spreadsheet,
}

/// Turns items into text. The first call also gives the header.
pub(super) struct Encoder {
    format: Format,
    cells: Cells,
    status: ResultStatus,
    /// The file's own columns behind the fixed ones, for lists of single records.
    columns: Vec<String>,
    /// The columns that the job compares as amounts and as dates, left and right.
    compared: [Option<(String, String)>; 2],
    begun: bool,
}

impl Encoder {
    /// `columns` are those of the file whose unmatched records are listed; empty for matches.
    pub(super) fn new(
        format: Format,
        safe: Option<Safe>,
        status: ResultStatus,
        columns: Vec<String>,
        rules: &serde_json::Value,
    ) -> Self {
        let cells = if safe.is_some() { Cells::Spreadsheet } else { Cells::Exact };
        let first = |kind: &str| {
            let compare = rules["compare"].as_array()?.iter().find(|compare| compare["kind"] == kind)?;
            Some((compare["left"].as_str()?.to_owned(), compare["right"].as_str()?.to_owned()))
        };
        Self { format, cells, status, columns, compared: [first("tolerance"), first("window")], begun: false }
    }

    /// The text of these items.
    pub(super) fn encode(&mut self, items: &[ResultItem]) -> ApiResult<Vec<u8>> {
        let first = !std::mem::replace(&mut self.begun, true);
        match self.format {
            Format::Jsonl => jsonl(items),
            Format::Csv => self.csv(items, first).map_err(|error| ApiError::internal(format!("export: {error}"))),
        }
    }

    fn csv(&self, items: &[ResultItem], first: bool) -> csv::Result<Vec<u8>> {
        let mut out = Lines::new(Vec::new(), self.cells);
        let side = match self.status {
            ResultStatus::UnmatchedLeft => Some(Side::Left),
            ResultStatus::UnmatchedRight => Some(Side::Right),
            _ => None,
        };
        match side {
            Some(side) => {
                if first {
                    out.unmatched_header(side, self.columns.iter().map(String::as_str))?;
                }
                for item in items {
                    for record in item.left.iter().chain(&item.right) {
                        self.single(&mut out, item, record)?;
                    }
                }
            }
            None => {
                if first {
                    out.matches_header()?;
                }
                for item in items {
                    self.pairs(&mut out, item)?;
                }
            }
        }
        out.finish()
    }

    fn single(&self, out: &mut Lines<Vec<u8>>, item: &ResultItem, record: &ResultRecord) -> csv::Result<()> {
        let line = UnmatchedLine {
            id: &record.id,
            line: record.ordinal,
            reason: &item.kind,
            related_id: item.related_id.as_deref().unwrap_or_default(),
        };
        let cell = |column| record.fields.get(column).and_then(|cell| cell.as_str()).unwrap_or_default();
        out.unmatched(&line, self.columns.iter().map(cell))
    }

    /// One line per pair; a record without a match is a line with one side.
    fn pairs(&self, out: &mut Lines<Vec<u8>>, item: &ResultItem) -> csv::Result<()> {
        let side = |side: &'_ [ResultRecord]| -> Vec<Option<usize>> {
            if side.is_empty() { vec![None] } else { (0..side.len()).map(Some).collect() }
        };
        for left in side(&item.left) {
            for right in side(&item.right) {
                let (left, right) = (left.map(|at| &item.left[at]), right.map(|at| &item.right[at]));
                let [amounts, dates] = self
                    .compared
                    .each_ref()
                    .map(|columns| columns.as_ref().map_or(["", ""], |(l, r)| [cell(left, l), cell(right, r)]));
                out.matched(&MatchedLine {
                    match_id: item.match_id.as_deref().unwrap_or_default(),
                    left_id: left.map(|record| record.id.as_str()).unwrap_or_default(),
                    right_id: right.map(|record| record.id.as_str()).unwrap_or_default(),
                    kind: &item.kind,
                    probability: item.probability,
                    state: &item.state,
                    explanation: &item.explanation,
                    lines: [left.map(|record| record.ordinal), right.map(|record| record.ordinal)],
                    amounts,
                    dates,
                })?;
            }
        }
        Ok(())
    }
}

/// A record's cell as it stands in the file; empty where there is none.
fn cell<'a>(record: Option<&'a ResultRecord>, column: &str) -> &'a str {
    record.and_then(|record| record.fields.get(column)).and_then(|cell| cell.as_str()).unwrap_or_default()
}

fn jsonl(items: &[ResultItem]) -> ApiResult<Vec<u8>> {
    let mut out = Vec::new();
    for item in items {
        serde_json::to_writer(&mut out, item).map_err(|error| ApiError::internal(format!("export: {error}")))?;
        out.push(b'\n');
    }
    Ok(out)
}
