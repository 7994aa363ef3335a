//! `GET /metrics`: the text that Prometheus reads.
use crate::{
    http::error::ApiResult,
    protocol::principal::{Action, Principal, Resource, authorise},
    telemetry,
};
use axum::response::IntoResponse;
use http::header;

pub(in crate::http) async fn metrics(principal: Principal) -> ApiResult<impl IntoResponse> {
    authorise(&principal, Action::Read, Resource::Server)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::render_metrics()))
}
