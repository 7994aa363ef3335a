//! `GET /metrics`: the text that Prometheus reads.
use crate::{
    actors::realtime::Mode,
    http::{error::ApiResult, state::AppState},
    protocol::principal::{Action, Principal, Resource, authorise},
    telemetry,
};
use axum::{extract::State, response::IntoResponse};
use http::header;

pub(in crate::http) async fn metrics(
    State(app): State<AppState>,
    principal: Principal,
) -> ApiResult<impl IntoResponse> {
    authorise(&principal, Action::Read, Resource::Server)?;
    app.meter.look(&app.runtime);
    ::metrics::gauge!("tieout_rt_connections").set(app.realtime.connections() as f64);
    // A hub that is off, not started yet or restarting has no rooms to count; the gauges keep their last value.
    if app.realtime.health().mode == Mode::On
        && let Ok(counts) = app.realtime.counts().await
    {
        ::metrics::gauge!("tieout_rt_rooms").set(counts.rooms as f64);
        ::metrics::gauge!("tieout_rt_subscriptions").set(counts.subscriptions as f64);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::render_metrics()))
}
