//! `POST /api/test/panic`: lets a test break a part of the server from outside. Off unless the hooks are enabled.
use crate::{
    http::{
        error::{ApiError, ApiResult},
        extract::JsonBody,
        state::AppState,
    },
    protocol::principal::{Action, Principal, Resource, authorise},
};
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Victim {
    actor: String,
}

pub(in crate::http) async fn panic(
    State(app): State<AppState>,
    caller: Principal,
    JsonBody(victim): JsonBody<Victim>,
) -> ApiResult<StatusCode> {
    authorise(&caller, Action::Manage, Resource::Server)?;
    match victim.actor.as_str() {
        "hub" => app.realtime.inject_panic().await?,
        "handler" => panic!("a test asked this handler to panic"),
        other => return Err(ApiError::not_found(format!("no hook makes {other:?} panic"))),
    }
    Ok(StatusCode::ACCEPTED)
}
