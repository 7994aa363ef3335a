//! Staging: a runner writes what it found in batches that nobody sees, then makes all of it visible at once.
//!
//! Rows lie under (job, attempt). The one thing easy to get wrong: every batch checks the fence in its own
//! transaction, so that a runner which lost its job cannot add to the results of the next one.
use super::bulk::{self, Rows};
use super::error::StoreError;
use super::events::Committed;
use super::jobs::{Counts, Job};
use super::jobs_run::{complete, running};
use super::pool;
use super::results::{ResultStatus, RowProblem};
use super::schema::{result_lines, result_texts, results, row_errors, staged_attempts};
use super::store::Store;
use crate::protocol::ids::JobId;
use crate::reconcile::{FieldComparison, Side};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};

/// One match or one break, as a runner found it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewResult {
    /// Its place in the job's results; the runner counts.
    pub ordinal: u64,
    /// Which list it is in.
    pub status: ResultStatus,
    /// The name of a match; `None` for a break.
    pub match_id: Option<String>,
    /// `one_to_one` and so on, or why a record has no match.
    pub kind: &'static str,
    /// Of a break: the row it repeats, else its nearest candidate.
    pub related_id: Option<String>,
    /// `auto`, `review`, `discrepancy`; `unmatched` for a break.
    pub state: &'static str,
    /// That the records belong together; `None` for a break.
    pub probability: Option<f64>,
    /// The comparisons as a JSON array; with `text` a JSON array of the values that do not stand in its records, in the order
    /// of the comparisons, the left one first, and empty when all stand there.
    pub comparisons: String,
    /// The same in a sentence; empty with `text`.
    pub explanation: String,
    /// Which of the attempt's texts says both.
    pub text: Option<u64>,
    /// The records.
    pub lines: Vec<NewLine>,
}

/// What many results say in the same words: comparisons without their values, which stand in the records, and the sentence.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResultText {
    /// A JSON array of [`SharedComparison`].
    pub comparisons: String,
    /// The same in a sentence.
    pub explanation: String,
}

/// One comparison of a [`ResultText`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedComparison {
    /// How it is called, how well the values agree, and the evidence; the values are empty.
    #[serde(flatten)]
    pub said: FieldComparison,
    /// The column of the left records that has the left value; `None` when each result keeps it itself.
    pub left_column: Option<String>,
    /// The column of the right records.
    pub right_column: Option<String>,
}

/// A record's part in a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewLine {
    /// Which file.
    pub side: Side,
    /// The record.
    pub record_ordinal: u64,
    /// What of its amount this match settles, in minor units.
    pub allocated_minor: Option<i64>,
}

/// Stages results; about [`super::records::BATCH_ROWS`] at once.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn stage(store: &Store, job: JobId, fence: i64, batch: Vec<NewResult>) -> Result<(), StoreError> {
    stage_under(store, job, fence, fence, batch).await
}

/// Stages results that an earlier attempt found, among those which it staged itself.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn stage_under(
    store: &Store,
    job: JobId,
    fence: i64,
    attempt: i64,
    batch: Vec<NewResult>,
) -> Result<(), StoreError> {
    bulk::write(store, job, fence, Rows::Results(attempt, batch)).await
}

/// Stages texts of an attempt's results; `first` is the ordinal of the first of them.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn stage_texts(
    store: &Store,
    job: JobId,
    fence: i64,
    attempt: i64,
    first: u64,
    batch: Vec<ResultText>,
) -> Result<(), StoreError> {
    bulk::write(store, job, fence, Rows::Texts(attempt, first, batch)).await
}

/// How many of an attempt's first results are staged. Batches are staged whole, one after the other; where one of them is
/// missing, as somebody took it for rubbish, it is none.
///
/// # Errors
/// As any call.
pub async fn staged_results(store: &Store, job: JobId, attempt: i64) -> Result<u64, StoreError> {
    let (count, last): (i64, Option<i64>) = pool::read!(store, |conn| {
        let own = results::table.filter(results::job_id.eq(job).and(results::attempt.eq(attempt)));
        let seen = own.select((diesel::dsl::count_star(), diesel::dsl::max(results::ordinal)));
        Ok::<_, StoreError>(seen.first(conn).await?)
    })?;
    Ok(if last == Some(count - 1) { count.unsigned_abs() } else { 0 })
}

/// How many rows of each kind an attempt has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Staged {
    /// Results.
    pub results: u64,
    /// Records in results.
    pub lines: u64,
    /// Texts.
    pub texts: u64,
    /// Rows that could not be read.
    pub problems: u64,
}

/// Counts what an attempt staged: whoever publishes what another one began compares with what there should be.
///
/// # Errors
/// As any call.
pub async fn staged(store: &Store, job: JobId, attempt: i64) -> Result<Staged, StoreError> {
    macro_rules! count {
        ($conn:expr, $table:ident) => {{
            let own = $table::table.filter($table::job_id.eq(job).and($table::attempt.eq(attempt)));
            own.count().get_result::<i64>($conn).await?.unsigned_abs()
        }};
    }
    pool::read!(store, |conn| {
        Ok::<_, StoreError>(Staged {
            results: count!(conn, results),
            lines: count!(conn, result_lines),
            texts: count!(conn, result_texts),
            problems: count!(conn, row_errors),
        })
    })
}

/// Stages rows that could not be read; `first` is the ordinal of the first of them within the job.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn stage_row_errors(
    store: &Store,
    job: JobId,
    fence: i64,
    attempt: i64,
    first: u64,
    batch: Vec<RowProblem>,
) -> Result<(), StoreError> {
    bulk::write(store, job, fence, Rows::RowErrors(attempt, first, batch)).await
}

/// Makes all that was staged visible and the job completed, in one transaction with one event.
///
/// # Errors
/// [`StoreError::Fenced`]; [`StoreError::Conflict`] when a user cancelled or paused it meanwhile.
pub async fn publish(store: &Store, job: JobId, fence: i64, counts: Counts) -> Result<Committed<Job>, StoreError> {
    publish_under(store, job, fence, fence, counts).await
}

/// The same for what was staged under an earlier attempt.
///
/// # Errors
/// As [`publish`].
pub async fn publish_under(
    store: &Store,
    job: JobId,
    fence: i64,
    attempt: i64,
    counts: Counts,
) -> Result<Committed<Job>, StoreError> {
    pool::write!(store, |conn, now| {
        let found = running(conn, job, fence).await?;
        if found.state.is_stopping() {
            return Err(StoreError::Conflict(format!("job {job} is {}", found.state)));
        }
        diesel::delete(staged_attempts::table.find((job, attempt))).execute(conn).await?;
        complete(conn, now, &found, attempt, counts).await
    })
}
