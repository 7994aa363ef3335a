//! `GET /api/health` (is the process alive) and `GET /api/ready` (should it get traffic).
//!
//! Both read what others have published and do no I/O, so they can't hang on what they report. Easy to get wrong: an
//! actor that restarts is not a reason to take the server out of traffic; a stuck or dead thread is.
use crate::{
    actors::{
        janitor::UploadsState,
        realtime::{Mode, RealtimeHealth},
    },
    cluster::Link,
    db::store::Status,
    http::state::AppState,
    runtime::{Health, State as ActorState},
};
use axum::{Json, extract::State, response::IntoResponse};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

/// The process answers.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Alive {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
}

/// What the process can do now.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Readiness {
    /// `ready`, `degraded`, `unavailable` or `draining`.
    status: &'static str,
    checks: Checks,
}

#[derive(Serialize, JsonSchema)]
struct Checks {
    store: StoreCheck,
    actors: ActorsCheck,
    realtime: RealtimeCheck,
    relay: RelayCheck,
    uploads: UploadsCheck,
}

/// The folder of uploads.
#[derive(Serialize, JsonSchema)]
struct UploadsCheck {
    /// `unchecked` (nobody has looked since the start), `swept` or `held` (nothing is removed).
    state: &'static str,
    /// Why nothing is removed, and what to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// What crosses to the other replicas.
#[derive(Serialize, JsonSchema)]
struct RelayCheck {
    /// `local` (this process is the only one), `up` or `down`.
    state: &'static str,
    /// Why, when it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct StoreCheck {
    state: &'static str,
    /// Why, when it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct RealtimeCheck {
    state: &'static str,
    /// The setting `realtime`.
    mode: String,
    connections: usize,
    /// Bytes that wait for slow clients.
    queued_bytes: usize,
}

/// The actor thread.
#[derive(Serialize, JsonSchema)]
struct ActorsCheck {
    state: &'static str,
    thread_alive: bool,
    /// The handler that does not come back.
    stalled: Option<StallCheck>,
    /// The actor that has used up its restarts.
    failed: Option<FailedCheck>,
    leaked_threads: usize,
    actors: Vec<ActorCheck>,
}

#[derive(Serialize, JsonSchema)]
struct FailedCheck {
    name: String,
    cause: String,
}

#[derive(Serialize, JsonSchema)]
struct StallCheck {
    actor: String,
    message: &'static str,
    for_ms: u64,
}

#[derive(Serialize, JsonSchema)]
struct ActorCheck {
    name: String,
    state: &'static str,
    mailbox_depth: usize,
    restarts: u64,
}

pub(in crate::http) async fn health(State(app): State<AppState>) -> Json<Alive> {
    let uptime_seconds = app.started.elapsed().as_secs();
    Json(Alive { status: "ok", version: env!("CARGO_PKG_VERSION"), uptime_seconds })
}

pub(in crate::http) async fn ready(State(app): State<AppState>) -> impl IntoResponse {
    let runtime = app.runtime.health();
    let store = app.store.status().borrow().clone();
    let realtime = app.realtime.health();
    let uploads = uploads_check(&app.uploads.borrow());
    let thread_ok = runtime.thread_alive && runtime.stalled.is_none();
    let status = if app.shutdown.is_cancelled() {
        "draining"
    } else if !thread_ok || !store.is_ready() {
        "unavailable"
    } else if !runtime.ok() || !realtime.ok() || uploads.reason.is_some() {
        "degraded"
    } else {
        "ready"
    };
    let code = if matches!(status, "ready" | "degraded") { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = Checks {
        store: store_check(&store),
        actors: actors(&runtime),
        realtime: realtime_check(&realtime),
        relay: relay_check(&realtime.link),
        uploads,
    };
    (code, Json(Readiness { status, checks }))
}

fn store_check(status: &Status) -> StoreCheck {
    let state = match status {
        Status::Connecting => "connecting",
        Status::Migrating => "migrating",
        Status::Ready => "ready",
        Status::Down { .. } => "down",
        Status::MigrationFailed { .. } => "migration_failed",
        Status::Stopped => "stopped",
    };
    StoreCheck { state, reason: status.reason().map(|reason| reason.to_string()) }
}

fn uploads_check(state: &UploadsState) -> UploadsCheck {
    match state {
        UploadsState::Unchecked => UploadsCheck { state: "unchecked", reason: None },
        UploadsState::Swept => UploadsCheck { state: "swept", reason: None },
        UploadsState::Held { reason } => UploadsCheck { state: "held", reason: Some(reason.clone()) },
    }
}

fn relay_check(link: &Link) -> RelayCheck {
    match link {
        Link::Local => RelayCheck { state: "local", reason: None },
        Link::Up => RelayCheck { state: "up", reason: None },
        Link::Down { reason } => RelayCheck { state: "down", reason: Some(reason.clone()) },
    }
}

fn realtime_check(health: &RealtimeHealth) -> RealtimeCheck {
    let state = match (&health.hub, health.mode) {
        _ if health.draining => "draining",
        (Some(state), _) => state_word(state),
        (None, Mode::On) => "starting",
        (None, Mode::Lazy) => "not_started",
        (None, Mode::Off) => "off",
    };
    RealtimeCheck {
        state,
        mode: health.mode.to_string(),
        connections: health.connections,
        queued_bytes: health.queued_bytes,
    }
}

fn actors(health: &Health) -> ActorsCheck {
    let state = if !health.thread_alive {
        "thread_dead"
    } else if health.stalled.is_some() {
        "stalled"
    } else if health.ok() {
        "ready"
    } else {
        "degraded"
    };
    let stalled = health.stalled.as_ref().map(|stall| StallCheck {
        actor: stall.actor.to_string(),
        message: stall.message,
        for_ms: stall.for_.as_millis() as u64,
    });
    let actors = health.actors.iter().map(|actor| ActorCheck {
        name: actor.name.to_string(),
        state: state_word(&actor.state),
        mailbox_depth: actor.mailbox_depth,
        restarts: actor.restarts,
    });
    ActorsCheck {
        state,
        thread_alive: health.thread_alive,
        stalled,
        failed: health.failed.as_ref().map(|f| FailedCheck { name: f.name.to_string(), cause: f.cause.to_string() }),
        leaked_threads: health.leaked_threads,
        actors: actors.collect(),
    }
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
