//! `POST /api/realtime/publish`: the server API, for back ends that speak to the rooms.
//!
//! Leaves storing to `db::publications` and delivery to the hub. Easy to get wrong: a caller that heard no answer asks
//! again; with an `Idempotency-Key` it gets the first answer and the room hears it once.
use crate::{
    db::publications::{self, Once, Published, Receipt},
    http::{
        error::{ApiError, ApiResult},
        extract::JsonBody,
        state::AppState,
    },
    protocol::{
        Trace,
        client::MAX_NAME_BYTES,
        ids::ProjectId,
        principal::{Action, Principal, Resource, authorise},
        server::{Collaboration, DataUpdate, Notification},
    },
};
use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

/// Longest key, in bytes.
const MAX_KEY_BYTES: usize = 255;
/// Longest text of a notification, in bytes.
const MAX_MESSAGE_BYTES: usize = 4_096;

/// One message, as it stands in a frame.
#[derive(Deserialize, Serialize, JsonSchema)]
pub(in crate::http) enum Publication {
    Notification(NotificationBody),
    DataUpdate(DataUpdateBody),
    Collaboration(CollaborationBody),
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NotificationBody {
    project_id: ProjectId,
    level: String,
    message: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DataUpdateBody {
    project_id: ProjectId,
    entity: String,
    entity_id: String,
    action: String,
    #[serde(default)]
    data: Option<Value>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CollaborationBody {
    project_id: ProjectId,
    action: String,
    #[serde(default)]
    entity_id: Option<String>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
}

/// The message is with the room.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) struct Sent {
    /// Epoch of the project's history; of a durable message.
    #[serde(skip_serializing_if = "Option::is_none")]
    ep: Option<String>,
    /// Its offset there; of a durable message.
    #[serde(skip_serializing_if = "Option::is_none")]
    off: Option<u64>,
    /// Server time, Unix milliseconds.
    ts: i64,
}

/// Headers that count.
pub(in crate::http) const HEADERS: &[(&str, &str)] = &[
    ("Idempotency-Key", "1 to 255 characters; asked again with it within 24 h, the answer is the first one"),
    ("traceparent", "W3C trace context; goes on as `tr` of an ephemeral message"),
];

pub(in crate::http) async fn publish(
    State(app): State<AppState>,
    caller: Principal,
    headers: HeaderMap,
    JsonBody(publication): JsonBody<Publication>,
) -> ApiResult<Response> {
    let project = publication.project();
    authorise(&caller, Action::Manage, Resource::Project(project))?;
    publication.check()?;
    let most = app.realtime.limits().inbound_bytes;
    let text = serde_json::to_string(&publication).map_err(|error| ApiError::internal(error.to_string()))?;
    if text.len() > most {
        let detail = format!("a published message has at most {most} bytes");
        return Err(ApiError::limit(StatusCode::PAYLOAD_TOO_LARGE, "inbound_bytes", detail));
    }
    let once = once(&headers, &caller, &text)?;
    let trace = headers.get("traceparent").and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let (store, realtime) = (app.store.clone(), app.realtime.clone());
    // Commit and publication are one task, which outlives a caller that goes away.
    let task = app.tracker.spawn(async move {
        let published = publications::publish(&store, project, publication.durable(), once).await?;
        if let Published::Now(_, event) = &published {
            match event {
                Some(event) => realtime.publish(event.clone()),
                None => publication.announce(&realtime, &caller, trace),
            }
        }
        Ok::<_, ApiError>(published)
    });
    match task.await {
        Ok(published) => answer(published?),
        Err(lost) => Err(ApiError::internal(format!("the task of a publication was lost: {lost}"))),
    }
}

fn answer(published: Published) -> ApiResult<Response> {
    let (receipt, replayed) = match published {
        Published::Now(receipt, _) => (receipt, false),
        Published::Before(receipt) => (receipt, true),
        Published::KeyReused => {
            let detail = "this Idempotency-Key was used for another request";
            return Err(ApiError::invalid(detail).code("idempotency_key_reused"));
        }
    };
    let Receipt { position, ts_ms } = receipt;
    let (ep, off) = position.map(|position| (position.ep, position.off)).unzip();
    let mut response = Json(Sent { ep, off, ts: ts_ms }).into_response();
    if replayed {
        let name = HeaderName::from_static("idempotency-replayed");
        response.headers_mut().insert(name, HeaderValue::from_static("true"));
    }
    Ok(response)
}

fn once(headers: &HeaderMap, caller: &Principal, request: &str) -> ApiResult<Option<Once>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    let key = key.ok_or_else(|| {
        ApiError::bad_request(format!("Idempotency-Key must have 1 to {MAX_KEY_BYTES} visible characters"))
    })?;
    let request_hash = Sha256::digest(request.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Once { user_id: caller.user_id.clone(), key: key.to_owned(), request_hash }))
}

impl Publication {
    fn project(&self) -> ProjectId {
        match self {
            Self::Notification(body) => body.project_id,
            Self::DataUpdate(body) => body.project_id,
            Self::Collaboration(body) => body.project_id,
        }
    }

    fn check(&self) -> ApiResult<()> {
        let named = |field: &str, text: &str, most: usize| match text.len() {
            1.. if text.len() <= most => Ok(()),
            _ => Err(ApiError::invalid(format!("{field}: must have 1 to {most} bytes"))),
        };
        match self {
            Self::Notification(body) => {
                if !matches!(body.level.as_str(), "info" | "warning" | "error") {
                    return Err(ApiError::invalid("Notification.level: must be info, warning or error"));
                }
                named("Notification.message", &body.message, MAX_MESSAGE_BYTES)
            }
            Self::DataUpdate(body) => {
                named("DataUpdate.entity", &body.entity, MAX_NAME_BYTES)?;
                named("DataUpdate.entity_id", &body.entity_id, MAX_NAME_BYTES)?;
                named("DataUpdate.action", &body.action, MAX_NAME_BYTES)
            }
            Self::Collaboration(body) => {
                if matches!(body.action.as_str(), "claim" | "release" | "claimed" | "released") {
                    return Err(ApiError::invalid("Collaboration.action: claims go to /api/v1/projects/{id}/claims"));
                }
                named("Collaboration.action", &body.action, MAX_NAME_BYTES)?;
                body.entity_id.as_ref().map_or(Ok(()), |id| named("Collaboration.entity_id", id, MAX_NAME_BYTES))
            }
        }
    }

    /// The event to store; none for what is ephemeral.
    fn durable(&self) -> Option<String> {
        match self {
            Self::Notification(NotificationBody { project_id, level, message }) => {
                Some(Notification { project_id: *project_id, level, message }.body())
            }
            Self::DataUpdate(DataUpdateBody { project_id, entity, entity_id, action, data }) => {
                let entity_id = entity_id.clone();
                Some(
                    DataUpdate { project_id: *project_id, entity, entity_id, action, data: data.as_ref(), url: None }
                        .body(),
                )
            }
            Self::Collaboration(_) => None,
        }
    }

    fn announce(&self, realtime: &crate::actors::realtime::Realtime, caller: &Principal, trace: Option<Trace>) {
        if let Self::Collaboration(body) = self {
            let message = Collaboration {
                project_id: body.project_id,
                action: &body.action,
                entity_id: body.entity_id.as_deref(),
                user_id: &caller.user_id,
                expires_at_ms: None,
                fence: None,
                data: body.data.as_deref(),
            };
            realtime.announce(message, trace);
        }
    }
}
