//! `GET /ws`: hands an admitted request to the WebSocket door.
//!
//! Leaves the upgrade and the connection to `http::ws`. Easy to get wrong: the caller may still be nobody here; the
//! first message of the socket is then `Auth`.
use super::realtime::{Proofs, caller, verifier};
use crate::http::{
    error::{ApiError, ApiResult},
    state::AppState,
    ws::{self, Door, Refused},
};
use axum::{
    extract::{Request, State},
    response::Response,
};
use schemars::JsonSchema;

/// The query string.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the schema of what `caller` looks up")]
pub(in crate::http) struct SocketQuery {
    /// Who calls, where no header can say it.
    ticket: Option<String>,
}

pub(in crate::http) async fn open(State(app): State<AppState>, request: Request) -> ApiResult<Response> {
    if app.shutdown.is_cancelled() {
        return Err(ApiError::draining());
    }
    let grant = caller(&app, Proofs::of(&request)).await?;
    let door = Door { realtime: app.realtime.clone(), tracker: app.tracker.clone(), verify: verifier(&app) };
    Ok(ws::upgrade(request, grant, door).await?)
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let mut error = Self::new(refused.status, refused.code, refused.detail);
        if let Some(limit) = refused.limit {
            // The setting's name is the one an operator can raise.
            error = error.with("limit", if limit == "sockets" { "max_sockets" } else { limit });
        }
        match refused.retry_after {
            Some(after) => error.retry_after(after),
            None => error,
        }
    }
}
