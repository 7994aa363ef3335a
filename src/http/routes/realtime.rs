//! `/api/realtime`: what belongs to live connections and is asked over plain HTTP.
//!
//! Leaves the connections to `ws` and the hub. Easy to get wrong: a ticket is the only secret that may stand in a URL,
//! because it is used up by being looked at.
use crate::http::auth::{Caller, no_token};
use crate::http::error::{ApiError, ApiResult};
use crate::http::extract::JsonBody;
use crate::http::live::elsewhere;
use crate::http::live::elsewhere::Unknown;
use crate::http::live::sse::NoStream;
use crate::http::live::tickets::{Issued, TooMany};
use crate::http::live::ws::Verify;
use crate::http::state::AppState;
use crate::protocol::names::Text;
use crate::protocol::principal::{Action, Grant, Resource, authorise};
use axum::{
    Json,
    extract::{Extension, Request, State},
};
use http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// Opens one live connection as the caller.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Ticket {
    /// For `?ticket=` of `/ws` or `/events`.
    ticket: String,
    /// When it lapses unless used, Unix milliseconds.
    expires_at_ms: i64,
}

pub(in crate::http) async fn ticket(
    State(app): State<AppState>,
    grant: Option<Extension<Grant>>,
) -> ApiResult<Json<Ticket>> {
    let Extension(grant) = grant.ok_or_else(no_token)?;
    authorise(&grant.principal, Action::Read, Resource::Server)?;
    let Issued { ticket, expires_at_ms } = app.tickets.issue(grant)?;
    Ok(Json(Ticket { ticket, expires_at_ms }))
}

/// A message of an event stream's client.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Sent {
    /// `conn` of the stream's first event.
    conn: Text<32>,
    /// `key` of the stream's first event.
    key: Text<256>,
    /// Any frame that a WebSocket takes.
    message: Box<RawValue>,
}

pub(in crate::http) async fn send(
    State(app): State<AppState>,
    Caller(caller): Caller,
    JsonBody(sent): JsonBody<Sent>,
) -> ApiResult<StatusCode> {
    // What the message may do is the dialogue's to say, by the stream's own proof.
    let stream = (&*sent.conn, &*sent.key);
    let said = elsewhere::say(&app.streams, &app.realtime, stream, &caller.user_id, sent.message.get()).await;
    let said = said.map_err(|Unknown| {
        ApiError::unavailable("not all replicas could be asked whose event stream this is, and one may have taken it")
    })?;
    match said {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(NoStream::Unknown) => {
            Err(ApiError::not_found("there is no event stream of yours with this conn and key").code("no_such_stream"))
        }
        Err(NoStream::TooLong(most)) => {
            let detail = format!("a message has at most {most} bytes");
            Err(ApiError::limit(StatusCode::PAYLOAD_TOO_LARGE, "inbound_bytes", detail))
        }
    }
}

/// The server's answer to the token of an `Auth` message.
pub(super) fn verifier(app: &AppState) -> Verify {
    let auth = app.auth.clone();
    Arc::new(move |token: &str| auth.verify(token))
}

/// What a request that opens a connection says of who calls.
pub(super) struct Proofs {
    by_header: Option<Grant>,
    ticket: Option<String>,
}

impl Proofs {
    pub(super) fn of(request: &Request) -> Self {
        let ticket = query_pairs(request.uri().query()).find(|(name, _)| *name == "ticket");
        let ticket = ticket.map(|(_, ticket)| ticket.to_owned());
        Self { by_header: request.extensions().get::<Grant>().cloned(), ticket }
    }
}

/// Who opens a connection: by the `ticket` of the query string, else by the header. None when neither is there.
pub(super) async fn caller(app: &AppState, proofs: Proofs) -> ApiResult<Option<Grant>> {
    let Proofs { by_header, ticket } = proofs;
    let Some(ticket) = ticket else { return Ok(by_header) };
    let bad = |detail: &str| ApiError::unauthorized(detail).code("bad_ticket");
    let redeemed = elsewhere::redeem(&app.tickets, &app.realtime, &ticket).await.map_err(|Unknown| {
        ApiError::unavailable("not all replicas could be asked who gave out this ticket: ask for a new one")
    })?;
    let Some(by_ticket) = redeemed else {
        return Err(bad("this ticket was used already, has lapsed, or was never given out"));
    };
    match by_header {
        Some(header) if app.auth.token_required() && header.principal.user_id != by_ticket.principal.user_id => {
            Err(bad("the ticket and the Authorization header are those of different users"))
        }
        _ => Ok(Some(by_ticket)),
    }
}

/// Names and values of a query string, as they stand there; tickets need no escapes.
pub(super) fn query_pairs(query: Option<&str>) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

impl From<TooMany> for ApiError {
    fn from(error: TooMany) -> Self {
        match error {
            TooMany::InAll(most) => {
                let text = format!("{most} tickets are open already");
                Self::limit(StatusCode::SERVICE_UNAVAILABLE, "max_tickets", text)
            }
            TooMany::OfUser(most) => {
                let text = format!("{most} tickets of yours are open already: use them, or wait until they lapse");
                Self::limit(StatusCode::TOO_MANY_REQUESTS, "tickets_per_user", text)
            }
        }
    }
}
