//! `/api/v1/jobs/{id}/results` and `…/errors`: what a completed job found, by page.
use super::{
    jobs::find,
    projects::{Cursor, Ordinal, Page, PageLength, Paging},
};
use crate::{
    db::results::{self, ResultItem, ResultStatus},
    http::{
        auth::Caller,
        error::ApiResult,
        extract::{Id, Query},
        position,
        state::AppState,
    },
    protocol::{ids::JobId, principal::Action},
};
use axum::{extract::State, response::Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Length of a page when the caller does not say: a screen of results, each with its records.
const DEFAULT_PAGE: u64 = 50;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Selection {
    status: Option<ResultStatus>,
    limit: Option<PageLength>,
    /// `next` of the page before.
    after: Option<Ordinal>,
}

/// A page of results.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Results {
    items: Vec<ResultItem>,
    /// Give it as `after` for the next page.
    next: Option<String>,
    /// How many there are of that status in all.
    total: u64,
}

pub(in crate::http) async fn list(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
    Query(query): Query<Selection>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Read, id).await?;
    let status = query.status.unwrap_or(ResultStatus::All);
    let limit = query.limit.map_or(DEFAULT_PAGE, |limit| limit.0) as usize;
    let after = query.after.as_ref().map(Cursor::text);
    // Nothing closes it, and without a turn a page would only be read sooner.
    let _turn = app.pages.acquire().await.ok();
    let page = results::page(&app.store, id, status, after.as_deref(), limit).await?;
    let body = Results { items: page.items, next: page.next, total: page.total };
    Ok(position::at(Some(&page.position), body))
}

pub(in crate::http) async fn errors(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(id): Id<JobId>,
    Query(paging): Query<Paging<Ordinal>>,
) -> ApiResult<Response> {
    find(&app, &caller, Action::Read, id).await?;
    let page = results::row_errors(&app.store, id, paging.after().as_deref(), paging.limit()).await?;
    Ok(position::at(page.position.as_ref(), Page { items: page.items, next: page.next }))
}
