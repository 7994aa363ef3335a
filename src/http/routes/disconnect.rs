//! `POST /api/realtime/disconnect`: a user is sent away, from one room or altogether.
//!
//! Leaves the right itself (a token not renewed, a membership ended) to whoever gave it. Easy to get wrong: nothing here
//! keeps a user out who still has a valid token, so the right is taken away first.
use crate::actors::hub;
use crate::http::auth::Caller;
use crate::http::error::ApiResult;
use crate::http::extract::JsonBody;
use crate::http::state::AppState;
use crate::protocol::ids::ProjectId;
use crate::protocol::names::Name;
use crate::protocol::principal::{Action, Resource, authorise};
use axum::{Json, extract::State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who, and from where; without a project from everywhere.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Disconnect {
    user_id: Name,
    #[serde(default)]
    project_id: Option<ProjectId>,
}

/// How many were sent away.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct SentAway {
    /// Connections that were closed or taken out of the room.
    connections: usize,
    /// Whether every other replica has confirmed that it did the same. One that has not is told again, for ten minutes.
    complete: bool,
}

pub(in crate::http) async fn disconnect(
    State(app): State<AppState>,
    Caller(caller): Caller,
    JsonBody(Disconnect { user_id, project_id }): JsonBody<Disconnect>,
) -> ApiResult<Json<SentAway>> {
    authorise(&caller, Action::Manage, project_id.map_or(Resource::Server, Resource::Project))?;
    let hub::SentAway { connections, complete } = match project_id {
        Some(project) => app.realtime.revoke(project, &user_id).await?,
        None => app.realtime.disconnect_user(&user_id).await?,
    };
    log::info!(
        "a user was sent away by={} user={:?} connections={connections} complete={complete}",
        caller.user_id,
        &*user_id
    );
    Ok(Json(SentAway { connections, complete }))
}
