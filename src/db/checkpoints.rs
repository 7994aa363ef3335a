//! Checkpoints: what a run found, in parts, from the end of its matching until its results are visible.
//!
//! It leaves what a part says to its writer. The one thing easy to get wrong: a writer may die between two parts, so the head
//! (part 0) is stored last, and parts without a head of their attempt are none.
use super::error::StoreError;
use super::jobs_run::running;
use super::parts;
use super::pool::{self, Engine};
use super::schema::job_checkpoints;
use super::store::Store;
use crate::protocol::ids::JobId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// The part that is stored last.
const HEAD: i64 = 0;

/// The head of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The attempt that found it; its results are staged under this number.
    pub attempt: i64,
    /// What its writer noted.
    pub body: String,
}

/// Stores one part, the first is 1, for the runner that holds `fence` on `job`; a megabyte or two at once.
///
/// # Errors
/// [`StoreError::Fenced`] when the job is no longer that attempt's.
pub async fn store_part(store: &Store, job: JobId, fence: i64, part: u64, body: String) -> Result<(), StoreError> {
    put(store, job, fence, part as i64 + HEAD, body).await
}

/// Says that all parts of this attempt are stored.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn store_head(store: &Store, job: JobId, fence: i64, body: String) -> Result<(), StoreError> {
    put(store, job, fence, HEAD, body).await
}

async fn put(store: &Store, job: JobId, fence: i64, part: i64, body: String) -> Result<(), StoreError> {
    pool::write!(store, |conn| {
        running(conn, job, fence).await?;
        diesel::delete(job_checkpoints::table.find((job, part))).execute(conn).await?;
        diesel::insert_into(job_checkpoints::table)
            .values((
                job_checkpoints::job_id.eq(job),
                job_checkpoints::part.eq(part),
                job_checkpoints::attempt.eq(fence),
                job_checkpoints::body.eq(body),
            ))
            .execute(conn)
            .await?;
        Ok::<_, StoreError>(())
    })
}

/// The head of a job's checkpoint, if there is a whole one.
///
/// # Errors
/// As any call.
pub async fn head(store: &Store, job: JobId) -> Result<Option<Head>, StoreError> {
    let found: Option<(i64, String)> = pool::read!(store, |conn| {
        let head = job_checkpoints::table.find((job, HEAD));
        let head = head.select((job_checkpoints::attempt, job_checkpoints::body)).first(conn).await.optional()?;
        Ok::<_, StoreError>(head)
    })?;
    Ok(found.map(|(attempt, body)| Head { attempt, body }))
}

/// One part of the checkpoint that this attempt stored.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn part(store: &Store, job: JobId, attempt: i64, part: u64) -> Result<String, StoreError> {
    let found: Option<String> = pool::read!(store, |conn| {
        let own = job_checkpoints::table.find((job, part as i64 + HEAD)).filter(job_checkpoints::attempt.eq(attempt));
        Ok::<_, StoreError>(own.select(job_checkpoints::body).first(conn).await.optional()?)
    })?;
    found.ok_or(StoreError::NotFound)
}

/// Removes a checkpoint that nobody can use, for the runner that holds `fence` on `job`.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn discard(store: &Store, job: JobId, fence: i64) -> Result<(), StoreError> {
    pool::write!(store, |conn| {
        running(conn, job, fence).await?;
        clear(conn, job).await
    })
}

/// Removes a job's checkpoint and the parts of its comparing, inside the caller's transaction.
pub(crate) async fn clear(connection: &mut impl Engine, job: JobId) -> Result<(), StoreError> {
    parts::clear(connection, job).await?;
    let own = job_checkpoints::table.filter(job_checkpoints::job_id.eq(job));
    pool::on!(connection, |conn| diesel::delete(own).execute(conn).await?);
    Ok(())
}
