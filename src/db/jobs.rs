//! Jobs as users see them: create, delete, list; to start, pause and cancel one is in `jobs_wishes`, what a runner does to one in
//! `jobs_run`.
//!
//! The row is the truth: nudging a dispatcher only saves it the wait for its next look. The one thing easy to get
//! wrong: a state is changed only from the states it may follow, in the same transaction that read it.
use super::error::StoreError;
use super::events::{Committed, Page, append, data_update, member, position};
use super::jobs_wishes::join_queue;
use super::paging::first_page;
use super::pool::{self, Engine};
use super::postgres::locks;
use super::projects::{MAX_PAGE, cursor};
use super::schema::{job_queue, jobs};
use super::sql_types::{Json, ms, word_column};
use super::store::Store;
use crate::protocol::ids::{JobId, ProjectId, SourceId};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use serde::{Deserialize, Serialize};

pub use super::jobs_wishes::{enqueue, request_cancel, request_pause, resume};

pub use super::jobs_run::{
    Abandoned, Ending, Lease, abandoned, claim_next, finish, leases, renew, set_phase, take_back,
};

word_column! {
    /// Where a job is in its life.
    JobState {
        /// Made, not started.
        Created = "created",
        /// Waits for its turn.
        Queued = "queued",
        /// Reads its files and stores their records.
        Ingesting = "ingesting",
        /// Builds the blocking index.
        Indexing = "indexing",
        /// Scores candidate pairs.
        Scoring = "scoring",
        /// Chooses the pairs.
        Assigning = "assigning",
        /// Names what is left.
        Classifying = "classifying",
        /// Stages and publishes its results.
        Publishing = "publishing",
        /// Done; its results are visible.
        Completed = "completed",
        /// Was told to stop for a while and has not yet.
        Pausing = "pausing",
        /// Stands still until a user resumes it; what it finished is kept.
        Paused = "paused",
        /// Was told to stop and has not yet.
        Cancelling = "cancelling",
        /// Stopped by a user.
        Cancelled = "cancelled",
        /// Ended with an error.
        Failed = "failed",
    }
}

impl JobState {
    /// No runner will change it again.
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Failed)
    }

    /// A runner has it.
    pub fn is_running(self) -> bool {
        !self.is_terminal() && !matches!(self, Self::Created | Self::Queued | Self::Paused)
    }

    /// A runner has it and is to let go of it.
    pub fn is_stopping(self) -> bool {
        matches!(self, Self::Pausing | Self::Cancelling)
    }

    /// The states in which a runner has it.
    pub(crate) fn running() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|state| state.is_running()).collect()
    }
}

/// What to run.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Whose it is.
    pub project_id: ProjectId,
    /// The left side.
    pub left: SourceId,
    /// The right side.
    pub right: SourceId,
    /// The rule set, whole and immutable.
    pub rules: serde_json::Value,
    /// What else the runner needs, such as the id columns: `{"left_id":…,"right_id":…}`.
    pub options: serde_json::Value,
}

/// What a finished job found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counts {
    /// Records of the left side.
    pub left: u64,
    /// Records of the right side.
    pub right: u64,
    /// Matches that need nothing more, those to review included.
    pub matched: u64,
    /// Matches whose fields disagree.
    pub discrepancy: u64,
    /// Matches that a person should look at; counted in `matched` too.
    pub review: u64,
    /// Records of the left side without a match.
    pub unmatched_left: u64,
    /// Records of the right side without a match.
    pub unmatched_right: u64,
    /// Rows that could not be read, and places where a balance says that lines are missing, both sides.
    pub errors: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Whose it is.
    pub project_id: ProjectId,
    /// The left side.
    pub left_source_id: SourceId,
    /// The right side.
    pub right_source_id: SourceId,
    /// Where it is in its life.
    pub state: JobState,
    /// The same word as `state`; what a running job is doing within it is asked of the jobs actor.
    pub phase: &'static str,
    /// Records done: all of them once completed, else 0. Live figures come from the jobs actor.
    pub done: u64,
    /// Records to do: known once completed, else 0.
    pub total: u64,
    /// The rule set.
    pub rules: serde_json::Value,
    /// What else the runner needs.
    pub options: serde_json::Value,
    /// What it found; `None` until it is completed.
    pub counts: Option<Counts>,
    /// Why it failed.
    pub error: Option<String>,
    /// How often it was begun; also the fence of its present runner.
    pub attempt: i64,
    /// Unix milliseconds.
    pub created_at_ms: i64,
    /// Unix milliseconds of the latest beginning.
    pub started_at_ms: Option<i64>,
    /// Unix milliseconds.
    pub finished_at_ms: Option<i64>,
    /// The attempt whose results are visible.
    #[serde(skip)]
    pub published_attempt: Option<i64>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = jobs, check_for_backend(diesel::sqlite::Sqlite, diesel::pg::Pg))]
