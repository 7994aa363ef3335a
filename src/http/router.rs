//! The list of routes, one line each.
//!
//! Leaves what comes before a route to `pipeline`. Easy to get wrong: a route added outside of this list has no
//! problem body for a wrong method.
use super::{
    console,
    error::ApiError,
    routes::{health, metrics},
    state::AppState,
};
use axum::{
    Router,
    extract::{OriginalUri, Request},
    response::IntoResponse,
    routing::get,
};
use http::StatusCode;

/// Every route of the server.
pub(super) fn routes(state: AppState) -> Router {
    let mut router = Router::new()
        .route("/api/health", get(health::health))
        .route("/api/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics));
    for path in console::paths() {
        router =
            router.route(path, get(async |request: Request| console::serve(request.uri().path(), request.headers())));
    }
    router.method_not_allowed_fallback(wrong_method).fallback(no_such_path).with_state(state)
}

async fn no_such_path(OriginalUri(uri): OriginalUri) -> impl IntoResponse {
    ApiError::not_found(format!("there is nothing at {}", uri.path()))
}

async fn wrong_method(request: Request) -> impl IntoResponse {
    let detail = format!("{} is not possible at {}", request.method(), request.uri().path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}
