//! `X-Tieout-Position`: up to which event a snapshot is true.
use crate::db::Position;
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::HeaderValue;
use serde::Serialize;

/// The header's name.
const HEADER: &str = "x-tieout-position";

/// A JSON answer with the position at which it was read.
pub(super) fn at(position: Option<&Position>, body: impl Serialize) -> Response {
    let mut response = Json(body).into_response();
    if let Some(value) = position.and_then(|position| HeaderValue::try_from(position.to_string()).ok()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