pub(crate) struct Row {
    id: JobId,
    project_id: ProjectId,
    left_source_id: SourceId,
    right_source_id: SourceId,
    state: JobState,
    rules: Json,
    options: Json,
    counts: Option<Json>,
    error: Option<String>,
    attempt: i64,
    published_attempt: Option<i64>,
    created_us: i64,
    started_us: Option<i64>,
    finished_us: Option<i64>,
}

impl From<Row> for Job {
    fn from(row: Row) -> Self {
        let counts: Option<Counts> = row.counts.and_then(|json| serde_json::from_value(json.0).ok());
        let records = counts.map_or(0, |counts| counts.left + counts.right);
        Self {
            id: row.id,
            project_id: row.project_id,
            left_source_id: row.left_source_id,
            right_source_id: row.right_source_id,
            state: row.state,
            phase: row.state.as_str(),
            done: records,
            total: records,
            rules: row.rules.0,
            options: row.options.0,
            counts,
            error: row.error,
            attempt: row.attempt,
            created_at_ms: ms(row.created_us),
            started_at_ms: row.started_us.map(ms),
            finished_at_ms: row.finished_us.map(ms),
            published_attempt: row.published_attempt,
        }
    }
}

/// Makes a job in state `created`.
///
/// # Errors
/// [`StoreError::NotFound`] for the project, [`StoreError::Invalid`] for a source that is not the project's,
/// [`StoreError::LimitExceeded`] for `jobs_per_project`.
pub async fn create(store: &Store, new: NewJob) -> Result<Committed<Job>, StoreError> {
    insert(store, new, JobState::Created).await
}

/// Makes a job and puts it into the queue, or does neither.
///
/// # Errors
/// Those of [`create`] and [`enqueue`].
pub async fn create_queued(store: &Store, new: NewJob) -> Result<Committed<Job>, StoreError> {
    insert(store, new, JobState::Queued).await
}

async fn insert(store: &Store, new: NewJob, state: JobState) -> Result<Committed<Job>, StoreError> {
    let (max, open_jobs) = (store.options().jobs_per_project, store.options().open_jobs);
    pool::write!(store, |conn, now| {
        super::projects::find_to_change(conn, new.project_id).await?;
        for (side, source) in [("left", new.left), ("right", new.right)] {
            match super::sources::find(conn, source).await {
                Ok(found) if found.project_id == new.project_id => {}
                Ok(_) | Err(StoreError::NotFound) => {
                    return Err(StoreError::Invalid(format!("{side}: the project has no source {source}")));
                }
                Err(error) => return Err(error),
            }
        }
        let mine = jobs::table.filter(jobs::project_id.eq(new.project_id).and(jobs::deleted_us.is_null()));
        let present: i64 = mine.count().get_result(conn).await?;
        if present.unsigned_abs() >= max {
            return Err(StoreError::LimitExceeded { limit: "jobs_per_project", max });
        }
        let row: Row = diesel::insert_into(jobs::table)
            .values((
                jobs::id.eq(JobId::generate()),
                jobs::project_id.eq(new.project_id),
                jobs::left_source_id.eq(new.left),
                jobs::right_source_id.eq(new.right),
                jobs::state.eq(state),
                jobs::rules.eq(Json(new.rules)),
                jobs::options.eq(Json(new.options)),
                jobs::created_us.eq(now),
            ))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        if state == JobState::Queued {
            join_queue(conn, now, row.id, open_jobs).await?;
        }
        changed(conn, now, row.into(), "created").await
    })
}

/// Makes a job and its results invisible; the janitor removes the rows in batches.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] while a runner has it.
pub async fn delete(store: &Store, id: JobId) -> Result<Committed<()>, StoreError> {
    pool::write!(store, |conn, now| {
        let job = find_to_change(conn, id).await?;
        if job.state.is_running() {
            return Err(StoreError::Conflict(format!("job {id} is {}: cancel it first", job.state)));
        }
        leave_queue(conn, id).await?;
        diesel::update(jobs::table.find(id)).set(jobs::deleted_us.eq(now)).execute(conn).await?;
        let event = changed(conn, now, job, "deleted").await?.event;
        Ok::<_, StoreError>(Committed { value: (), event })
    })
}

/// One job.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(store: &Store, id: JobId) -> Result<Job, StoreError> {
    pool::read!(store, |conn| { find(conn, id).await })
}

/// Bytes of a job's rules and options, which are its owner's to choose.
const JOB_BYTES: &str = "CAST(octet_length(CAST(rules AS TEXT)) + octet_length(CAST(options AS TEXT)) AS BIGINT)";

