//! `GET /api/health` (is the process alive) and `GET /api/ready` (should it get traffic).
//!
//! Both read what others have published and do no I/O, so they can't hang on what they report. Easy to get wrong: an
//! actor that restarts is not a reason to take the server out of traffic, a stuck or dead thread is; and both are asked
//! without a token, so names, addresses and causes are for callers who showed one.
use crate::actors::hub::{Mode, RealtimeHealth};
use crate::actors::janitor::UploadsState;
use crate::cluster::Link;
use crate::db::store::Status;
use crate::http::state::AppState;
use crate::protocol::principal::Grant;
use crate::runtime::Health;
use axum::{
    Json,
    extract::{Extension, State},
    response::IntoResponse,
};
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
    /// Why it is not `ready`, in a few words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Each part, with names, figures and causes: for callers who have proven who they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    checks: Option<Checks>,
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
    /// `ready`; `refuses_writes` while reads work and no write does; else what keeps it from serving.
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

pub(in crate::http) async fn ready(State(app): State<AppState>, proven: Option<Extension<Grant>>) -> impl IntoResponse {
    let runtime = app.runtime.health();
    let store = app.store.status().borrow().clone();
    let refuses_writes = app.store.refuses_writes();
    let realtime = app.realtime.health();
    let uploads = uploads_check(&app.uploads.borrow());
    let held = uploads.reason.is_some();
    let draining = app.shutdown.is_cancelled();
    let (status, reason) = verdict(draining, &runtime, &store, refuses_writes.is_some(), held, &realtime);
    let code = if matches!(status, "ready" | "degraded") { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let checks = proven.map(|_| Checks {
        store: store_check(&store, refuses_writes),
        actors: actors(&runtime),
        realtime: realtime_check(&realtime),
        relay: relay_check(&realtime.link),
        uploads,
    });
    (code, Json(Readiness { status, reason, checks }))
}

/// The status, and what everybody may know of its cause: no name, address or system's error.
fn verdict(
    draining: bool,
    runtime: &Health,
    store: &Status,
    refuses_writes: bool,
    uploads_held: bool,
    realtime: &RealtimeHealth,
) -> (&'static str, Option<String>) {
    let (status, reason) = if draining {
        ("draining", "the server is shutting down")
    } else if !runtime.thread_alive {
        ("unavailable", "the actor thread has ended")
    } else if runtime.stalled.is_some() {
        ("unavailable", "the actor thread is stalled")
    } else if !store.is_ready() {
        return ("unavailable", Some(format!("the store is {}", store_word(store).replace('_', " "))));
    } else if !runtime.ok() {
        ("degraded", "an actor is restarting or has failed")
    } else if refuses_writes {
        ("degraded", "the store refuses writes")
    } else if uploads_held {
        ("degraded", "uploads are not swept")
    } else if !realtime.link.is_up() {
        ("degraded", "the other replicas cannot be heard")
    } else if !realtime.ok() {
        ("degraded", "live updates are restarting")
    } else {
        return ("ready", None);
    };
    (status, Some(reason.to_owned()))
}

fn store_word(status: &Status) -> &'static str {
    match status {
        Status::Connecting => "connecting",
        Status::Migrating => "migrating",
        Status::Ready => "ready",
        Status::Down { .. } => "down",
        Status::Mismatched { .. } => "schema_mismatch",
        Status::MigrationFailed { .. } => "migration_failed",
        Status::Stopped => "stopped",
    }
}

fn store_check(status: &Status, refuses_writes: Option<String>) -> StoreCheck {
    if let (Status::Ready, Some(reason)) = (status, refuses_writes) {
        return StoreCheck { state: "refuses_writes", reason: Some(reason) };
    }
    StoreCheck { state: store_word(status), reason: status.reason().map(|reason| reason.to_string()) }
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
        (Some(state), _) => state.code(),
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
        state: actor.state.code(),
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
