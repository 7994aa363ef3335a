//! `GET /openapi.json` and `GET /asyncapi.json`: the contracts of this very process, its limits included.
//!
//! Leaves making them to `http::openapi` and `protocol::asyncapi`. Easy to get wrong: they are made once, when they are
//! first asked for, so nothing of one caller may get into them.
use crate::{
    actors::rooms,
    http::{contract::Operation, openapi, state::AppState},
    protocol::asyncapi::{self, Limit},
};
use axum::{
    Extension,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use serde_json::Value;
use std::sync::{Arc, OnceLock};

/// The documents, made when first asked for.
#[derive(Default)]
pub(in crate::http) struct Specs {
    operations: Vec<Operation>,
    openapi: OnceLock<Bytes>,
    asyncapi: OnceLock<Bytes>,
}

impl Specs {
    pub(in crate::http) fn new(operations: Vec<Operation>) -> Self {
        Self { operations, ..Self::default() }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(in crate::http) async fn openapi(State(app): State<AppState>, Extension(specs): Extension<Arc<Specs>>) -> Response {
    let token = app.auth.token_required();
    json(specs.openapi.get_or_init(|| text(&openapi::document(VERSION, &specs.operations, token))))
}

pub(in crate::http) async fn asyncapi(
    State(app): State<AppState>,
    Extension(specs): Extension<Arc<Specs>>,
) -> Response {
    let limits = || realtime_limits(app.realtime.limits());
    json(specs.asyncapi.get_or_init(|| text(&asyncapi::document(VERSION, &limits()))))
}

fn text(document: &Value) -> Bytes {
    document.to_string().into()
}

fn json(bytes: &Bytes) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes.clone()).into_response()
}

fn realtime_limits(limits: &rooms::Limits) -> Vec<Limit> {
    let limit = |name, value, text| Limit { name, value, text };
    let ms = |duration: std::time::Duration| duration.as_millis() as u64;
    vec![
        limit("max_sockets", limits.sockets as u64, "open WebSockets and event streams; past it 503"),
        limit("rooms_per_connection", limits.rooms_per_connection as u64, "joined projects; past it LIMIT_EXCEEDED"),
        limit("max_message_rate", limits.inbound_rate.into(), "messages a second; past it RATE_LIMITED, 0 is no limit"),
        limit("max_message_burst", limits.inbound_burst.into(), "messages at once; past it RATE_LIMITED"),
        limit("inbound_bytes", limits.inbound_bytes as u64, "bytes of one message; past it close 4413"),
        limit("unauthenticated_bytes", limits.unauthenticated_bytes as u64, "the same before `Auth`"),
        limit("queue_bytes", limits.queue_bytes as u64, "bytes that wait for one connection; then ResyncRequired"),
        limit("queue_frames", limits.queue_frames as u64, "frames that wait for one connection; then ResyncRequired"),
        limit("queue_budget", limits.queue_budget as u64, "bytes that wait in the whole process"),
        limit("connections_per_user", limits.connections_per_user as u64, "of one user; past it 503, or close 4409"),
        limit("pending_requests", limits.pending_requests.into(), "unanswered requests; past it LIMIT_EXCEEDED"),
        limit("auth_warning_ms", ms(limits.auth_warning), "`AuthExpiring` comes this long before the token lapses"),
        limit("auth_grace_ms", ms(limits.auth_grace), "time for a newer token after it lapsed; past it close 4401"),
        limit("auth_within_ms", ms(limits.auth_within), "time for `Auth`; past it close 4408"),
        limit("ping_every_ms", ms(limits.ping_every), "time between the server's pings"),
        limit("pong_within_ms", ms(limits.pong_within), "silence after an unanswered ping; past it close 4504"),
        limit("slow_no_progress_ms", ms(limits.no_progress), "nothing could be written; past it close 4508"),
        limit("slow_full_for_ms", ms(limits.full_for), "the queue stayed full; past it close 4508"),
        limit("claim_ttl_ms", ms(limits.claim_ttl), "how long a claim lasts unless renewed"),
        limit("claims_per_project", limits.claims_per_project as u64, "claims at once; past it LIMIT_EXCEEDED"),
    ]
}
