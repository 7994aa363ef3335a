//! Results of a completed job, read by page with the records they are about.
//!
//! It leaves writing them to [`super::staging`]. The one thing easy to get wrong: only the published attempt is
//! read; staged rows of a running or dead attempt lie in the same tables.
use super::error::StoreError;
use super::events::{Page, Position, position};
use super::jobs::{Counts, Job};
use super::pool::{self, Engine};
use super::projects::{MAX_PAGE, cursor};
use super::records::{self, BATCH_ROWS};
use super::schema::{result_lines, results, row_errors};
use super::sql_types::{Json, word_column};
use super::store::Store;
use crate::protocol::ids::{JobId, SourceId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::HashMap;

word_column! {
    /// The list a result is in.
    ResultStatus {
        /// Records that belong together, those to review included.
        Matched = "matched",
        /// A record of the left side without a match.
        UnmatchedLeft = "unmatched_left",
        /// A record of the right side without a match.
        UnmatchedRight = "unmatched_right",
        /// Records that belong together but disagree.
        Discrepancy = "discrepancy",
        /// Only in questions: all of them.
        All = "all",
    }
}

impl ResultStatus {
    /// How many results of this status a job has.
    pub fn total(self, counts: &Counts) -> u64 {
        match self {
            Self::Matched => counts.matched,
            Self::UnmatchedLeft => counts.unmatched_left,
            Self::UnmatchedRight => counts.unmatched_right,
            Self::Discrepancy => counts.discrepancy,
            Self::All => counts.matched + counts.discrepancy + counts.unmatched_left + counts.unmatched_right,
        }
    }
}

/// One match or break, as it crosses the wire.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ResultItem {
    /// Its place in the job's results.
    pub ordinal: u64,
    /// The list it is in.
    pub status: ResultStatus,
    /// The name of a match; absent for a break.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub match_id: Option<String>,
    /// `one_to_one` and so on, or why a record has no match.
    pub kind: String,
    /// Of a break: the id of the row that a duplicate repeats, else of the nearest candidate, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub related_id: Option<String>,
    /// `auto`, `review`, `discrepancy` or `unmatched`.
    pub state: String,
    /// That the records belong together.
    pub probability: Option<f64>,
    /// Records of the left side.
    pub left: Vec<ResultRecord>,
    /// Records of the right side.
    pub right: Vec<ResultRecord>,
    /// Field by field: `{label,left,right,level,weight}`.
    #[schemars(with = "Vec<crate::reconcile::FieldComparison>")]
    pub comparisons: Value,
    /// The same in a sentence.
    pub explanation: String,
}

/// A record as part of a result.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ResultRecord {
    /// Its line in the file.
    pub ordinal: u64,
    /// Its id in the job's id column.
    pub id: String,
    /// What of its amount the match settles, in minor units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_minor: Option<i64>,
    /// Its cells by column.
    pub fields: Map<String, Value>,
}

/// Some results.
#[derive(Debug, Clone, PartialEq)]
pub struct ResultPage {
    /// In the order of their ordinals.
    pub items: Vec<ResultItem>,
    /// Give it as `after` for the next page.
    pub next: Option<String>,
    /// How many there are of that status in all.
    pub total: u64,
    /// The project's position, read in the same transaction.
    pub position: Position,
}

/// A row of a file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RowProblem {
    /// `left` or `right`.
    pub side: String,
    /// Line of the file.
    pub line: u64,
    /// The column; empty when the whole row is bad.
    pub column: String,
    /// What does not fit.
    pub value: String,
    /// Why.
    pub reason: String,
}

type ResultRow = (i64, ResultStatus, Option<String>, String, String, Option<f64>, Json, String, Option<String>);
type LineRow = (i64, String, i64, Option<i64>);

/// Results of a job in their order; none while it is not completed.
///
/// # Errors
/// [`StoreError::NotFound`] for the job; [`StoreError::Invalid`] for the cursor.
pub async fn page(
    store: &Store,
    id: JobId,
    status: ResultStatus,
    after: Option<&str>,
    limit: usize,
) -> Result<ResultPage, StoreError> {
    let after = after.map(cursor::<i64>).transpose()?;
    let limit = limit.clamp(1, MAX_PAGE);
    pool::read!(store, |conn| {
        let job = super::jobs::find(conn, id).await?;
        let position = position(conn, job.project_id).await?;
        let (Some(attempt), Some(counts)) = (job.published_attempt, &job.counts) else {
            return Ok(ResultPage { items: Vec::new(), next: None, total: 0, position });
        };
        let total = status.total(counts);
        let mut query = results::table
            .filter(results::job_id.eq(id).and(results::attempt.eq(attempt)))
            .order(results::ordinal)
            .limit(limit as i64 + 1)
            .select((
                results::ordinal,
                results::status,
                results::match_id,
                results::kind,
                results::state,
                results::probability,
                results::comparisons,
                results::explanation,
                results::related_id,
            ))
            .into_boxed();
        if status != ResultStatus::All {
            query = query.filter(results::status.eq(status));
        }
        if let Some(after) = after {
            query = query.filter(results::ordinal.gt(after));
        }
        let rows: Vec<ResultRow> = query.load(conn).await?;
        let page = Page::cut(rows, limit, |row: &ResultRow| row.0.to_string());
        let items = with_records(conn, &job, attempt, page.items).await?;
        Ok::<_, StoreError>(ResultPage { items, next: page.next, total, position })
    })
}

