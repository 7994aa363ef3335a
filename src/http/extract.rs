//! Turns a request's path, query and body into typed values, once, at the edge; what does not fit becomes a problem.
//!
//! Leaves what the values mean to the handlers. Easy to get wrong: axum's own extractors answer in plain text; these
//! take their place.
use super::{
    error::{ApiError, ApiResult},
    state::AppState,
};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use http::{HeaderMap, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use std::{collections::HashMap, str::FromStr};

/// The id in the path, as its type. Text that is no id names nothing: 404.
pub(super) struct Id<T>(pub T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> ApiResult<Self> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        let mut path = path.map_err(|error| ApiError::bad_request(error.to_string()))?.0;
        let text = path.remove("id").ok_or_else(|| ApiError::internal("the route has no {id}"))?;
        text.parse().map(Self).map_err(|_| ApiError::not_found(format!("there is nothing with the id {text:?}")))
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
        serde_json::from_slice(&bytes).map(Self).map_err(|error| {
            if error.is_data() {
                ApiError::invalid(format!("the body does not fit: {error}"))
            } else {
                ApiError::bad_request(format!("the body is not JSON: {error}"))
            }
        })
    }
}

fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<LengthLimitError>())
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}
