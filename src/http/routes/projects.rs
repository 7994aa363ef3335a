//! `/api/v1/projects`: the projects themselves.
use crate::{
    db::{Position, projects},
    http::{
        error::ApiResult,
        extract::{Id, JsonBody, Query},
        position,
        state::AppState,
    },
    protocol::{
        ids::ProjectId,
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

/// Length of a page when the caller does not say.
pub(super) const DEFAULT_PAGE: usize = 100;

/// `limit` and `after` of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Paging {
    limit: Option<usize>,
    after: Option<String>,
}

/// One page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(in crate::http) struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `after` for the next page.
    pub next: Option<String>,
}

impl Paging {
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(DEFAULT_PAGE).clamp(1, projects::MAX_PAGE)
    }

    pub(super) fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Named {
    name: String,
}

pub(in crate::http) async fn list(
    State(app): State<AppState>,
    caller: Principal,
    Query(paging): Query<Paging>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Read, Resource::Server)?;
    let page = projects::list(&app.store, paging.after(), paging.limit()).await?;
    Ok(Json(Page { items: page.items, next: page.next }).into_response())
}

pub(in crate::http) async fn create(
    State(app): State<AppState>,
    caller: Principal,
    JsonBody(new): JsonBody<Named>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Manage, Resource::Server)?;
    let store = app.store.clone();
    let project = app.commit(async move { projects::create(&store, &new.name).await }).await?;
    let location = format!("/api/v1/projects/{}", project.id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(project)).into_response())
}

pub(in crate::http) async fn get(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<ProjectId>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Read, Resource::Project(id))?;
    let project = projects::get(&app.store, id).await?;
    let position = Position { ep: project.ep.clone(), off: project.off };
    Ok(position::at(Some(&position), project))
}

pub(in crate::http) async fn rename(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<ProjectId>,
    JsonBody(new): JsonBody<Named>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Manage, Resource::Project(id))?;
    let store = app.store.clone();
    let project = app.commit(async move { projects::rename(&store, id, &new.name).await }).await?;
    Ok(Json(project).into_response())
}

pub(in crate::http) async fn delete(
    State(app): State<AppState>,
    caller: Principal,
    Id(id): Id<ProjectId>,
) -> ApiResult<StatusCode> {
    authorise(&caller, Action::Manage, Resource::Project(id))?;
    let store = app.store.clone();
    app.commit(async move { projects::delete(&store, id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
