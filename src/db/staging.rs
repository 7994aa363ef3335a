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
use super::schema::staged_attempts;
use super::store::Store;
use crate::protocol::ids::JobId;
use crate::reconcile::Side;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

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
    /// The comparisons as a JSON array.
    pub comparisons: String,
    /// The same in a sentence.
    pub explanation: String,
    /// The records.
    pub lines: Vec<NewLine>,
}

/// A record's part in a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    bulk::write(store, job, fence, Rows::Results(batch)).await
}

/// Stages rows that could not be read; `first` is the ordinal of the first of them within the job.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn stage_row_errors(
    store: &Store,
    job: JobId,
    fence: i64,
    first: u64,
    batch: Vec<RowProblem>,
) -> Result<(), StoreError> {
    bulk::write(store, job, fence, Rows::RowErrors(first, batch)).await
}

/// Makes all that was staged visible and the job completed, in one transaction with one event.
///
/// # Errors
/// [`StoreError::Fenced`]; [`StoreError::Conflict`] when a user cancelled it meanwhile.
pub async fn publish(store: &Store, job: JobId, fence: i64, counts: Counts) -> Result<Committed<Job>, StoreError> {
    pool::write!(store, |conn, now| {
        let found = running(conn, job, fence).await?;
        if found.state == super::jobs::JobState::Cancelling {
            return Err(StoreError::Conflict(format!("job {job} is being cancelled")));
        }
        diesel::delete(staged_attempts::table.find((job, fence))).execute(conn).await?;
        complete(conn, now, &found, counts).await
    })
}
