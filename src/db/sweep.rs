//! Removal of what is no longer visible, in batches small enough that no writer waits for them.
//!
//! It leaves when to sweep to the janitor. The one thing easy to get wrong: children go before their parent, and the
//! parent goes only in the transaction that found no child left.
use super::checkpoints;
use super::clock::micros;
use super::error::StoreError;
use super::jobs::JobState;
use super::parts;
use super::pool::{self, Engine};
use super::postgres::locks;
use super::postgres::locks::Alone;
use super::schema::{
    claims, events, job_checkpoints, job_queue, jobs, projects, records, result_lines, result_texts, results,
    row_errors, sources, staged_attempts,
};
use super::store::Store;
use crate::protocol::ids::{JobId, ProjectId, SourceId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::time::Duration;

/// Removes up to `batch` rows by the children of one thing: the rows up to the batch-th ordinal of one key.
macro_rules! remove_batch {
    ($conn:expr, $table:ident, $ordinal:ident, $filter:expr, $batch:expr) => {{
        let bound: Option<i64> = $table::table
            .filter($filter)
            .order($table::$ordinal)
            .offset($batch - 1)
            .limit(1)
            .select($table::$ordinal)
            .first($conn)
            .await
            .optional()?;
        diesel::delete($table::table.filter($filter).filter($table::$ordinal.le(bound.unwrap_or(i64::MAX))))
            .execute($conn)
            .await?
    }};
}

/// Removes one batch of whatever is deleted or left over, in one transaction; returns how many rows went. Call it
/// until it returns 0. A deleted project's row and event log stay for `grace`.
///
/// # Errors
/// As any call.
pub async fn batch(store: &Store, batch: usize, grace: Duration) -> Result<usize, StoreError> {
    batch_of(store, batch, grace, i64::MAX).await
}

/// As [`batch`], but for sources that were deleted after this time of the store: as long as its row is there, a file is known
/// to be one that somebody deleted.
///
/// # Errors
/// As any call.
pub async fn batch_of(store: &Store, batch: usize, grace: Duration, sources: i64) -> Result<usize, StoreError> {
    let batch = batch.max(1) as i64;
    pool::write!(store, |conn, now| {
        let gone_before = now.saturating_sub(micros(grace));
        if !locks::try_alone(conn, Alone::Sweep).await? {
            return Ok(0);
        }
        let mut removed = checkpoints::sweep(conn).await?;
        if removed == 0 {
            removed = staged(conn, batch).await?;
        }
        if removed == 0 {
            removed = deleted_job(conn, batch).await?;
        }
        if removed == 0 {
            removed = deleted_source(conn, batch, sources).await?;
        }
        if removed == 0 {
            removed = deleted_project(conn, batch, gone_before).await?;
        }
        if removed == 0 {
            removed = lapsed_claims(conn, batch, gone_before).await?;
        }
        Ok::<_, StoreError>(removed)
    })
}

/// What an attempt staged that is neither running nor published, nor to be gone on with: as long as its checkpoint is there.
async fn staged(conn: &mut impl Engine, batch: i64) -> Result<usize, StoreError> {
    let kept = job_checkpoints::table
        .filter(job_checkpoints::job_id.eq(staged_attempts::job_id).and(job_checkpoints::part.eq(checkpoints::HEAD)))
        .filter(job_checkpoints::attempt.eq(staged_attempts::attempt));
    pool::on!(conn, |conn| {
        let dead: Option<(JobId, i64)> = staged_attempts::table
            .left_join(jobs::table.on(jobs::id.eq(staged_attempts::job_id)))
            .filter(
                jobs::id
                    .is_null()
                    .or(jobs::attempt.assume_not_null().ne(staged_attempts::attempt))
                    .or(jobs::state.assume_not_null().ne_all(JobState::running()))
                    .or(jobs::deleted_us.is_not_null()),
            )
            .filter(diesel::dsl::not(diesel::dsl::exists(kept)))
            .select((staged_attempts::job_id, staged_attempts::attempt))
            .first(conn)
            .await
            .optional()?;
        let Some((job, attempt)) = dead else { return Ok(0) };
        let removed = attempt_rows(conn, job, attempt, batch).await?;
        if removed > 0 {
            return Ok(removed);
        }
        Ok(diesel::delete(staged_attempts::table.find((job, attempt))).execute(conn).await?)
    })
}

async fn attempt_rows(conn: &mut impl Engine, job: JobId, attempt: i64, batch: i64) -> Result<usize, StoreError> {
    pool::on!(conn, |conn| {
        let lines = remove_batch!(
            conn,
            result_lines,
            result_ordinal,
            result_lines::job_id.eq(job).and(result_lines::attempt.eq(attempt)),
            batch
        );
        if lines > 0 {
            return Ok(lines);
        }
        let found =
            remove_batch!(conn, results, ordinal, results::job_id.eq(job).and(results::attempt.eq(attempt)), batch);
        if found > 0 {
            return Ok(found);
        }
        let texts = result_texts::job_id.eq(job).and(result_texts::attempt.eq(attempt));
        let texts = remove_batch!(conn, result_texts, ordinal, texts, batch);
        if texts > 0 {
            return Ok(texts);
        }
        let errors = row_errors::job_id.eq(job).and(row_errors::attempt.eq(attempt));
        Ok(remove_batch!(conn, row_errors, ordinal, errors, batch))
    })
}

async fn deleted_job(conn: &mut impl Engine, batch: i64) -> Result<usize, StoreError> {
    pool::on!(conn, |conn| {
        let gone: Option<(JobId, Option<i64>)> = jobs::table
            .filter(jobs::deleted_us.is_not_null())
            .order(jobs::deleted_us)
            .select((jobs::id, jobs::published_attempt))
            .first(conn)
            .await
            .optional()?;
        let Some((job, published)) = gone else { return Ok(0) };
        if let Some(attempt) = published {
            let removed = attempt_rows(conn, job, attempt, batch).await?;
            if removed > 0 {
                return Ok(removed);
            }
        }
        diesel::delete(job_queue::table.find(job)).execute(conn).await?;
        // A job that ran while its project was deleted came to no end that would have removed them.
        parts::clear(conn, job).await?;
        Ok(diesel::delete(jobs::table.find(job)).execute(conn).await?)
    })
}

async fn deleted_source(conn: &mut impl Engine, batch: i64, before: i64) -> Result<usize, StoreError> {
    pool::on!(conn, |conn| {
        let gone: Option<SourceId> = sources::table
            .filter(sources::deleted_us.le(before))
            .filter(sources::id.ne_all(jobs::table.select(jobs::left_source_id)))
            .filter(sources::id.ne_all(jobs::table.select(jobs::right_source_id)))
            .order(sources::deleted_us)
            .select(sources::id)
            .first(conn)
            .await
            .optional()?;
        let Some(source) = gone else { return Ok(0) };
        let removed = remove_batch!(conn, records, ordinal, records::source_id.eq(source), batch);
        if removed > 0 {
            return Ok(removed);
        }
        Ok(diesel::delete(sources::table.find(source)).execute(conn).await?)
    })
}

async fn lapsed_claims(conn: &mut impl Engine, batch: i64, gone_before: i64) -> Result<usize, StoreError> {
    pool::on!(conn, |conn| { Ok(remove_batch!(conn, claims, expires_us, claims::expires_us.lt(gone_before), batch)) })
}

async fn deleted_project(conn: &mut impl Engine, batch: i64, gone_before: i64) -> Result<usize, StoreError> {
    pool::on!(conn, |conn| {
        let gone: Option<ProjectId> = projects::table
            .filter(projects::deleted_us.lt(gone_before))
            .order(projects::deleted_us)
            .select(projects::id)
            .first(conn)
            .await
            .optional()?;
        let Some(project) = gone else { return Ok(0) };
        let removed = remove_batch!(conn, events, off, events::project_id.eq(project), batch);
        if removed > 0 {
            return Ok(removed);
        }
        diesel::delete(claims::table.filter(claims::project_id.eq(project))).execute(conn).await?;
        Ok(diesel::delete(projects::table.find(project)).execute(conn).await?)
    })
}
