//! `GET /events`: live updates as server-sent events, for clients and networks that have no WebSocket.
//!
//! Leaves the stream to `http::sse`. Easy to get wrong: a browser reconnects by itself with the URL it had and the header
//! `Last-Event-ID`, so the header is newer than `last_event_id` in the URL, and a ticket in it is used up.
use super::realtime::{Proofs, caller, query_pairs, verifier};
use crate::http::auth::no_token;
use crate::http::connection::streams::Cut;
use crate::http::contract::Header;
use crate::http::error::{ApiError, ApiResult};
use crate::http::live::sse;
use crate::http::live::sse::Opening;
use crate::http::state::AppState;
use crate::protocol::ids::ProjectId;
use crate::protocol::positions::Positions;
use crate::protocol::principal::{Action, Resource, authorise};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http::header;
use schemars::JsonSchema;

/// The query string, as [`Asked`] reads it.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the schema of a query string with a repeated name, which serde can't read")]
pub(in crate::http) struct EventsQuery {
    /// Projects to join at once; may be repeated.
    #[serde(default)]
    project: Vec<ProjectId>,
    /// `id` of the last event that was seen; the header wins over it.
    last_event_id: Option<String>,
    /// Who calls, where no header can say it.
    ticket: Option<String>,
}

/// Headers that count.
pub(in crate::http) const HEADERS: &[Header] = &[Header {
    name: "Last-Event-ID",
    text: "`id` of the last event that was seen; what follows it comes, once and in order",
    most_chars: None,
    pattern: None,
}];

pub(in crate::http) async fn open(State(app): State<AppState>, request: Request) -> ApiResult<Response> {
    if app.shutdown.is_cancelled() {
        return Err(ApiError::draining());
    }
    let asked = Asked::of(&request)?;
    let grant = caller(&app, Proofs::of(&request)).await?.ok_or_else(no_token)?;
    for project in &asked.projects {
        authorise(&grant.principal, Action::Read, Resource::Project(*project))?;
    }
    let most = app.realtime.limits().rooms_per_connection;
    if asked.projects.len() > most {
        let detail = format!("a connection may follow {most} projects");
        return Err(ApiError::invalid(detail).code("limit_exceeded").with("limit", "rooms_per_connection"));
    }
    // Until the stream is open, below.
    let _admission = app.realtime.admit().await.map_err(crate::http::live::ws::Refused::from)?;
    let seat = app.realtime.seat(&grant.principal).map_err(crate::http::live::ws::Refused::from)?;
    let opening = Opening {
        grant,
        seat,
        projects: asked.projects,
        positions: asked.positions,
        cut: request.extensions().get::<Cut>().cloned(),
        verify: verifier(&app),
    };
    let body = sse::open(opening, &app.realtime, &app.streams, &app.tracker);
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        // Proxies that gather an answer before they pass it on would turn events into batches.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// What the request asks for.
struct Asked {
    projects: Vec<ProjectId>,
    positions: Positions,
}

impl Asked {
    fn of(request: &Request) -> ApiResult<Self> {
        let mut projects = Vec::new();
        let mut last = None;
        for pair in query_pairs(request.uri().query()) {
            match pair {
                ("project", id) => {
                    let id = id.parse().map_err(|_| ApiError::not_found(format!("there is no project {id:?}")))?;
                    if !projects.contains(&id) {
                        projects.push(id);
                    }
                }
                // A comma may be escaped; nothing else in an id ever needs to be.
                ("last_event_id", id) => last = Some(id.replace("%2C", ",").replace("%2c", ",").replace("%7E", "~")),
                ("ticket", _) => {}
                (name, _) => return Err(ApiError::bad_request(format!("query string: unknown name {name:?}"))),
            }
        }
        if let Some(header) = request.headers().get("last-event-id") {
            last = Some(String::from_utf8_lossy(header.as_bytes()).into_owned());
        }
        // A browser gives up for good on a refusal; what can't be read is an unknown position.
        let positions = Positions::read(&last.unwrap_or_default());
        // What was joined after the stream was opened is followed again as well.
        for project in positions.0.keys() {
            if !projects.contains(project) {
                projects.push(*project);
            }
        }
        Ok(Self { projects, positions })
    }
}
