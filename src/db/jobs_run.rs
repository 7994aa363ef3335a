//! Jobs as dispatchers and runners see them: claim, renew, report, finish, recover.
//!
//! Every write carries the fence (the attempt that the claim gave out). The one thing easy to get wrong: a runner
//! that was presumed dead may still be alive; whatever it writes under an old fence must change nothing.
use super::clock::micros;
use super::error::StoreError;
use super::events::{Committed, DurableEvent};
use super::jobs::{Counts, Job, JobState, Row, changed, ended, find_to_change, leave_queue};
use super::pool::{self, Conn, Engine};
use super::postgres;
use super::postgres::locks;
use super::postgres::locks::Alone;
use super::schema::{job_queue, jobs, projects};
use super::sql_types::{Json, Uid};
use super::store::Store;
use crate::protocol::ids::JobId;
use diesel::dsl::{And, Eq, IsNull};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use std::time::Duration;

/// Begun and never ended this often, a job is given up: something in it kills the process.
const MAX_ABANDONED: i64 = 3;

/// Running jobs looked at by one recovery; the next one looks at the rest.
const MAX_RECOVERED: i64 = 1_000;

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// An error; the text names file, line and column where there are some.
    Failed {
        /// What a user reads.
        error: String,
    },
    /// A user's wish. Of a job that nobody wants cancelled it is [`Ending::Requeued`].
    Cancelled,
    /// A user's wish: it stands still until it is resumed. Of a job that nobody wants paused it is [`Ending::Requeued`].
    Paused,
    /// The process stops: the job goes back to the queue; the next attempt goes on with what is kept of this one.
    Requeued,
    /// This process cannot run it, another one may: back to the queue, but no more than [`MAX_ABANDONED`] times together
    /// with the deaths that it saw; then it has failed.
    GivenBack {
        /// What a user reads in the end.
        error: String,
    },
}

/// What a renewal learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Go on.
    Held,
    /// A user wants it stopped.
    CancelRequested,
    /// A user wants it to stand still.
    PauseRequested,
    /// It is another attempt's, or deleted: stop, and write nothing more.
    Lost,
}

type Held = And<And<Eq<jobs::id, JobId>, Eq<jobs::attempt, i64>>, IsNull<jobs::deleted_us>>;

/// The row while that attempt has it. Its state is checked by [`running`] where it matters.
pub(crate) fn held(job: JobId, fence: i64) -> Held {
    jobs::id.eq(job).and(jobs::attempt.eq(fence)).and(jobs::deleted_us.is_null())
}

/// The job while that attempt runs it; nobody else changes it until the caller's transaction ends.
pub(crate) async fn running(connection: &mut impl Engine, job: JobId, fence: i64) -> Result<Job, StoreError> {
    match find_to_change(connection, job).await {
        Ok(found) if found.attempt == fence && found.state.is_running() => Ok(found),
        Ok(_) | Err(StoreError::NotFound) => Err(StoreError::Fenced),
        Err(error) => Err(error),
    }
}

/// Refuses an attempt that is over, and keeps nobody waiting. What follows in the transaction is to end with [`hold`].
pub(crate) async fn at_work(connection: &mut impl Engine, job: JobId, fence: i64) -> Result<(), StoreError> {
    match look(connection, job, fence).await? {
        Lease::Lost => Err(StoreError::Fenced),
        Lease::Held | Lease::CancelRequested | Lease::PauseRequested => Ok(()),
    }
}

/// Refuses an attempt that is over; whoever would take its job over waits from here to the end of the transaction.
pub(crate) async fn hold(connection: &mut impl Engine, job: JobId, fence: i64) -> Result<(), StoreError> {
    if let Conn::Postgres(conn) = connection.conn() {
        let running = jobs::table.filter(held(job, fence)).filter(jobs::state.eq_any(JobState::running()));
        let row = running.select(jobs::id).for_share().first::<JobId>(conn).await.optional()?;
        row.ok_or(StoreError::Fenced)?;
    }
    // On SQLite nobody else has written since the transaction began.
    Ok(())
}