/// Rows of either file that could not be read, left side first; none while the job is not completed.
///
/// # Errors
/// [`StoreError::NotFound`] for the job; [`StoreError::Invalid`] for the cursor.
pub async fn row_errors(
    store: &Store,
    id: JobId,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<RowProblem>, StoreError> {
    let after = after.map(cursor::<i64>).transpose()?.unwrap_or(-1);
    let limit = limit.clamp(1, MAX_PAGE);
    pool::read!(store, |conn| {
        let job = super::jobs::find(conn, id).await?;
        let rows: Vec<(i64, String, i64, String, String, String)> = row_errors::table
            .filter(row_errors::job_id.eq(id).and(row_errors::attempt.eq(job.published_attempt.unwrap_or(-1))))
            .filter(row_errors::ordinal.gt(after))
            .order(row_errors::ordinal)
            .limit(limit as i64 + 1)
            .select((
                row_errors::ordinal,
                row_errors::side,
                row_errors::line,
                row_errors::column_name,
                row_errors::value,
                row_errors::reason,
            ))
            .load(conn)
            .await?;
        let page = Page::cut(rows, limit, |row: &(i64, String, i64, String, String, String)| row.0.to_string());
        let items = page.items.into_iter().map(|(_, side, line, column, value, reason)| RowProblem {
            side,
            line: line.unsigned_abs(),
            column,
            value,
            reason,
        });
        let position = position(conn, job.project_id).await?;
        Ok::<_, StoreError>(Page { items: items.collect(), next: page.next, position: Some(position) })
    })
}

/// One side of a job: its records by ordinal, its column names and the place of its id column.
struct SideRecords {
    by_ordinal: HashMap<i64, records::Record>,
    columns: Vec<String>,
    id_column: Option<usize>,
}

async fn with_records(
    conn: &mut impl Engine,
    job: &Job,
    attempt: i64,
    rows: Vec<ResultRow>,
) -> Result<Vec<ResultItem>, StoreError> {
    let ordinals: Vec<i64> = rows.iter().map(|row| row.0).collect();
    let lines: Vec<LineRow> = pool::on!(conn, |conn| {
        result_lines::table
            .filter(result_lines::job_id.eq(job.id).and(result_lines::attempt.eq(attempt)))
            .filter(result_lines::result_ordinal.eq_any(&ordinals))
            .order((result_lines::result_ordinal, result_lines::side, result_lines::record_ordinal))
            .select((
                result_lines::result_ordinal,
                result_lines::side,
                result_lines::record_ordinal,
                result_lines::allocated_minor,
            ))
            .load(conn)
            .await?
    });
    let left = side(conn, job, "left", job.left_source_id, &lines).await?;
    let right = side(conn, job, "right", job.right_source_id, &lines).await?;
    let mut by_result: HashMap<i64, Vec<&LineRow>> = HashMap::new();
    for line in &lines {
        by_result.entry(line.0).or_default().push(line);
    }
    let items =
        rows.into_iter().map(|(ordinal, status, match_id, kind, state, probability, comparisons, text, related_id)| {
            let own = by_result.remove(&ordinal).unwrap_or_default();
            let of = |name: &str, side: &SideRecords| {
                own.iter().filter(|line| line.1 == name).map(|line| side.shown(line.2, line.3)).collect()
            };
            ResultItem {
                ordinal: ordinal.unsigned_abs(),
                status,
                match_id,
                kind,
                related_id,
                state,
                probability,
                left: of("left", &left),
                right: of("right", &right),
                comparisons: comparisons.0,
                explanation: text,
            }
        });
    Ok(items.collect())
}

async fn side(
    conn: &mut impl Engine,
    job: &Job,
    name: &str,
    source: SourceId,
    lines: &[LineRow],
) -> Result<SideRecords, StoreError> {
    let wanted: Vec<i64> = lines.iter().filter(|line| line.1 == name).map(|line| line.2).collect();
    let mut by_ordinal = HashMap::with_capacity(wanted.len());
    // A bound per statement; a page has rarely more than one chunk.
    for chunk in wanted.chunks(BATCH_ROWS) {
        let found = records::load(conn, source, chunk.to_vec()).await?;
        by_ordinal.extend(found.into_iter().map(|record| (record.ordinal as i64, record)));
    }
    let profile = super::sources::find(conn, source).await?.columns;
    let listed = profile.get("columns").unwrap_or(&profile).as_array().cloned().unwrap_or_default();
    let columns: Vec<String> =
        listed.iter().map(|column| column["name"].as_str().unwrap_or_default().to_owned()).collect();
    let asked = job.options.get(format!("{name}_id")).and_then(Value::as_str);
    let id_column = asked.and_then(|asked| columns.iter().position(|column| column == asked));
    Ok(SideRecords { by_ordinal, columns, id_column })
}

impl SideRecords {
    fn shown(&self, ordinal: i64, allocated_minor: Option<i64>) -> ResultRecord {
        let record = self.by_ordinal.get(&ordinal);
        let cells = record.map(|record| record.fields.as_slice()).unwrap_or_default();
        let id = self.id_column.and_then(|at| cells.get(at)).or(record.map(|record| &record.record_key));
        let fields = self.columns.iter().cloned().zip(cells.iter().map(|cell| Value::String(cell.clone())));
        ResultRecord {
            ordinal: ordinal.unsigned_abs(),
            id: id.cloned().unwrap_or_else(|| format!("line {ordinal}")),
            allocated_minor,
            fields: fields.collect(),
        }
    }
}
