//! Parts of a job's comparing: who computes which, and what was computed, until the matching is over.
//!
//! What a part holds is the engine's. Parts carry no fence: whoever computes one of the same job and step computes the same, so
//! a late body changes nothing. The one thing easy to get wrong: rows are made by the runner alone, under its fence, and go with
//! the job, so that a late body finds no row and leaves none.
use super::clock::micros;
use super::error::StoreError;
use super::jobs::JobState;
use super::jobs_run::running;
use super::pool::{self, Engine};
use super::schema::{job_parts, jobs};
use super::store::Store;
use crate::protocol::ids::JobId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::time::Duration;

/// How it stands with a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It was computed.
    Kept(Vec<u8>),
    /// It is the caller's to compute, until its lease ends.
    Yours,
    /// Another process computes it.
    Elsewhere,
    /// There is none: the job is over, or further.
    Gone,
}

/// A part of a job: its step and its number within it.
pub type Place = (i64, i64);

/// Opens parts `0..parts` of a step, for the runner that holds `fence` on `job`; those that are there stay as they are.
///
/// # Errors
/// [`StoreError::Fenced`] when the job is no longer that attempt's.
pub async fn begin(store: &Store, job: JobId, fence: i64, step: i64, parts: u32) -> Result<(), StoreError> {
    pool::write!(store, |conn| {
        running(conn, job, fence).await?;
        let of_step = job_parts::table.filter(job_parts::job_id.eq(job).and(job_parts::step.eq(step)));
        let there: Vec<i64> = of_step.select(job_parts::part).load(conn).await?;
        for part in (0..i64::from(parts)).filter(|part| !there.contains(part)) {
            diesel::insert_into(job_parts::table)
                .values((job_parts::job_id.eq(job), job_parts::step.eq(step), job_parts::part.eq(part)))
                .execute(conn)
                .await?;
        }
        Ok::<_, StoreError>(())
    })
}

/// Takes a part for `holder`, unless it was computed or is another holder's whose lease has not ended. On an exclusive
/// store there is no other.
///
/// # Errors
/// As any call.
pub async fn take(
    store: &Store,
    job: JobId,
    (step, part): Place,
    holder: &str,
    lease: Duration,
) -> Result<Taken, StoreError> {
    let known: Option<Option<Vec<u8>>> = pool::read!(store, |conn| {
        let row = job_parts::table.find((job, step, part));
        Ok::<_, StoreError>(row.select(job_parts::body).first(conn).await.optional()?)
    })?;
    match known {
        None => return Ok(Taken::Gone),
        Some(Some(body)) => return Ok(Taken::Kept(body)),
        Some(None) => {}
    }
    let (holder, exclusive) = (holder.to_owned(), store.exclusive());
    let taken = pool::write!(store, |conn, now| {
        let free = job_parts::until_us.is_null().or(job_parts::until_us.assume_not_null().lt(now));
        let own = job_parts::holder.eq(&holder);
        let row = job_parts::table.find((job, step, part)).filter(job_parts::body.is_null());
        let until = now.saturating_add(micros(lease));
        let set = (job_parts::holder.eq(&holder), job_parts::until_us.eq(until));
        let taken = if exclusive {
            diesel::update(row).set(set).execute(conn).await?
        } else {
            diesel::update(row.filter(free.or(own.assume_not_null()))).set(set).execute(conn).await?
        };
        Ok::<_, StoreError>(taken)
    })?;
    Ok(if taken == 1 { Taken::Yours } else { Taken::Elsewhere })
}

/// Keeps what was computed; `false` when there is no such part any more.
///
/// # Errors
/// As any call.
pub async fn keep(store: &Store, job: JobId, (step, part): Place, body: Vec<u8>) -> Result<bool, StoreError> {
    let kept = pool::write!(store, |conn| {
        let set = (job_parts::body.eq(&body), job_parts::until_us.eq(None::<i64>));
        Ok::<_, StoreError>(diesel::update(job_parts::table.find((job, step, part))).set(set).execute(conn).await?)
    })?;
    Ok(kept == 1)
}

/// Gives back the parts of a job that `holder` took and did not compute: the next one need not wait for their leases.
///
/// # Errors
/// As any call.
pub async fn release(store: &Store, job: JobId, holder: &str) -> Result<(), StoreError> {
    let holder = holder.to_owned();
    pool::write!(store, |conn| {
        // Those of nobody, too: a call that is taking one may hold its row, and this one then waits for it.
        let own = job_parts::holder.is_null().or(job_parts::holder.assume_not_null().eq(&holder));
        let taken = job_parts::table.filter(job_parts::job_id.eq(job).and(own));
        let set = (job_parts::holder.eq(None::<String>), job_parts::until_us.eq(None::<i64>));
        diesel::update(taken.filter(job_parts::body.is_null())).set(set).execute(conn).await?;
        Ok::<_, StoreError>(())
    })
}

/// Jobs that run with parts which nobody computes, at most 16.
///
/// # Errors
/// As any call.
pub async fn wanting(store: &Store) -> Result<Vec<JobId>, StoreError> {
    pool::read!(store, |conn, now| {
        let free = job_parts::until_us.is_null().or(job_parts::until_us.assume_not_null().lt(now));
        let open = job_parts::table
            .inner_join(jobs::table.on(jobs::id.eq(job_parts::job_id)))
            .filter(job_parts::body.is_null().and(free))
            .filter(jobs::state.eq_any(JobState::running()).and(jobs::deleted_us.is_null()));
        Ok::<_, StoreError>(open.select(job_parts::job_id).distinct().limit(16).load(conn).await?)
    })
}

/// Removes the parts of a job whose matching is over, for the runner that holds `fence` on it.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn discard(store: &Store, job: JobId, fence: i64) -> Result<(), StoreError> {
    pool::write!(store, |conn| {
        running(conn, job, fence).await?;
        clear(conn, job).await
    })
}

/// Removes a job's parts, inside the caller's transaction.
pub(crate) async fn clear(connection: &mut impl Engine, job: JobId) -> Result<(), StoreError> {
    let own = job_parts::table.filter(job_parts::job_id.eq(job));
    pool::on!(connection, |conn| diesel::delete(own).execute(conn).await?);
    Ok(())
}
