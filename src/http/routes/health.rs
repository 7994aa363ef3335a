//! `GET /api/health` (is the process alive) and `GET /api/ready` (should it get traffic).
//!
//! Both read what others have published and do no I/O, so they can't hang on what they report. Easy to get wrong: an
//! actor that restarts is not a reason to take the server out of traffic; a stuck or dead thread is.
use crate::{
    actors::realtime::{Mode, RealtimeHealth},
    db::store::Status,
    http::state::AppState,
    runtime::{Health, State as ActorState},
};
use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use serde_json::{Value, json};

pub(in crate::http) async fn health(State(app): State<AppState>) -> Json<Value> {
    Json(json!({
        "status": "ok",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_seconds": app.started.elapsed().as_secs(),
    }))
}

pub(in crate::http) async fn ready(State(app): State<AppState>) -> impl IntoResponse {
    let runtime = app.runtime.health();
    let store = app.store.status().borrow().clone();
    let realtime = app.realtime.health();
    let thread_ok = runtime.thread_alive && runtime.stalled.is_none();
    let status = if app.shutdown.is_cancelled() {
        "draining"
    } else if !thread_ok || !store.is_ready() {
        "unavailable"
    } else if !runtime.ok() || !realtime.ok() {
        "degraded"
    } else {
        "ready"
    };
    let code = if matches!(status, "ready" | "degraded") { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = json!({
        "store": store_check(&store),
        "actors": actors(&runtime),
        "realtime": realtime_check(&realtime),
    });
    let body = json!({ "status": status, "checks": checks });
    (code, Json(body))
}

fn store_check(status: &Status) -> Value {
    let state = match status {
        Status::Connecting => "connecting",
        Status::Migrating => "migrating",
        Status::Ready => "ready",
        Status::Down { .. } => "down",
        Status::MigrationFailed { .. } => "migration_failed",
        Status::Stopped => "stopped",
    };
    match status.reason() {
        None => json!({ "state": state }),
        Some(reason) => json!({ "state": state, "reason": reason }),
    }
}

fn realtime_check(health: &RealtimeHealth) -> Value {
    let state = match (&health.hub, health.mode) {
        _ if health.draining => "draining",
        (Some(state), _) => state_word(state),
        (None, Mode::On) => "starting",
        (None, Mode::Lazy) => "not_started",
        (None, Mode::Off) => "off",
    };
    json!({
        "state": state,
        "mode": health.mode.to_string(),
        "connections": health.connections,
        "queued_bytes": health.queued_bytes,
    })
}

fn actors(health: &Health) -> Value {
    let state = if !health.thread_alive {
        "thread_dead"
    } else if health.stalled.is_some() {
        "stalled"
    } else if health.ok() {
        "ready"
    } else {
        "degraded"
    };
    let stalled = health.stalled.as_ref().map(|stall| {
        json!({
            "actor": &*stall.actor,
            "message": stall.message,
            "for_ms": stall.for_.as_millis() as u64,
        })
    });
    let actors: Vec<Value> = health
        .actors
        .iter()
        .map(|actor| {
            json!({
                "name": &*actor.name,
                "state": state_word(&actor.state),
                "mailbox_depth": actor.mailbox_depth,
                "restarts": actor.restarts,
            })
        })
        .collect();
    json!({
        "state": state,
        "thread_alive": health.thread_alive,
        "stalled": stalled,
        "failed": health.failed.as_ref().map(|f| json!({ "name": &*f.name, "cause": &*f.cause })),
        "leaked_threads": health.leaked_threads,
        "actors": actors,
    })
}

fn state_word(state: &ActorState) -> &'static str {
    match state {
        ActorState::Starting => "starting",
        ActorState::Running => "running",
        ActorState::Restarting { .. } => "restarting",
        ActorState::Stalled { .. } => "stalled",
        ActorState::Stopping => "stopping",
        ActorState::Stopped { .. } => "stopped",
    }
}
