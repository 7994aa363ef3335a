//! `GET /ws`: hands an admitted request to the WebSocket door.
//!
//! Leaves the upgrade and the connection to `http::live::ws`. Easy to get wrong: the caller may still be nobody here (the first
//! message of the socket is then `Auth`), and a browser learns of a refusal only on an open socket.
use super::realtime::{Proofs, caller, query_pairs, verifier};
use crate::actors::hub::RealtimeError;
use crate::http::error::{ApiError, ApiResult};
use crate::http::live::ws;
use crate::http::live::ws::{Closing, Door, Refused};
use crate::http::state::AppState;
use crate::protocol::CloseCode;
use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{StatusCode, header};
use schemars::JsonSchema;

/// The query string.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the schema of what `caller` looks up")]
pub(in crate::http) struct SocketQuery {
    /// Who calls, where no header can say it.
    ticket: Option<String>,
}

pub(in crate::http) async fn open(State(app): State<AppState>, mut request: Request) -> ApiResult<Response> {
    let accept = ws::check(&request)?;
    if let Some((name, _)) = query_pairs(request.uri().query()).find(|(name, _)| *name != "ticket") {
        return Err(ApiError::bad_request(format!("query string: unknown name {name:?}")));
    }
    let refusal = match admit(&app, &mut request).await {
        Ok(response) => return Ok(response),
        Err(refusal) => refusal,
    };
    // A browser sends no such header, and is shown no HTTP answer.
    let shows_answers = request.headers().contains_key(header::AUTHORIZATION);
    match refusal.closing.filter(|_| !shows_answers).zip(app.realtime.refusal()) {
        Some((closing, place)) => {
            let text = refusal.error.to_string();
            Ok(ws::close_at_once(&mut request, &accept, closing, &text, place))
        }
        None => Err(refusal.error),
    }
}

async fn admit(app: &AppState, request: &mut Request) -> Result<Response, Refusal> {
    if app.shutdown.is_cancelled() {
        return Err(RealtimeError::Draining.into());
    }
    let proofs = Proofs::of(request);
    let grant = caller(app, proofs).await?;
    let door = Door { realtime: app.realtime.clone(), tracker: app.tracker.clone(), verify: verifier(app) };
    Ok(ws::upgrade(request, grant, door).await?)
}

/// Why there is no connection: as an HTTP answer, and as the end of a socket where that says more.
struct Refusal {
    error: ApiError,
    closing: Option<Closing>,
}

impl From<ApiError> for Refusal {
    /// Of who calls: the ticket is wrong, or can't be looked up now.
    fn from(error: ApiError) -> Self {
        let (code, retry_ms) = match error.status() {
            StatusCode::UNAUTHORIZED => (CloseCode::Token, None),
            _ => (CloseCode::Internal, Some(come_back_ms())),
        };
        Self { error, closing: Some(Closing { code, retry_ms, limit: None }) }
    }
}

impl From<RealtimeError> for Refusal {
    fn from(error: RealtimeError) -> Self {
        Refused::from(error).into()
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let error = ApiError::from(refused.clone());
        let limit = setting(refused.limit);
        let (code, retry_ms) = match (refused.code, limit) {
            ("limit_exceeded", Some("connections_per_user")) => (CloseCode::ConnectionLimit, None),
            ("limit_exceeded", _) => (CloseCode::ConnectionLimit, Some(come_back_ms())),
            ("draining", _) => (CloseCode::Draining, Some(come_back_ms())),
            ("realtime_unavailable", _) => (CloseCode::Internal, Some(come_back_ms())),
            _ => return Self { error, closing: None },
        };
        Self { error, closing: Some(Closing { code, retry_ms, limit }) }
    }
}

/// Not all at once, whoever was refused at once.
fn come_back_ms() -> u64 {
    rand::random_range(1_000..10_000)
}

/// The setting's name is the one an operator can raise.
fn setting(limit: Option<&'static str>) -> Option<&'static str> {
    limit.map(|limit| if limit == "sockets" { "max_sockets" } else { limit })
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let mut error = Self::new(refused.status, refused.code, refused.detail);
        if let Some(limit) = setting(refused.limit) {
            error = error.with("limit", limit);
        }
        match refused.retry_after {
            Some(after) => error.retry_after(after),
            None => error,
        }
    }
}
