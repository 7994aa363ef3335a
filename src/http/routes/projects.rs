//! `/api/v1/projects`: the projects themselves.
use crate::{
    db::{Position, projects},
    http::{
        auth::Caller,
        error::ApiResult,
        extract::{Id, JsonBody, Query, Whole},
        position,
        state::AppState,
    },
    protocol::{
        ids::ProjectId,
        names::Name,
        principal::{Action, Resource, authorise},
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
use uuid::Uuid;

/// Length of a page when the caller does not say.
const DEFAULT_PAGE: u64 = 100;

/// Length of a page.
pub(super) type PageLength = Whole<1, { projects::MAX_PAGE as u64 }>;
/// Place of a row in a list that is not made of things with ids; JSON's readers agree on whole numbers up to there.
pub(in crate::http) type Ordinal = Whole<0, 9_007_199_254_740_991>;

/// `limit` and `after` of a list.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Paging<C = Uuid> {
    limit: Option<PageLength>,
    /// `next` of the page before.
    after: Option<C>,
}

/// One page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(in crate::http) struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `after` for the next page.
    pub next: Option<String>,
}

impl<C: Cursor> Paging<C> {
    pub(super) fn limit(&self) -> usize {
        self.limit.map_or(DEFAULT_PAGE, |limit| limit.0) as usize
    }

    pub(super) fn after(&self) -> Option<String> {
        self.after.as_ref().map(Cursor::text)
    }
}

/// What a page ends with, as the store takes it.
pub(in crate::http) trait Cursor {
    fn text(&self) -> String;
}

impl Cursor for Uuid {
    fn text(&self) -> String {
        self.to_string()
    }
}

impl Cursor for Ordinal {
    fn text(&self) -> String {
        self.0.to_string()
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Named {
    name: Name,
}

pub(in crate::http) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Query(paging): Query<Paging>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Read, Resource::Server)?;
    let page = projects::list(&app.store, paging.after().as_deref(), paging.limit()).await?;
    Ok(Json(Page { items: page.items, next: page.next }).into_response())
}

pub(in crate::http) async fn create(
    State(app): State<AppState>,
    Caller(caller): Caller,
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
    Caller(caller): Caller,
    Id(id): Id<ProjectId>,
) -> ApiResult<Response> {
    authorise(&caller, Action::Read, Resource::Project(id))?;
    let project = projects::get(&app.store, id).await?;
    let position = Position { ep: project.ep.clone(), off: project.off };
    Ok(position::at(Some(&position), project))
}

pub(in crate::http) async fn rename(
    State(app): State<AppState>,
    Caller(caller): Caller,
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
    Caller(caller): Caller,
    Id(id): Id<ProjectId>,
) -> ApiResult<StatusCode> {
    authorise(&caller, Action::Manage, Resource::Project(id))?;
    let store = app.store.clone();
    app.commit(async move { projects::delete(&store, id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
