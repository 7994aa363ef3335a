//! `/api/v1/projects/{id}/claims`: who works on what.
//!
//! Leaves granting to the hub, which grants each thing to one caller. Easy to get wrong: a refusal is an answer (409,
//! with the holder), not an error; only a hub that does not answer is one.
use crate::actors::hub::{ClaimError, RealtimeError};
use crate::actors::rooms::ClaimRefused;
use crate::db::projects;
use crate::http::auth::Caller;
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::{EntityId, Id, JsonBody};
use crate::http::state::AppState;
use crate::protocol::ids::ProjectId;
use crate::protocol::names::Name;
use crate::protocol::principal::{Action, Resource, authorise};
use axum::{Json, extract::State};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Wanted {
    entity_id: Name,
}

/// A claim that is the caller's now.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Granted {
    entity_id: String,
    user_id: String,
    /// Always true; a refusal is a problem with the code `already_claimed`.
    granted: bool,
    /// The caller had it before.
    renewed: bool,
    /// Grows each time the claim changes hands.
    fence: u64,
    /// When it lapses unless renewed, Unix milliseconds.
    expires_at_ms: i64,
}

pub(in crate::http) async fn claim(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(project): Id<ProjectId>,
    JsonBody(wanted): JsonBody<Wanted>,
) -> ApiResult<Json<Granted>> {
    authorise(&caller, Action::Review, Resource::Project(project))?;
    projects::get(&app.store, project).await?;
    let claim = app.realtime.claim(project, &wanted.entity_id, &caller.user_id).await?;
    Ok(Json(Granted {
        entity_id: claim.entity_id,
        user_id: claim.user_id,
        granted: true,
        renewed: !claim.granted,
        fence: claim.fence,
        expires_at_ms: claim.expires_at_ms,
    }))
}

pub(in crate::http) async fn release(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Id(project): Id<ProjectId>,
    EntityId(entity_id): EntityId,
) -> ApiResult<StatusCode> {
    authorise(&caller, Action::Review, Resource::Project(project))?;
    app.realtime.release(project, &entity_id, &caller.user_id).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<ClaimError> for ApiError {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Refused(refused) => refused.into(),
            ClaimError::Realtime(error) => error.into(),
        }
    }
}

impl From<ClaimRefused> for ApiError {
    fn from(refused: ClaimRefused) -> Self {
        let text = refused.to_string();
        match refused {
            ClaimRefused::AlreadyClaimed { holder, expires_at_ms } => {
                Self::conflict(text).code("already_claimed").with("holder", holder).with("expires_at_ms", expires_at_ms)
            }
            ClaimRefused::NotHeld | ClaimRefused::NoProject => Self::not_found(text),
            ClaimRefused::Unavailable(_) => Self::unavailable(text),
            ClaimRefused::TooMany(_) => Self::limit(StatusCode::TOO_MANY_REQUESTS, "claims_per_project", text),
        }
    }
}

impl From<RealtimeError> for ApiError {
    fn from(error: RealtimeError) -> Self {
        let text = error.to_string();
        match error {
            RealtimeError::Off => Self::new(StatusCode::SERVICE_UNAVAILABLE, "realtime_off", text),
            RealtimeError::Draining => Self::draining(),
            RealtimeError::Limit(name) => Self::limit(StatusCode::SERVICE_UNAVAILABLE, name, text),
            RealtimeError::Start(_) | RealtimeError::Threads(_) => Self::unavailable(text),
            RealtimeError::Unanswered { retryable: true, .. } => Self::unavailable(text),
            RealtimeError::Unanswered { retryable: false, .. } => Self::internal(text),
        }
    }
}
