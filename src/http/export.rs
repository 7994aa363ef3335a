//! A result as text: CSV lines in the columns of the output contract, or JSON Lines.
//!
//! Leaves reading and sending to `routes::export`. Easy to get wrong: the columns are those that `tieout reconcile`
//! writes (docs/OUTPUT.md), so that one spreadsheet fits both.
use super::error::{ApiError, ApiResult};
use crate::{
    db::results::{ResultItem, ResultRecord, ResultStatus},
    reconcile::report::MATCHES_HEADER,
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
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8",
            Self::Jsonl => "application/jsonl; charset=utf-8",
        }
    }

    /// Its file extension.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}

/// Turns items into text. The first call also gives the header.
pub(super) struct Encoder {
    format: Format,
    status: ResultStatus,
    /// The file's own columns behind the fixed ones, for lists of single records.
    columns: Vec<String>,
    /// The columns that the job compares as amounts and as dates, left and right.
    compared: [Option<(String, String)>; 2],
    begun: bool,
}

impl Encoder {
    /// `columns` are those of the file whose unmatched records are listed; empty for matches.
    pub fn new(format: Format, status: ResultStatus, columns: Vec<String>, rules: &serde_json::Value) -> Self {
        let first = |kind: &str| {
            let compare = rules["compare"].as_array()?.iter().find(|compare| compare["kind"] == kind)?;
            Some((compare["left"].as_str()?.to_owned(), compare["right"].as_str()?.to_owned()))
        };
        Self { format, status, columns, compared: [first("tolerance"), first("window")], begun: false }
    }

    /// The text of these items.
    pub fn encode(&mut self, items: &[ResultItem]) -> ApiResult<Vec<u8>> {
        let first = !std::mem::replace(&mut self.begun, true);
        match self.format {
            Format::Jsonl => jsonl(items),
            Format::Csv => self.csv(items, first).map_err(|error| ApiError::internal(format!("export: {error}"))),
        }
    }

    fn csv(&self, items: &[ResultItem], first: bool) -> csv::Result<Vec<u8>> {
        let mut out = csv::Writer::from_writer(Vec::new());
        let side = match self.status {
            ResultStatus::UnmatchedLeft => Some("left_id"),
            ResultStatus::UnmatchedRight => Some("right_id"),
            _ => None,
        };
        match side {
            Some(id) => {
                if first {
                    out.write_record(
                        [id, "line", "reason", "related_id"].into_iter().chain(self.columns.iter().map(String::as_str)),
                    )?;
                }
                for item in items {
                    for record in item.left.iter().chain(&item.right) {
                        self.single(&mut out, item, record)?;
                    }
                }
            }
            None => {
                if first {
                    out.write_record(MATCHES_HEADER)?;
                }
                for item in items {
                    self.pairs(&mut out, item)?;
                }
            }
        }
        out.into_inner().map_err(|error| csv::Error::from(error.into_error()))
    }

    fn single(&self, out: &mut csv::Writer<Vec<u8>>, item: &ResultItem, record: &ResultRecord) -> csv::Result<()> {
        out.write_field(&record.id)?;
        out.write_field(record.ordinal.to_string())?;
        out.write_field(&item.kind)?;
        out.write_field("")?;
        for column in &self.columns {
            out.write_field(record.fields.get(column).and_then(|cell| cell.as_str()).unwrap_or_default())?;
        }
        out.write_record(None::<&[u8]>)
    }

    /// One line per pair; a record without a match is a line with one side.
    fn pairs(&self, out: &mut csv::Writer<Vec<u8>>, item: &ResultItem) -> csv::Result<()> {
        let side = |side: &[ResultRecord]| -> Vec<Option<ResultRecord>> {
            if side.is_empty() { vec![None] } else { side.iter().cloned().map(Some).collect() }
        };
        let probability = item.probability.map(|probability| format!("{probability:.6}")).unwrap_or_default();
        let match_id = item.match_id.as_deref().unwrap_or_default();
        for left in side(&item.left) {
            for right in side(&item.right) {
                let id = |record: &Option<ResultRecord>| record.as_ref().map(|r| r.id.clone()).unwrap_or_default();
                let ids = [id(&left), id(&right)];
                let line = [match_id, &ids[0], &ids[1], &item.kind, &probability, &item.state, &item.explanation];
                let more = self.lines_and_values(left.as_ref(), right.as_ref());
                out.write_record(line.into_iter().chain(more.iter().map(String::as_str)))?;
            }
        }
        Ok(())
    }

    /// Lines of the file, amounts and dates of both records: the columns behind the explanation.
    fn lines_and_values(&self, left: Option<&ResultRecord>, right: Option<&ResultRecord>) -> Vec<String> {
        let line = |record: Option<&ResultRecord>| record.map(|r| r.ordinal.to_string()).unwrap_or_default();
        let cell = |record: Option<&ResultRecord>, column: &str| {
            let value = record.and_then(|r| r.fields.get(column)).and_then(|cell| cell.as_str());
            value.unwrap_or_default().to_owned()
        };
        let mut out = vec![line(left), line(right)];
        for columns in &self.compared {
            let (l, r) = columns.as_ref().map_or(("", ""), |(l, r)| (l, r));
            out.extend([cell(left, l), cell(right, r)]);
        }
        out
    }
}

fn jsonl(items: &[ResultItem]) -> ApiResult<Vec<u8>> {
    let mut out = Vec::new();
    for item in items {
        serde_json::to_writer(&mut out, item).map_err(|error| ApiError::internal(format!("export: {error}")))?;
        out.push(b'\n');
    }
    Ok(out)
}