/// Takes the next queued job for `owner`: projects in turn, oldest first within one. The job's `attempt` is the fence.
///
/// # Errors
/// As any call.
pub async fn claim_next(store: &Store, owner: &str, lease: Duration) -> Result<Option<Committed<Job>>, StoreError> {
    let owner = owner.to_owned();
    let waiting: i64 = pool::read!(store, |conn| {
        let queued = job_queue::table.filter(job_queue::lease_owner.is_null()).count().get_result(conn).await?;
        Ok::<_, StoreError>(queued)
    })?;
    if waiting == 0 {
        return Ok(None);
    }
    let clock = store.clone();
    pool::write!(store, |conn| {
        // One claim at a time: two at once would not see whose turn the other one's project has had.
        locks::alone(conn, Alone::Claim).await?;
        // After the wait, or the projects' turns would be noted in another order than they were taken.
        let now = clock.now_us();
        let Some(id) = next_queued(conn).await? else { return Ok(None) };
        // Its place in the queue is ours by now; what follows may be waited for.
        match find_to_change(conn, id).await {
            Ok(found) if found.state == JobState::Queued => {}
            Ok(_) | Err(StoreError::NotFound) => return Ok(None),
            Err(error) => return Err(error),
        }
        let row: Row = diesel::update(jobs::table.find(id))
            .set((jobs::state.eq(JobState::Ingesting), jobs::attempt.eq(jobs::attempt + 1), jobs::started_us.eq(now)))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        let job = Job::from(row);
        diesel::update(job_queue::table.find(id))
            .set((job_queue::lease_owner.eq(owner), job_queue::lease_until_us.eq(until(now, lease))))
            .execute(conn)
            .await?;
        diesel::update(projects::table.find(job.project_id)).set(projects::last_claim_us.eq(now)).execute(conn).await?;
        Ok::<_, StoreError>(Some(changed(conn, now, job, "updated").await?))
    })
}

/// The job whose turn it is. On PostgreSQL nobody else is given it until the caller's transaction ends.
async fn next_queued(connection: &mut impl Engine) -> Result<Option<JobId>, StoreError> {
    /// Diesel cannot say whose rows are locked; with the projects' ones, a busy project would be passed over.
    const NEXT: &str = "SELECT q.job_id AS id FROM job_queue q JOIN jobs j ON j.id = q.job_id \
                        JOIN projects p ON p.id = j.project_id \
                        WHERE q.lease_owner IS NULL AND j.state = 'queued' AND j.deleted_us IS NULL \
                        ORDER BY p.last_claim_us, q.queued_us, j.id LIMIT 1 FOR UPDATE OF q SKIP LOCKED";
    #[derive(QueryableByName)]
    struct Next {
        #[diesel(sql_type = Uid)]
        id: JobId,
    }
    let next = match connection.conn() {
        Conn::Postgres(conn) => diesel::sql_query(NEXT).get_result::<Next>(conn).await.optional()?.map(|next| next.id),
        Conn::Sqlite(conn) => job_queue::table
            .inner_join(jobs::table.on(jobs::id.eq(job_queue::job_id)))
            .inner_join(projects::table.on(projects::id.eq(jobs::project_id)))
            .filter(jobs::state.eq(JobState::Queued).and(jobs::deleted_us.is_null()))
            .order((projects::last_claim_us, job_queue::queued_us, jobs::id))
            .select(jobs::id)
            .first(conn)
            .await
            .optional()?,
    };
    Ok(next)
}

/// Lengthens leases, and tells which attempts are to stop. One call for all runners of a process.
///
/// # Errors
/// As any call.
pub async fn renew(
    store: &Store,
    owner: &str,
    mut held_jobs: Vec<(JobId, i64)>,
    lease: Duration,
) -> Result<Vec<(JobId, i64, Lease)>, StoreError> {
    let owner = owner.to_owned();
    // In the order in which others lock several places in the queue.
    held_jobs.sort_unstable();
    pool::write!(store, |conn, now| {
        let until_us = until(now, lease);
        let mut answers = Vec::with_capacity(held_jobs.len());
        // One statement per running job of this process, of which there are a handful.
        for (id, fence) in held_jobs {
            // First, or it could be taken over between the look and the change.
            locks::place_in_queue(conn, id).await?;
            let lease = look(conn, id, fence).await?;
            if lease != Lease::Lost {
                diesel::update(job_queue::table.find(id))
                    .set((job_queue::lease_until_us.eq(until_us), job_queue::lease_owner.eq(&owner)))
                    .execute(conn)
                    .await?;
            }
            answers.push((id, fence, lease));
        }
        Ok::<_, StoreError>(answers)
    })
}

