//! Checkpoints: what a run found, in parts, from the end of its matching until its results are visible.
//!
//! It leaves what a part says to its writer. Two things are easy to get wrong: a writer may die between two parts, so the head
//! (part 0) is stored last, and parts without a head of their attempt are none; and all parts of a job can be hundreds of megabytes, so
//! whoever ends a job removes the head alone and leaves the others to the janitor.
use super::error::StoreError;
use super::jobs_run::{at_work, hold, running};
use super::parts;
use super::pool::{self, Engine};
use super::schema::job_checkpoints;
use super::sql_types::Uid;
use super::store::Store;
use crate::protocol::ids::JobId;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel_async::RunQueryDsl;

/// The part that is stored last.
pub(crate) const HEAD: i64 = 0;

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
        // Megabytes may take their time: the project's row is free for others meanwhile.
        at_work(conn, job, fence).await?;
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
        hold(conn, job, fence).await
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
        void(conn, job).await
    })
}

/// Makes a job's checkpoint one that nobody goes on from, and removes the parts of its comparing, inside the caller's transaction.
pub(crate) async fn void(connection: &mut impl Engine, job: JobId) -> Result<(), StoreError> {
    parts::clear(connection, job).await?;
    let head = job_checkpoints::table.find((job, HEAD));
    pool::on!(connection, |conn| diesel::delete(head).execute(conn).await?);
    Ok(())
}

/// Removes a few parts that nobody goes on from, inside the caller's transaction; how many. Those are parts of a job that is over
/// or gone, whoever ended it, and parts without a head but for those that a runner is just writing.
pub(crate) async fn sweep(connection: &mut impl Engine) -> Result<usize, StoreError> {
    /// Diesel cannot name a table twice in one statement for both engines. Four at once: they may be megabytes each.
    const USELESS: &str = "SELECT c.job_id AS job_id, c.part AS part FROM job_checkpoints c LEFT JOIN jobs j ON j.id = c.job_id \
                           WHERE j.id IS NULL OR j.deleted_us IS NOT NULL OR j.state IN ('completed', 'cancelled', 'failed') \
                           OR ((j.attempt <> c.attempt OR j.state IN ('created', 'queued', 'paused')) AND NOT EXISTS \
                           (SELECT 1 FROM job_checkpoints h WHERE h.job_id = c.job_id AND h.part = 0 AND h.attempt = c.attempt)) \
                           ORDER BY c.job_id, c.part LIMIT 4";
    #[derive(QueryableByName)]
    struct Useless {
        #[diesel(sql_type = Uid)]
        job_id: JobId,
        #[diesel(sql_type = BigInt)]
        part: i64,
    }
    pool::on!(connection, |conn| {
        let useless: Vec<Useless> = diesel::sql_query(USELESS).load(conn).await?;
        // One statement each: there are no more than four.
        for Useless { job_id, part } in &useless {
            diesel::delete(job_checkpoints::table.find((job_id, part))).execute(conn).await?;
        }
        Ok(useless.len())
    })
}
