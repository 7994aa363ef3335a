//! The list of routes, one line each.
//!
//! Leaves what comes before a route to `pipeline`. Easy to get wrong: a route added outside of this list has no
//! problem body for a wrong method.
use super::{
    console,
    error::ApiError,
    routes::{
        claims, disconnect, events, export, health, jobs, metrics, projects, publish, realtime, results, rules,
        sources, test_hooks, ws,
    },
    state::AppState,
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, OriginalUri, Request},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::StatusCode;

/// Every route of the server.
pub(super) fn routes(state: AppState) -> Router {
    let mut router = Router::new()
        .route("/api/health", get(health::health))
        .route("/api/ready", get(health::ready))
        .route("/ws", get(ws::open))
        .route("/events", get(events::open))
        .route("/api/realtime/ticket", post(realtime::ticket))
        .route("/api/realtime/publish", post(publish::publish))
        .route("/api/realtime/send", post(realtime::send))
        .route("/api/realtime/disconnect", post(disconnect::disconnect))
        .route("/metrics", get(metrics::metrics))
        .route("/api/v1/projects", get(projects::list).post(projects::create))
        .route("/api/v1/projects/{id}", get(projects::get).patch(projects::rename).delete(projects::delete))
        .route("/api/v1/projects/{id}/sources", get(sources::list).post(sources::upload))
        .route("/api/v1/projects/{id}/suggested-rules", get(rules::suggest))
        .route("/api/v1/projects/{id}/jobs", get(jobs::list).post(jobs::create))
        .route("/api/v1/projects/{id}/claims", post(claims::claim))
        .route("/api/v1/projects/{id}/claims/{entity_id}", delete(claims::release))
        .route("/api/v1/sources/{id}", get(sources::get).delete(sources::delete))
        .route("/api/v1/jobs/{id}", get(jobs::get).delete(jobs::delete))
        .route("/api/v1/jobs/{id}/start", post(jobs::start))
        .route("/api/v1/jobs/{id}/cancel", post(jobs::cancel))
        .route("/api/v1/jobs/{id}/progress", get(jobs::progress))
        .route("/api/v1/jobs/{id}/results", get(results::list))
        .route("/api/v1/jobs/{id}/errors", get(results::errors))
        .route("/api/v1/jobs/{id}/export", get(export::export));
    if state.config.test_hooks {
        router =
            router.route("/api/test/panic", post(test_hooks::panic)).route("/api/test/stall", post(test_hooks::stall));
    }
    for path in console::paths() {
        router =
            router.route(path, get(async |request: Request| console::serve(request.uri().path(), request.headers())));
    }
    router
        .method_not_allowed_fallback(wrong_method)
        .fallback(no_such_path)
        // Each body has its own limit: `max_body_bytes` in `extract`, `max_upload_bytes` in `upload`.
        .layer(DefaultBodyLimit::disable())
        .route_layer(from_fn(name_route))
        .with_state(state)
}

/// Tells the pipeline which route answered: a metric by path would have a line per id.
async fn name_route(route: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(route);
    response
}

async fn no_such_path(OriginalUri(uri): OriginalUri) -> impl IntoResponse {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(request: Request) -> impl IntoResponse {
    let detail = format!("{} is not possible at {}", request.method(), request.uri().path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
