//! `POST /api/test/panic`, `POST /api/test/stall`: let a test break a part of the server from outside. Leaves the breaking to the
//! parts. Easy to get wrong: off unless the hooks are enabled, so the routes are not even there.
use crate::{
    http::{
        auth::Caller,
        error::{ApiError, ApiResult},
        extract::JsonBody,
        state::AppState,
    },
    protocol::principal::{Action, Resource, authorise},
};
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Victim {
    actor: String,
}

pub(in crate::http) async fn panic(
    State(app): State<AppState>,
    Caller(caller): Caller,
    JsonBody(victim): JsonBody<Victim>,
) -> ApiResult<StatusCode> {
    authorise(&caller, Action::Manage, Resource::Server)?;
    match victim.actor.as_str() {
        "hub" => app.realtime.inject_panic().await?,
        "shard" => app.realtime.inject_shard_panic(),
        "handler" => panic!("a test asked this handler to panic"),
        other => return Err(ApiError::not_found(format!("no hook makes {other:?} panic"))),
    }
    Ok(StatusCode::ACCEPTED)
}

/// The longest stall that can be asked for.
const MAX_STALL_MS: u64 = 10_000;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Stall {
    for_ms: u64,
}

/// Blocks the hub's handler, and with it the actor thread.
pub(in crate::http) async fn stall(
    State(app): State<AppState>,
    Caller(caller): Caller,
    JsonBody(stall): JsonBody<Stall>,
) -> ApiResult<StatusCode> {
    authorise(&caller, Action::Manage, Resource::Server)?;
    app.realtime.inject_stall(Duration::from_millis(stall.for_ms.min(MAX_STALL_MS))).await?;
    Ok(StatusCode::ACCEPTED)
}