/// Jobs of a project, newest first.
///
/// # Errors
/// [`StoreError::NotFound`] for the project; [`StoreError::Invalid`] for the cursor.
pub async fn list(
    store: &Store,
    project: ProjectId,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Job>, StoreError> {
    let after = after.map(cursor::<JobId>).transpose()?;
    let limit = limit.clamp(1, MAX_PAGE);
    pool::read!(store, |conn| {
        super::projects::find(conn, project).await?;
        let mut query = jobs::table
            .filter(jobs::project_id.eq(project).and(jobs::deleted_us.is_null()))
            .order(jobs::id.desc())
            .limit(limit as i64 + 1)
            .select((jobs::id, sql::<BigInt>(JOB_BYTES)))
            .into_boxed();
        if let Some(after) = after {
            query = query.filter(jobs::id.lt(after));
        }
        let (ids, more) = first_page::<JobId>(query.load(conn).await?, limit);
        let rows: Vec<Row> =
            jobs::table.filter(jobs::id.eq_any(ids)).order(jobs::id.desc()).select(Row::as_select()).load(conn).await?;
        let mut page = Page::of(rows.into_iter().map(Job::from).collect(), more, |job: &Job| job.id.to_string());
        page.position = Some(position(conn, project).await?);
        Ok::<_, StoreError>(page)
    })
}

/// The job is over, or no longer to be run.
pub(crate) async fn leave_queue(connection: &mut impl Engine, id: JobId) -> Result<(), StoreError> {
    pool::on!(connection, |conn| diesel::delete(job_queue::table.find(id)).execute(conn).await?);
    Ok(())
}

/// A visible job, inside the caller's transaction.
pub(crate) async fn find(connection: &mut impl Engine, id: JobId) -> Result<Job, StoreError> {
    pool::on!(connection, |conn| {
        let row: Option<Row> = jobs::table
            .filter(jobs::id.eq(id).and(jobs::deleted_us.is_null()))
            .select(Row::as_select())
            .first(conn)
            .await
            .optional()?;
        row.map(Job::from).ok_or(StoreError::NotFound)
    })
}

/// A visible job whose project nobody else changes, and that nobody claims, until the caller's transaction ends.
pub(crate) async fn find_to_change(connection: &mut impl Engine, id: JobId) -> Result<Job, StoreError> {
    locks::project_of_job(connection, id).await?;
    find(connection, id).await
}

/// The event of a change. Rules and options are left out: they can be larger than a frame may be, and never change.
pub(crate) async fn changed(
    connection: &mut impl Engine,
    now: i64,
    job: Job,
    action: &str,
) -> Result<Committed<Job>, StoreError> {
    #[derive(Serialize)]
    struct Shown<'a> {
        state: JobState,
        phase: &'a str,
        left_source_id: SourceId,
        right_source_id: SourceId,
        attempt: i64,
        created_at_ms: i64,
    }
    let shown = Shown {
        state: job.state,
        phase: job.phase,
        left_source_id: job.left_source_id,
        right_source_id: job.right_source_id,
        attempt: job.attempt,
        created_at_ms: job.created_at_ms,
    };
    let body = data_update(job.project_id, "job", &job.id.to_string(), action, &shown)?;
    let event = append(connection, now, job.project_id, body).await?;
    Ok(Committed { value: job, event: Some(event) })
}

/// The terminal progress event: the one frame that tells a client that a job is over, and how.
pub(crate) async fn ended(connection: &mut impl Engine, now: i64, job: Job) -> Result<Committed<Job>, StoreError> {
    let event = append(connection, now, job.project_id, terminal_body(&job)?).await?;
    Ok(Committed { value: job, event: Some(event) })
}

fn terminal_body(job: &Job) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Terminal<'a> {
        project_id: ProjectId,
        job_id: JobId,
        state: JobState,
        phase: &'a str,
        done: u64,
        total: u64,
        matches: u64,
        rows_per_second: f64,
        eta_seconds: Option<f64>,
        terminal: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        counts: Option<Counts>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
    }
    let counts = job.counts.unwrap_or_default();
    let seconds = match (job.started_at_ms, job.finished_at_ms) {
        (Some(started), Some(finished)) if finished > started => (finished - started) as f64 / 1e3,
        _ => 0.0,
    };
    let rows = (counts.left + counts.right) as f64;
    let terminal = Terminal {
        project_id: job.project_id,
        job_id: job.id,
        state: job.state,
        phase: job.phase,
        done: job.done,
        total: job.total,
        matches: counts.matched + counts.discrepancy,
        rows_per_second: if seconds > 0.0 { (rows / seconds).round() } else { 0.0 },
        eta_seconds: None,
        terminal: true,
        counts: job.counts,
        error: job.error.as_deref(),
    };
    member("JobProgressUpdate", &terminal)
}
