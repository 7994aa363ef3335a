//! Results of a completed job, read by page with the records they are about.
//!
//! It leaves writing them to [`super::staging`]. Easy to get wrong: only the published attempt is read; staged rows of a
//! running or dead attempt lie in the same tables. And a page is bounded in bytes, so sizes are read before texts.
use super::error::StoreError;
use super::events::{Page, Position, position};
use super::jobs::{Counts, Job};
use super::paging::{PAGE_BYTES, fitting};
use super::pool::{self, Engine};
use super::projects::{MAX_PAGE, cursor};
use super::records::{self, BATCH_ROWS};
use super::schema::{records as stored, result_lines, result_texts, results, row_errors};
use super::sql_types::word_column;
use super::staging::SharedComparison;
use super::store::Store;
use super::wording::{compared, why};
use crate::protocol::ids::{JobId, SourceId};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

type ResultRow =
    (i64, ResultStatus, Option<String>, String, String, Option<f64>, String, String, Option<String>, Option<i64>);
type LineRow = (i64, String, i64, Option<i64>);

/// Results of a job in their order; none while it is not completed. A page ends after `limit` results or, unless one alone
/// has more, [`PAGE_BYTES`].
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
    page_within(store, id, status, after, limit, PAGE_BYTES).await
}

/// As [`page`], with another bound of bytes.
///
/// # Errors
/// As [`page`].
pub async fn page_within(
    store: &Store,
    id: JobId,
    status: ResultStatus,
    after: Option<&str>,
    limit: usize,
    most_bytes: u64,
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
            .select((results::ordinal, sql::<BigInt>(RESULT_BYTES)))
            .into_boxed();
        if status != ResultStatus::All {
            query = query.filter(results::status.eq(status));
        }
        if let Some(after) = after {
            query = query.filter(results::ordinal.gt(after));
        }
        let mut found: Vec<(i64, i64)> = query.load(conn).await?;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut sides = Sides::of(conn, &job, attempt, &found).await?;
        let count = fitting(sides.sizes(conn, &found).await?, most_bytes);
        let next = found.get(count.saturating_sub(1)).filter(|_| more || count < found.len());
        let next = next.map(|(ordinal, _)| ordinal.to_string());
        found.truncate(count);
        let items = sides.items(conn, &job, attempt, &found).await?;
        Ok::<_, StoreError>(ResultPage { items, next, total, position })
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

/// Bytes of a result's texts, its own or shared.
const RESULT_BYTES: &str = "CAST(octet_length(comparisons) + octet_length(explanation) + coalesce((SELECT \
    octet_length(t.comparisons) + octet_length(t.explanation) FROM result_texts t WHERE t.job_id = results.job_id AND \
    t.attempt = results.attempt AND t.ordinal = results.text_ordinal), 0) AS BIGINT)";
/// Bytes of a record's texts.
const RECORD_BYTES: &str = "CAST(octet_length(fields) + octet_length(record_key) AS BIGINT)";
/// Bytes around an item's texts, and around each of its records, as they cross the wire.
const AROUND: u64 = 256;

/// Both sides of some results: which records they are about.
struct Sides {
    lines: Vec<LineRow>,
    left: Side,
    right: Side,
}

/// One side of a job: its column names, the place of its id column and, once they are loaded, records by ordinal.
struct Side {
    name: &'static str,
    source: SourceId,
    columns: Vec<String>,
    id_column: Option<usize>,
    by_ordinal: HashMap<i64, records::Record>,
}

impl Sides {
    async fn of(conn: &mut impl Engine, job: &Job, attempt: i64, found: &[(i64, i64)]) -> Result<Self, StoreError> {
        let ordinals: Vec<i64> = found.iter().map(|(ordinal, _)| *ordinal).collect();
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
        let left = Side::find(conn, job, "left", job.left_source_id).await?;
        let right = Side::find(conn, job, "right", job.right_source_id).await?;
        Ok(Self { lines, left, right })
    }

    /// What each of these results takes with its records, about.
    async fn sizes(&self, conn: &mut impl Engine, found: &[(i64, i64)]) -> Result<Vec<u64>, StoreError> {
        let mut sizes: HashMap<i64, u64> =
            found.iter().map(|(ordinal, bytes)| (*ordinal, bytes.unsigned_abs() + AROUND)).collect();
        for side in [&self.left, &self.right] {
            let of_record = side.record_sizes(conn, &self.lines).await?;
            for line in self.lines.iter().filter(|line| line.1 == side.name) {
                // Twice: what is compared stands in the comparisons as well.
                *sizes.entry(line.0).or_default() += 2 * of_record.get(&line.2).copied().unwrap_or(0) + side.around();
            }
        }
        Ok(found.iter().map(|(ordinal, _)| sizes.get(ordinal).copied().unwrap_or(0)).collect())
    }

    /// These results with their records.
    async fn items(
        &mut self,
        conn: &mut impl Engine,
        job: &Job,
        attempt: i64,
        found: &[(i64, i64)],
    ) -> Result<Vec<ResultItem>, StoreError> {
        let ordinals: Vec<i64> = found.iter().map(|(ordinal, _)| *ordinal).collect();
        let last = ordinals.last().copied().unwrap_or(-1);
        self.lines.retain(|line| line.0 <= last);
        for side in [&mut self.left, &mut self.right] {
            side.load(conn, &self.lines).await?;
        }
        let rows: Vec<ResultRow> = pool::on!(conn, |conn| {
            results::table
                .filter(results::job_id.eq(job.id).and(results::attempt.eq(attempt)))
                .filter(results::ordinal.eq_any(&ordinals))
                .order(results::ordinal)
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
                    results::text_ordinal,
                ))
                .load(conn)
                .await?
        });
        let mut wanted: Vec<i64> = rows.iter().filter_map(|row| row.9).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let texts: Vec<(i64, String, String)> = pool::on!(conn, |conn| {
            result_texts::table
                .filter(result_texts::job_id.eq(job.id).and(result_texts::attempt.eq(attempt)))
                .filter(result_texts::ordinal.eq_any(&wanted))
                .select((result_texts::ordinal, result_texts::comparisons, result_texts::explanation))
                .load(conn)
                .await?
        });
        let broken = |error: String| StoreError::Internal(format!("a result of job {}: {error}", job.id));
        let mut shared = HashMap::new();
        for (ordinal, comparisons, explanation) in texts {
            let read = serde_json::from_str(&comparisons);
            let comparisons: Vec<SharedComparison> = read.map_err(|error| broken(error.to_string()))?;
            shared.insert(ordinal, (comparisons, explanation));
        }
        rows.into_iter().map(|row| self.item(row, &shared).map_err(broken)).collect()
    }

    fn item(
        &self,
        (ordinal, status, match_id, kind, state, probability, comparisons, explanation, related_id, text): ResultRow,
        shared: &HashMap<i64, (Vec<SharedComparison>, String)>,
    ) -> Result<ResultItem, String> {
        let from = self.lines.partition_point(|line| line.0 < ordinal);
        let own = self.lines[from..].iter().take_while(|line| line.0 == ordinal);
        let of = |side: &Side| {
            own.clone().filter(|line| line.1 == side.name).map(|line| side.shown(line.2, line.3)).collect()
        };
        let (left, right): (Vec<ResultRecord>, Vec<ResultRecord>) = (of(&self.left), of(&self.right));
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        let (comparisons, explanation) = match text {
            Some(text) => {
                let (said, explanation) = shared.get(&text).ok_or_else(|| format!("its text {text} is not there"))?;
                (compared(said, &comparisons, &left, &right)?, explanation.clone())
            }
            None if match_id.is_none() && explanation.is_empty() => {
                (json(&comparisons)?, why(status, &kind, related_id.as_deref()))
            }
            None => (json(&comparisons)?, explanation),
        };
        Ok(ResultItem {
            ordinal: ordinal.unsigned_abs(),
            status,
            match_id,
            kind,
            related_id,
            state,
            probability,
            left,
            right,
            comparisons,
            explanation,
        })
    }
}

