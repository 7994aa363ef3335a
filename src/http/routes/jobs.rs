//! `/api/v1/projects/{id}/jobs` and `/api/v1/jobs/{id}`: make, start, watch, pause, cancel, delete.
//!
//! Leaves running to the jobs actors: starting is a row and a nudge. Easy to get wrong: the row is the truth, the live
//! figures are only fresher; they are mixed in while a runner has the job.
use super::{
    projects::{Page, Paging},
    rules::{self, ColumnName},
    sources::profiled,
};
use crate::{
    db::{
        jobs::{self, Counts, Job, JobState, NewJob},
        projects,
    },
    http::{
        auth::Caller,
        error::{ApiError, ApiResult},
        extract::{Id, JsonBody, Query},
        position,
        state::AppState,
    },
    protocol::{
        ids::{JobId, ProjectId, SourceId},
        principal::{Action, Principal, Resource, authorise},
    },
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewJobBody {
    left: SourceId,
    right: SourceId,
    #[schemars(with = "Option<crate::reconcile::RuleSet>")]
    rules: Option<Value>,
    left_id: Option<ColumnName>,
    right_id: Option<ColumnName>,
    #[serde(default)]
    start: bool,
}

pub(in crate::http) async fn create(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(project): Id<ProjectId>,
    JsonBody(body): JsonBody<NewJobBody>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Write, Resource::Project(project))?;
    projects::get(&app.store, project).await?;
    let left = profiled(&app, project, body.left).await?;
    let right = profiled(&app, project, body.right).await?;
    let inferred = body.rules.is_none();
    let rules = rules::complete(body.rules, (&left, body.left_id), (&right, body.right_id))?;
    let new = NewJob {
        project_id: project,
        left: body.left,
        right: body.right,
        // Without rules of the caller's the run compares what the whole of both files shows to be the same.
        options: json!({ "left_id": rules.left_id, "right_id": rules.right_id, "inferred": inferred }),
        rules: serde_json::to_value(&rules).map_err(|error| ApiError::internal(error.to_string()))?,
    };
    let store = app.store.clone();
    // Started in the same step: else a full queue would leave a job behind at each try.
    let job = app.commit(async move {
        if body.start { jobs::create_queued(&store, new).await } else { jobs::create(&store, new).await }
    });
    let job = job.await?;
    if body.start {
        app.jobs.nudge();
    }
    let location = format!("/api/v1/jobs/{}", job.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown(&app, job))).into_response())
}

pub(in crate::http) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(project): Id<ProjectId>,
    Query(paging): Query<Paging>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Read, Resource::Project(project))?;
    let page = jobs::list(&app.store, project, paging.after().as_deref(), paging.limit()).await?;
    let items = page.items.into_iter().map(|job| shown(&app, job)).collect();
    Ok(position::at(page.position.as_ref(), Page { items, next: page.next }))
}

pub(in crate::http) async fn get(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
) -> ApiResult<Json<JobView>> {
    let job = find(&app, &caller, Action::Read, id).await?;
    Ok(Json(shown(&app, job)))
}

pub(in crate::http) async fn start(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Write, id).await?;
    let job = enqueue(&app, id).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(&app, job))).into_response())
}

pub(in crate::http) async fn cancel(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Write, id).await?;
    let store = app.store.clone();
    let job = app.commit(async move { jobs::request_cancel(&store, id).await }).await?;
    app.jobs.cancel(id, job.attempt);
    Ok((StatusCode::ACCEPTED, Json(shown(&app, job))).into_response())
}

pub(in crate::http) async fn pause(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Write, id).await?;
    let store = app.store.clone();
    let job = app.commit(async move { jobs::request_pause(&store, id).await }).await?;
    if job.state.is_running() {
        app.jobs.pause(id, job.attempt);
    }
    Ok((StatusCode::ACCEPTED, Json(shown(&app, job))).into_response())
}