/// The same without lengthening anything: a read, which may be repeated often.
///
/// # Errors
/// As any call.
pub async fn leases(store: &Store, held_jobs: Vec<(JobId, i64)>) -> Result<Vec<(JobId, i64, Lease)>, StoreError> {
    pool::read!(store, |conn| {
        let mut answers = Vec::with_capacity(held_jobs.len());
        for (id, fence) in held_jobs {
            answers.push((id, fence, look(conn, id, fence).await?));
        }
        Ok::<_, StoreError>(answers)
    })
}

async fn look(connection: &mut impl Engine, id: JobId, fence: i64) -> Result<Lease, StoreError> {
    let state: Option<JobState> = pool::on!(connection, |conn| {
        let running = jobs::state.eq_any(JobState::running());
        jobs::table.filter(held(id, fence)).filter(running).select(jobs::state).first(conn).await.optional()?
    });
    Ok(match state {
        Some(JobState::Cancelling) => Lease::CancelRequested,
        Some(JobState::Pausing) => Lease::PauseRequested,
        Some(_) => Lease::Held,
        None => Lease::Lost,
    })
}

/// Records which phase a run is in; a job that is being paused or cancelled stays so.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn set_phase(store: &Store, id: JobId, fence: i64, phase: JobState) -> Result<(), StoreError> {
    pool::write!(store, |conn| {
        let job = running(conn, id, fence).await?;
        let state = if job.state.is_stopping() { job.state } else { phase };
        diesel::update(jobs::table.find(id)).set(jobs::state.eq(state)).execute(conn).await?;
        Ok::<_, StoreError>(())
    })
}

/// Ends a run other than by publishing its results.
///
/// # Errors
/// [`StoreError::Fenced`].
pub async fn finish(store: &Store, id: JobId, fence: i64, ending: Ending) -> Result<Committed<Job>, StoreError> {
    pool::write!(store, |conn, now| {
        let job = running(conn, id, fence).await?;
        end(conn, now, &job, ending).await
    })
}

async fn end(connection: &mut impl Engine, now: i64, job: &Job, ending: Ending) -> Result<Committed<Job>, StoreError> {
    let (state, error, finished) = match ending {
        Ending::Failed { error } => (JobState::Failed, Some(error), Some(now)),
        // A wish is what the row says: it outlives the process that was to fulfil it, and a process may have heard of one that is
        // fulfilled since, or of the one before.
        _ if job.state == JobState::Cancelling => (JobState::Cancelled, None, Some(now)),
        _ if job.state == JobState::Pausing => (JobState::Paused, None, None),
        Ending::GivenBack { error } if abandon(connection, job.id).await? >= MAX_ABANDONED => {
            (JobState::Failed, Some(error), Some(now))
        }
        Ending::Cancelled | Ending::Paused | Ending::Requeued | Ending::GivenBack { .. } => {
            (JobState::Queued, None, None)
        }
    };
    pool::on!(connection, |conn| {
        if state == JobState::Queued {
            // It keeps its place: queued_us is when the user asked.
            diesel::update(job_queue::table.find(job.id))
                .set((job_queue::lease_owner.eq(None::<String>), job_queue::lease_until_us.eq(None::<i64>)))
                .execute(conn)
                .await?;
        } else {
            // With it goes how often it was abandoned: a user who resumes or starts it wants it tried again.
            leave_queue(conn, job.id).await?;
        }
        if state.is_terminal() {
            super::checkpoints::void(conn, job.id).await?;
        }
        let row: Row = diesel::update(jobs::table.find(job.id))
            .set((jobs::state.eq(state), jobs::error.eq(error), jobs::finished_us.eq(finished)))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        let job = Job::from(row);
        if state.is_terminal() { ended(conn, now, job).await } else { changed(conn, now, job, "updated").await }
    })
}

/// Counts one more run that came to no end; how many there were.
async fn abandon(connection: &mut impl Engine, id: JobId) -> Result<i64, StoreError> {
    Ok(pool::on!(connection, |conn| {
        diesel::update(job_queue::table.find(id))
            .set(job_queue::abandoned.eq(job_queue::abandoned + 1))
            .returning(job_queue::abandoned)
            .get_result(conn)
            .await?
    }))
}

