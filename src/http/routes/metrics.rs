//! `GET /metrics`: the text that Prometheus reads.
//!
//! What is counted is in `telemetry`'s list. Easy to get wrong: it must answer when the hub does not.
use crate::actors::hub::Mode;
use crate::http::auth::Caller;
use crate::http::error::ApiResult;
use crate::http::state::AppState;
use crate::protocol::principal::{Action, Resource, authorise};
use crate::telemetry;
use axum::{extract::State, response::IntoResponse};
use http::header;
use std::time::Duration;
use tokio::time::timeout;

/// How long the hub may take to say how many rooms there are.
const HUB_ANSWERS: Duration = Duration::from_millis(200);

pub(in crate::http) async fn metrics(
    State(app): State<AppState>,
    Caller(principal): Caller,
) -> ApiResult<impl IntoResponse> {
    authorise(&principal, Action::Read, Resource::Server)?;
    app.meter.look(&app.runtime);
    ::metrics::gauge!("tieout_rt_connections").set(app.realtime.connections() as f64);
    // A hub that is off, not started yet or restarting has no rooms to count; the gauges keep their last value. One that
    // is stuck is what an operator looks here for.
    if app.realtime.health().mode == Mode::On
        && let Ok(Ok(counts)) = timeout(HUB_ANSWERS, app.realtime.counts()).await
    {
        ::metrics::gauge!("tieout_rt_rooms").set(counts.rooms as f64);
        ::metrics::gauge!("tieout_rt_subscriptions").set(counts.subscriptions as f64);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], telemetry::render_metrics()))
}
