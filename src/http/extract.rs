//! Turns a request's path, query and body into typed values, once, at the edge; what does not fit becomes a problem.
//!
//! Leaves what the values mean to the handlers. Easy to get wrong: axum's own extractors answer in plain text; these
//! take their place.
use super::{
    error::{ApiError, ApiResult},
    state::AppState,
};
use crate::protocol::json::Object;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::{HeaderMap, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeOwned},
};
use std::{borrow::Cow, collections::HashMap, str::FromStr};

/// The id in the path, as its type. Text that is no id names nothing: 404.
pub(super) struct Id<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let text = segment(parts, state, "id").await?;
        text.parse().map(Self).map_err(|_| ApiError::not_found(format!("there is nothing with the id {text:?}")))
    }
}

/// `{entity_id}` of the path, whatever it is.
pub(super) struct EntityId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for EntityId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        segment(parts, state, "entity_id").await.map(Self)
    }
}

/// A named part of the path.
async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> ApiResult<String> {
    let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
    // Escapes that are not UTF-8: no such thing can have been made.
    let mut path = path.map_err(|error| ApiError::not_found(format!("there is no such path: {error}")))?.0;
    path.remove(name).ok_or_else(|| ApiError::internal(format!("the route has no {{{name}}}")))
}

/// A whole number of a query string or body within its bounds, which the published contract repeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Whole<const LEAST: u64, const MOST: u64>(pub u64);

impl<'de, const LEAST: u64, const MOST: u64> Deserialize<'de> for Whole<LEAST, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if !(LEAST..=MOST).contains(&number) {
            return Err(de::Error::custom(format!("{number} is not a number from {LEAST} to {MOST}")));
        }
        Ok(Self(number))
    }
}

impl<const LEAST: u64, const MOST: u64> JsonSchema for Whole<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("WholeFrom{LEAST}To{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST })
    }
}

/// The query string as a struct that refuses unknown names.
pub(super) struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        let query = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        query.map(|query| Self(query.0)).map_err(|error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            ApiError::bad_request(format!("query string: {cause}"))
        })
    }
}

/// The JSON body, at most `max_body_bytes` long.
pub(super) struct JsonBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &AppState) -> ApiResult<Self> {
        if !is_json(request.headers()) {
            return Err(ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "send JSON with content-type: application/json",
            ));
        }
        let max = app.config.limits.max_body_bytes;
        let bytes = match Limited::new(request.into_body(), max as usize).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.downcast_ref::<LengthLimitError>().is_some() || is_too_long(&*error) => {
                let detail = format!("the body is larger than max_body_bytes ({max})");
                return Err(ApiError::limit(StatusCode::PAYLOAD_TOO_LARGE, "max_body_bytes", detail));
            }
            Err(error) => return Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
        };
        read(&bytes).map(Self)
    }
}

/// The object that `json` is.
fn read<T: DeserializeOwned>(json: &[u8]) -> ApiResult<T> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    let not_json = |error: &serde_json::Error| ApiError::bad_request(format!("the body is not JSON: {error}"));
    let Object(body) = serde_path_to_error::deserialize::<_, Object<T>>(&mut reader).map_err(|error| {
        match (error.inner(), error.path().iter().next()) {
            (inner, _) if !inner.is_data() => not_json(inner),
            (inner, None) => ApiError::invalid(format!("the body does not fit: {inner}")),
            (inner, Some(_)) => ApiError::invalid(format!("the body does not fit: {}: {inner}", error.path())),
        }
    })?;
    reader.end().map_err(|error| not_json(&error))?;
    Ok(body)
}

fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<LengthLimitError>())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}