impl Side {
    async fn find(conn: &mut impl Engine, job: &Job, name: &'static str, source: SourceId) -> Result<Self, StoreError> {
        let columns = super::sources::find(conn, source).await?.column_names();
        let asked = job.options.get(format!("{name}_id")).and_then(Value::as_str);
        let id_column = asked.and_then(|asked| columns.iter().position(|column| column == asked));
        Ok(Self { name, source, columns, id_column, by_ordinal: HashMap::new() })
    }

    /// The records of this side, each once.
    fn wanted(&self, lines: &[LineRow]) -> Vec<i64> {
        let mut wanted: Vec<i64> = lines.iter().filter(|line| line.1 == self.name).map(|line| line.2).collect();
        wanted.sort_unstable();
        wanted.dedup();
        wanted
    }

    async fn record_sizes(&self, conn: &mut impl Engine, lines: &[LineRow]) -> Result<HashMap<i64, u64>, StoreError> {
        let mut sizes = HashMap::new();
        // A bound per statement; a page has rarely more than one chunk.
        for chunk in self.wanted(lines).chunks(BATCH_ROWS) {
            let found: Vec<(i64, i64)> = pool::on!(conn, |conn| {
                stored::table
                    .filter(stored::source_id.eq(self.source).and(stored::ordinal.eq_any(chunk)))
                    .select((stored::ordinal, sql::<BigInt>(RECORD_BYTES)))
                    .load(conn)
                    .await?
            });
            sizes.extend(found.into_iter().map(|(ordinal, bytes)| (ordinal, bytes.unsigned_abs())));
        }
        Ok(sizes)
    }

    /// Bytes that a record takes beside its own: the names of its columns, and what is around it.
    fn around(&self) -> u64 {
        self.columns.iter().map(|name| name.len() as u64 + 6).sum::<u64>() + AROUND
    }

    async fn load(&mut self, conn: &mut impl Engine, lines: &[LineRow]) -> Result<(), StoreError> {
        for chunk in self.wanted(lines).chunks(BATCH_ROWS) {
            let found = records::load(conn, self.source, chunk.to_vec()).await?;
            self.by_ordinal.extend(found.into_iter().map(|record| (record.ordinal as i64, record)));
        }
        Ok(())
    }

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