pub(in crate::http) async fn resume(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Write, id).await?;
    let store = app.store.clone();
    let job = app.commit(async move { jobs::resume(&store, id).await }).await?;
    app.jobs.nudge();
    Ok((StatusCode::ACCEPTED, Json(shown(&app, job))).into_response())
}

pub(in crate::http) async fn delete(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
) -> ApiResult<StatusCode> {
    find(&app, &caller, Action::Manage, id).await?;
    let store = app.store.clone();
    app.commit(async move { jobs::delete(&store, id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::http) async fn progress(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
) -> ApiResult<Json<ProgressView>> {
    let job = find(&app, &caller, Action::Read, id).await?;
    let live = app.jobs.progress(id).filter(|_| job.state.is_running());
    Ok(Json(match live {
        Some(live) => ProgressView {
            state: job.state,
            phase: live.phase,
            done: live.done,
            total: live.total,
            matches: live.matches,
            rows_per_second: Some(live.rows_per_second),
            eta_seconds: live.eta_seconds,
        },
        None => ProgressView {
            state: job.state,
            phase: job.phase.into(),
            done: job.done,
            total: job.total,
            matches: job.counts.map_or(0, |counts| counts.matched + counts.discrepancy),
            rows_per_second: None,
            eta_seconds: None,
        },
    }))
}

/// The job, if the caller may do this to its project.
pub(super) async fn find(app: &AppState, caller: &Principal, action: Action, id: JobId) -> ApiResult<Job> {
    let job = jobs::get(&app.store, id).await?;
    authorise(caller, action, Resource::Project(job.project_id))?;
    Ok(job)
}

async fn enqueue(app: &AppState, id: JobId) -> ApiResult<Job> {
    let store = app.store.clone();
    let job = app.commit(async move { jobs::enqueue(&store, id).await }).await?;
    app.jobs.nudge();
    Ok(job)
}

/// A job as the API shows it: the id columns at the top, and live figures while it runs.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct JobView {
    id: JobId,
    project_id: ProjectId,
    left_source_id: SourceId,
    right_source_id: SourceId,
    state: JobState,
    /// What it is doing within its state.
    phase: String,
    /// Units of the phase that are done.
    done: u64,
    /// Units of the phase; 0 while unknown.
    total: u64,
    #[schemars(with = "crate::reconcile::RuleSet")]
    rules: Value,
    /// Column that names a left row.
    #[schemars(with = "Option<String>")]
    left_id: Value,
    /// Column that names a right row.
    #[schemars(with = "Option<String>")]
    right_id: Value,
    /// What it found; null until it is completed.
    counts: Option<Counts>,
    /// Why it failed.
    error: Option<String>,
    /// How often it was begun.
    attempt: i64,
    /// Unix milliseconds.
    created_at_ms: i64,
    /// Unix milliseconds of the latest beginning.
    started_at_ms: Option<i64>,
    /// Unix milliseconds.
    finished_at_ms: Option<i64>,
}

fn shown(app: &AppState, mut job: Job) -> JobView {
    let live = app.jobs.progress(job.id).filter(|_| job.state.is_running());
    let (phase, done, total) =
        live.map_or_else(|| (job.phase.into(), job.done, job.total), |live| (live.phase, live.done, live.total));
    JobView {
        id: job.id,
        project_id: job.project_id,
        left_source_id: job.left_source_id,
        right_source_id: job.right_source_id,
        state: job.state,
        phase,
        done,
        total,
        rules: job.rules,
        left_id: job.options["left_id"].take(),
        right_id: job.options["right_id"].take(),
        counts: job.counts,
        error: job.error,
        attempt: job.attempt,
        created_at_ms: job.created_at_ms,
        started_at_ms: job.started_at_ms,
        finished_at_ms: job.finished_at_ms,
    }
}

/// How far a job is.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct ProgressView {
    state: JobState,
    phase: String,
    done: u64,
    total: u64,
    matches: u64,
    /// Null when the job does not run.
    rows_per_second: Option<f64>,
    eta_seconds: Option<f64>,
}
