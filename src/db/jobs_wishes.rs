//! What users want of a job: that it starts, stands still, goes on or stops.
//!
//! It leaves fulfilling to runners, who learn of a wish by `jobs_run::leases`. The one thing easy to get wrong: a wish may come in any
//! state and twice, and a state is changed only from the states it may follow, in the transaction that read it.
use super::checkpoints;
use super::error::StoreError;
use super::events::Committed;
use super::jobs::{Job, JobState, Row, changed, ended, find_to_change, leave_queue};
use super::pool::{self, Engine};
use super::postgres::locks;
use super::postgres::locks::Alone;
use super::schema::{job_queue, jobs};
use super::store::Store;
use crate::protocol::ids::JobId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// Gives a job a place in the queue, when there is one.
pub(crate) async fn join_queue(connection: &mut impl Engine, now: i64, id: JobId, max: u64) -> Result<(), StoreError> {
    locks::alone(connection, Alone::Queue).await?;
    pool::on!(connection, |conn| {
        let open: i64 = job_queue::table.count().get_result(conn).await?;
        if open.unsigned_abs() >= max {
            return Err(StoreError::LimitExceeded { limit: "max_open_jobs", max });
        }
        diesel::insert_into(job_queue::table)
            .values((job_queue::job_id.eq(id), job_queue::queued_us.eq(now)))
            .execute(conn)
            .await?;
    });
    Ok(())
}

/// Puts a job into the queue; also a failed or cancelled one, which begins anew, and a paused one, which goes on. Harmless
/// when it is queued or running already.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] for a completed, a cancelling or a pausing job;
/// [`StoreError::LimitExceeded`] for `open_jobs`.
pub async fn enqueue(store: &Store, id: JobId) -> Result<Committed<Job>, StoreError> {
    use JobState::{Cancelled, Created, Failed, Paused};
    into_queue(store, id, &[Created, Failed, Cancelled, Paused], "started").await
}

/// Puts a paused job back into the queue, where it goes on with what it finished. Harmless when it is queued or running.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] for a job that was not paused, or is not yet;
/// [`StoreError::LimitExceeded`] for `open_jobs`: it stays paused.
pub async fn resume(store: &Store, id: JobId) -> Result<Committed<Job>, StoreError> {
    into_queue(store, id, &[JobState::Paused], "resumed").await
}

async fn into_queue(
    store: &Store,
    id: JobId,
    from: &'static [JobState],
    done: &'static str,
) -> Result<Committed<Job>, StoreError> {
    let max = store.options().open_jobs;
    pool::write!(store, |conn, now| {
        let job = find_to_change(conn, id).await?;
        let state = job.state;
        if !from.contains(&state) {
            return match state == JobState::Queued || (state.is_running() && !state.is_stopping()) {
                true => Ok(Committed { value: job, event: None }),
                false => Err(StoreError::Conflict(format!("job {id} is {state} and cannot be {done}"))),
            };
        }
        join_queue(conn, now, id, max).await?;
        let row: Row = diesel::update(jobs::table.find(id))
            .set((jobs::state.eq(JobState::Queued), jobs::error.eq(None::<String>), jobs::finished_us.eq(None::<i64>)))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        changed(conn, now, row.into(), "updated").await
    })
}

/// Asks a job to stop: one that no runner has is cancelled at once, a running one becomes `cancelling` until its
/// runner is out. Harmless when it is being or was cancelled.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] for a completed or failed job.
pub async fn request_cancel(store: &Store, id: JobId) -> Result<Committed<Job>, StoreError> {
    pool::write!(store, |conn, now| {
        let job = find_to_change(conn, id).await?;
        match job.state {
            JobState::Cancelling | JobState::Cancelled => Ok(Committed { value: job, event: None }),
            JobState::Completed | JobState::Failed => {
                Err(StoreError::Conflict(format!("job {id} is {} already", job.state)))
            }
            JobState::Created | JobState::Queued | JobState::Paused => {
                leave_queue(conn, id).await?;
                checkpoints::void(conn, id).await?;
                let row: Row = diesel::update(jobs::table.find(id))
                    .set((jobs::state.eq(JobState::Cancelled), jobs::finished_us.eq(now)))
                    .returning(Row::as_returning())
                    .get_result(conn)
                    .await?;
                ended(conn, now, row.into()).await
            }
            _ => {
                let row: Row = diesel::update(jobs::table.find(id))
                    .set(jobs::state.eq(JobState::Cancelling))
                    .returning(Row::as_returning())
                    .get_result(conn)
                    .await?;
                changed(conn, now, row.into(), "updated").await
            }
        }
    })
}

/// Asks a job to stand still: a queued one gives its place up at once, a running one becomes `pausing` until its runner is
/// out. Harmless when it is being or was paused.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] for a job that is not started, is being cancelled or has ended.
pub async fn request_pause(store: &Store, id: JobId) -> Result<Committed<Job>, StoreError> {
    pool::write!(store, |conn, now| {
        let job = find_to_change(conn, id).await?;
        let state = match job.state {
            JobState::Pausing | JobState::Paused => return Ok(Committed { value: job, event: None }),
            JobState::Queued => JobState::Paused,
            state if state.is_running() && !state.is_stopping() => JobState::Pausing,
            state => return Err(StoreError::Conflict(format!("job {id} is {state} and cannot be paused"))),
        };
        if state == JobState::Paused {
            leave_queue(conn, id).await?;
        }
        let row: Row = diesel::update(jobs::table.find(id))
            .set(jobs::state.eq(state))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        changed(conn, now, row.into(), "updated").await
    })
}
