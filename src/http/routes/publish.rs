//! `POST /api/realtime/publish`: the server API, for back ends that speak to the rooms.
//!
//! Leaves storing to `db::publications` and delivery to the hub. Easy to get wrong: a caller that heard no answer asks
//! again; with an `Idempotency-Key` it gets the first answer and the room hears it once.
use crate::{
    db::publications::{self, Once, Published, Receipt},
    http::{
        auth::Caller,
        contract::Header,
        error::{ApiError, ApiResult},
        extract::JsonBody,
        state::AppState,
    },
    protocol::{
        Trace,
        ids::ProjectId,
        json::{self, MAX_DEPTH, Object},
        names::{Name, Text},
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
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::fmt;

/// Longest key, in characters of ASCII.
const MAX_KEY_CHARS: usize = 255;
/// Longest text of a notification, in characters.
const MAX_MESSAGE_CHARS: usize = 4_096;

/// One message, as it stands in a frame.
#[derive(Serialize, JsonSchema)]
pub(in crate::http) enum Publication {
    Notification(NotificationBody),
    DataUpdate(DataUpdateBody),
    Collaboration(CollaborationBody),
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NotificationBody {
    project_id: ProjectId,
    level: Level,
    message: Text<MAX_MESSAGE_CHARS>,
}

/// How much a notification matters.
#[derive(Clone, Copy, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Level {
    Info,
    Warning,
    Error,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct DataUpdateBody {
    project_id: ProjectId,
    entity: Name,
    entity_id: Name,
    action: Name,
    /// Stored and sent as it was written.
    #[serde(default, deserialize_with = "json::even_null", skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct CollaborationBody {
    project_id: ProjectId,
    action: Name,
    #[serde(default)]
    entity_id: Option<Name>,
    /// Sent as it was written.
    #[serde(default, deserialize_with = "json::even_null", skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
}

impl<'de> Deserialize<'de> for Publication {
    /// One message and nothing beside it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneMessage;
        impl<'de> Visitor<'de> for OneMessage {
            type Value = Publication;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one message: Notification, DataUpdate or Collaboration")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let Some(name) = map.next_key::<String>()? else {
                    return Err(A::Error::invalid_length(0, &self));
                };
                let publication = match name.as_str() {
                    "Notification" => Publication::Notification(map.next_value::<Object<_>>()?.0),
                    "DataUpdate" => Publication::DataUpdate(map.next_value::<Object<_>>()?.0),
                    "Collaboration" => Publication::Collaboration(map.next_value::<Object<_>>()?.0),
                    _ => {
                        return Err(A::Error::unknown_variant(&name, &["Notification", "DataUpdate", "Collaboration"]));
                    }
                };
                match map.next_key::<String>()? {
                    None => Ok(publication),
                    Some(second) => {
                        let detail = format!("one message a request: this one has {name:?} and {second:?}");
                        Err(A::Error::custom(detail))
                    }
                }
            }
        }
        deserializer.deserialize_map(OneMessage)
    }
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
pub(in crate::http) const HEADERS: &[Header] = &[
    Header {
        name: "Idempotency-Key",
        text: "asked again with it within 24 h, the answer is the first one",
        most_chars: Some(MAX_KEY_CHARS),
        pattern: Some("^[!-~]([ -~]*[!-~])?$"),
    },
    Header {
        name: "traceparent",
        text: "W3C trace context; goes on as `tr` of an ephemeral message, ignored when it is none",
        most_chars: None,
        pattern: None,
    },
];

pub(in crate::http) async fn publish(
    State(app): State<AppState>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(publication): JsonBody<Publication>,
) -> ApiResult<Response> {
    let project = publication.project();
    authorise(&caller, Action::Manage, Resource::Project(project))?;
    publication.check()?;
    let most = app.realtime.limits().inbound_bytes;
    let text = serde_json::value::to_raw_value(&publication).map_err(|error| ApiError::internal(error.to_string()))?;
    if text.get().len() > most {
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

fn once(headers: &HeaderMap, caller: &Principal, request: &RawValue) -> ApiResult<Option<Once>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=MAX_KEY_CHARS).contains(&key.len()));
    let key = key.ok_or_else(|| {
        ApiError::bad_request(format!("Idempotency-Key must have 1 to {MAX_KEY_CHARS} visible characters"))
    })?;
    // A client that asks again may print the same JSON otherwise.
    let request_hash = Sha256::digest(json::canonical(request)).iter().map(|byte| format!("{byte:02x}")).collect();
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

    /// What the types don't say.
    fn check(&self) -> ApiResult<()> {
        let (name, data) = match self {
            Self::Notification(_) => return Ok(()),
            Self::DataUpdate(body) => ("DataUpdate", &body.data),
            Self::Collaboration(body) => {
                if matches!(&*body.action, "claim" | "release" | "claimed" | "released") {
                    return Err(ApiError::invalid("Collaboration.action: claims go to /api/v1/projects/{id}/claims"));
                }
                ("Collaboration", &body.data)
            }
        };
        if data.as_ref().is_some_and(|data| json::depth(data.get()) > MAX_DEPTH) {
            return Err(ApiError::invalid(format!("{name}.data: nests deeper than {MAX_DEPTH} levels")));
        }
        Ok(())
    }

    /// The event to store; none for what is ephemeral.
    fn durable(&self) -> Option<String> {
        match self {
            Self::Notification(NotificationBody { project_id, level, message }) => {
                let level = match level {
                    Level::Info => "info",
                    Level::Warning => "warning",
                    Level::Error => "error",
                };
                Some(Notification { project_id: *project_id, level, message }.body())
            }
            Self::DataUpdate(DataUpdateBody { project_id, entity, entity_id, action, data }) => {
                let (project_id, entity_id) = (*project_id, entity_id.to_string());
                Some(DataUpdate { project_id, entity, entity_id, action, data: data.as_deref(), url: None }.body())
            }
            Self::Collaboration(_) => None,
        }
    }

    fn announce(&self, realtime: &crate::actors::hub::Realtime, caller: &Principal, trace: Option<Trace>) {
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
