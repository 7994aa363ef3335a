//! `/api/v1/projects/{id}/jobs` and `/api/v1/jobs/{id}`: make, start, watch, cancel, delete.
//!
//! Leaves running to the jobs actors: starting is a row and a nudge. Easy to get wrong: the row is the truth, the live
//! figures are only fresher; they are mixed in while a runner has the job.
use super::{projects::Paging, rules, sources::profiled};
use crate::{
    db::jobs::{self, Job, NewJob},
    http::{
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
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewJobBody {
    left: SourceId,
    right: SourceId,
    rules: Option<Value>,
    left_id: Option<String>,
    right_id: Option<String>,
    #[serde(default)]
    start: bool,
}

pub(in crate::http) async fn create(
    State(app): State<AppState>,
    caller: Principal,
    Id(project): Id<ProjectId>,
    JsonBody(body): JsonBody<NewJobBody>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Write, Resource::Project(project))?;
    let left = profiled(&app, project, body.left).await?;
    let right = profiled(&app, project, body.right).await?;
    let rules = rules::complete(body.rules, (&left, body.left_id), (&right, body.right_id))?;
    let new = NewJob {
        project_id: project,
        left: body.left,
        right: body.right,
        options: json!({ "left_id": rules.left_id, "right_id": rules.right_id }),
        rules: serde_json::to_value(&rules).map_err(|error| ApiError::internal(error.to_string()))?,
    };
    let store = app.store.clone();
    let mut job = app.commit(async move { jobs::create(&store, new).await }).await?;
    if body.start {
        job = enqueue(&app, job.id).await?;
    }
    let location = format!("/api/v1/jobs/{}", job.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(shown(&app, &job)?)).into_response())
}

pub(in crate::http) async fn list(
    State(app): State<AppState>,
    caller: Principal,
    Id(project): Id<ProjectId>,
    Query(paging): Query<Paging>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Read, Resource::Project(project))?;
    let page = jobs::list(&app.store, project, paging.after(), paging.limit()).await?;
    let items = page.items.iter().map(|job| shown(&app, job)).collect::<ApiResult<Vec<_>>>()?;
    Ok(position::at(page.position.as_ref(), json!({ "items": items, "next": page.next })))
}

pub(in crate::http) async fn get(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<JobId>,
) -> ApiResult<Json<Value>> {
    let job = find(&app, &caller, Action::Read, id).await?;
    shown(&app, &job).map(Json)
}

pub(in crate::http) async fn start(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<JobId>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Write, id).await?;
    let job = enqueue(&app, id).await?;
    Ok((StatusCode::ACCEPTED, Json(shown(&app, &job)?)).into_response())
}

pub(in crate::http) async fn cancel(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<JobId>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Write, id).await?;
    let store = app.store.clone();
    let job = app.commit(async move { jobs::request_cancel(&store, id).await }).await?;
    app.jobs.cancel(id);
    Ok((StatusCode::ACCEPTED, Json(shown(&app, &job)?)).into_response())
}

pub(in crate::http) async fn delete(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<JobId>,
) -> ApiResult<StatusCode> {
    find(&app, &caller, Action::Manage, id).await?;
    let store = app.store.clone();
    app.commit(async move { jobs::delete(&store, id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(in crate::http) async fn progress(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<JobId>,
) -> ApiResult<Json<Value>> {
    let job = find(&app, &caller, Action::Read, id).await?;
    let live = app.jobs.progress(id).filter(|_| job.state.is_running());
    Ok(Json(match live {
        Some(live) => json!({
            "state": job.state,
            "phase": live.phase,
            "done": live.done,
            "total": live.total,
            "matches": live.matches,
            "rows_per_second": live.rows_per_second,
            "eta_seconds": live.eta_seconds,
        }),
        None => json!({
            "state": job.state,
            "phase": job.phase,
            "done": job.done,
            "total": job.total,
            "matches": job.counts.map_or(0, |counts| counts.matched + counts.discrepancy),
            "rows_per_second": null,
            "eta_seconds": null,
        }),
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
fn shown(app: &AppState, job: &Job) -> ApiResult<Value> {
    let mut value = serde_json::to_value(job).map_err(|error| ApiError::internal(error.to_string()))?;
    value["left_id"] = job.options["left_id"].clone();
    value["right_id"] = job.options["right_id"].clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("options");
    }
    if let Some(live) = app.jobs.progress(job.id).filter(|_| job.state.is_running()) {
        value["phase"] = json!(live.phase);
        value["done"] = json!(live.done);
        value["total"] = json!(live.total);
    }
    Ok(value)
}