/// Marks a run completed by what was staged under `attempt`; part of the transaction that makes its results visible.
pub(crate) async fn complete(
    connection: &mut impl Engine,
    now: i64,
    job: &Job,
    attempt: i64,
    counts: Counts,
) -> Result<Committed<Job>, StoreError> {
    let counts = serde_json::to_value(counts)
        .map_err(|error| StoreError::Internal(format!("cannot encode the counts of job {}: {error}", job.id)))?;
    pool::on!(connection, |conn| {
        leave_queue(conn, job.id).await?;
        super::checkpoints::void(conn, job.id).await?;
        let row: Row = diesel::update(jobs::table.find(job.id))
            .set((
                jobs::state.eq(JobState::Completed),
                jobs::counts.eq(Json(counts)),
                jobs::published_attempt.eq(attempt),
                jobs::finished_us.eq(now),
            ))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        ended(conn, now, row.into()).await
    })
}

/// A running job whose runner seems dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    /// The job.
    pub id: JobId,
    /// Its runner's fence.
    pub attempt: i64,
    /// The process of that runner.
    pub owner: Option<String>,
}

/// Running jobs without a living runner.
///
/// Of the owner's own jobs those are dead that are not among `alive`. With `others`, so are those of other owners: on an
/// exclusive store all, otherwise those whose lease ran out.
///
/// # Errors
/// As any call.
pub async fn abandoned(
    store: &Store,
    owner: &str,
    alive: Vec<JobId>,
    others: bool,
) -> Result<Vec<Abandoned>, StoreError> {
    let owner = owner.to_owned();
    let exclusive = store.exclusive();
    pool::read!(store, |conn, now| {
        type Found = (JobId, i64, Option<String>, Option<i64>);
        let found: Vec<Found> = job_queue::table
            .inner_join(jobs::table.on(jobs::id.eq(job_queue::job_id)))
            .filter(jobs::state.eq_any(JobState::running()).and(jobs::deleted_us.is_null()))
            .limit(MAX_RECOVERED)
            .select((jobs::id, jobs::attempt, job_queue::lease_owner, job_queue::lease_until_us))
            .load(conn)
            .await?;
        let dead = found.into_iter().filter(|(id, _, holder, until)| match holder {
            Some(holder) if *holder == owner => !alive.contains(id),
            _ => others && (exclusive || until.is_none_or(|until| until < now)),
        });
        let dead = dead.map(|(id, attempt, owner, _)| Abandoned { id, attempt, owner });
        Ok::<_, StoreError>(dead.collect())
    })
}

/// Puts an abandoned job back into the queue (cancels or pauses one that was being so, gives up one that was abandoned
/// [`MAX_ABANDONED`] times); `None` when it was not dead after all. One transaction for each job: several would lock in
/// an order that others do not keep, and the failure of one would be that of all.
///
/// # Errors
/// As any call.
pub async fn take_back(store: &Store, owner: &str, dead: Abandoned) -> Result<Option<DurableEvent>, StoreError> {
    let theirs = dead.owner.as_deref().filter(|theirs| *theirs != owner);
    if let Some(theirs) = theirs {
        evict(store, theirs).await;
    }
    let (others, exclusive) = (theirs.is_some(), store.exclusive());
    pool::write!(store, |conn, now| {
        let job = match running(conn, dead.id, dead.attempt).await {
            Err(StoreError::Fenced) => return Ok(None),
            found => found?,
        };
        let until: Option<i64> = job_queue::table.find(job.id).select(job_queue::lease_until_us).first(conn).await?;
        // Only looked dead: its lease was renewed meanwhile.
        if others && !exclusive && until.is_some_and(|until| until >= now) {
            return Ok(None);
        }
        let times = abandon(conn, job.id).await?;
        let ending = if times >= MAX_ABANDONED && !job.state.is_stopping() {
            let error = format!("the process died {times} times while it ran this job; not tried again by itself");
            Ending::Failed { error }
        } else {
            Ending::Requeued
        };
        Ok::<_, StoreError>(end(conn, now, &job, ending).await?.event)
    })
}

/// Ends what a dead process may still be writing. It only saves waiting: what it writes is fenced.
async fn evict(store: &Store, process: &str) {
    let name = process.to_owned();
    let ended = pool::read!(store, |conn| {
        match conn.conn() {
            Conn::Postgres(conn) => postgres::evict(conn, &name).await,
            Conn::Sqlite(_) => Ok(0),
        }
    });
    match ended {
        Ok(0) => {}
        Ok(count) => log::warn!("connections of a dead process were ended process={process} count={count}"),
        Err(error) => log::warn!("cannot end connections of a dead process process={process} error={error}"),
    }
}

fn until(now: i64, lease: Duration) -> i64 {
    now.saturating_add(micros(lease))
}
