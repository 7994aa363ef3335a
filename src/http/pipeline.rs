//! What every request goes through, in order: id, `Host` and `Origin`, preflight, token, time limit, route, problem body.
//!
//! Leaves routes to `router` and connections to `listener`. Easy to get wrong: whatever happens inside, a panic
//! included, the caller gets an answer with the request's id; nothing here may return early without one.
use super::auth::{identifies_itself, is_open_path, no_token};
use super::connection::shares::Peer;
use super::cors::Sharing;
use super::error::{ApiError, ApiResult};
use super::request_id::RequestId;
use super::state::AppState;
use super::transfers::{LONG_ANSWER_BYTES, Place};
use crate::protocol::principal::Grant;
use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{MatchedPath, Request},
    response::Response,
};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use std::{panic::AssertUnwindSafe, time::Instant};
use tower::ServiceExt;

/// The routes and what they share.
#[derive(Clone)]
pub(super) struct Pipeline {
    pub state: AppState,
    pub router: Router,
}

impl Pipeline {
    /// Answers a request. Never fails.
    pub(super) async fn answer(self, mut request: Request) -> Response {
        let started = Instant::now();
        let id = RequestId::of(request.headers());
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let sharing = Sharing::of(&self.state.auth, request.headers());
        request.extensions_mut().insert(id.clone());
        let answered = AssertUnwindSafe(self.admit(request)).catch_unwind().await;
        let response = match answered {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => error.into_empty_response(),
            Err(panic) => ApiError::internal(format!("panic: {}", panic_text(&*panic))).into_empty_response(),
        };
        let route = response.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
        let response = finish(response, &id, &path, sharing);
        let status = response.status().as_u16();
        let elapsed = started.elapsed();
        metrics::counter!("tieout_http_requests_total", "route" => route, "status" => status.to_string()).increment(1);
        metrics::histogram!("tieout_http_request_seconds").record(elapsed.as_secs_f64());
        log::debug!("request method={method} path={path} status={status} ms={} request_id={id}", elapsed.as_millis());
        response
    }

    /// An answer for a connection that is one too many.
    pub(super) fn refuse(&self, request: &Request, limit: &'static str) -> Response {
        let limits = &self.state.config.limits;
        let detail = match limit {
            "connections_per_address" => {
                format!("your address has {} connections open already", limits.connections_per_address)
            }
            _ => format!("the server has {} connections open already", limits.max_http_connections),
        };
        let error = ApiError::limit(StatusCode::SERVICE_UNAVAILABLE, limit, detail);
        let id = RequestId::of(request.headers());
        let sharing = Sharing::of(&self.state.auth, request.headers());
        let mut response = finish(error.into_empty_response(), &id, request.uri().path(), sharing);
        if request.version() < http::Version::HTTP_2 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn admit(self, mut request: Request) -> ApiResult<Response> {
        let app = self.state.clone();
        let auth = &app.auth;
        auth.check_source(request.uri(), request.headers())?;
        // Before the token: a browser sends none with its question.
        if let Some(response) = Sharing::of(auth, request.headers()).preflight(&request) {
            return Ok(response);
        }
        let (method, path) = (request.method(), request.uri().path());
        // A wrong token is told so everywhere but on the paths that never need one.
        match auth.identify(request.headers()) {
            Ok(Some(grant)) => {
                request.extensions_mut().insert(grant);
            }
            Ok(None) | Err(_) if is_open_path(method, path) => {}
            Ok(None) if identifies_itself(path) => {}
            Ok(None) => return Err(no_token()),
            Err(error) => return Err(error),
        }
        if is_transfer(request.method(), request.uri().path()) {
            return Ok(self.route(request).await);
        }
        let caller = request.extensions().get::<Grant>().map(|grant| grant.principal.user_id.clone());
        let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
        let limit = app.config.limits.request_timeout;
        let response = tokio::time::timeout(limit, self.route(request)).await.map_err(|_| {
            ApiError::limit(
                StatusCode::SERVICE_UNAVAILABLE,
                "request_timeout",
                format!("the request was not answered within {} ms", limit.as_millis()),
            )
            .code("timeout")
        })?;
        match (caller, response.body().size_hint().exact()) {
            (Some(caller), Some(bytes)) if bytes >= LONG_ANSWER_BYTES => {
                let room = app.answer_room(&caller, peer, bytes)?;
                Ok(response.map(|body| holding(body, room)))
            }
            _ => Ok(response),
        }
    }

    async fn route(self, request: Request) -> Response {
        match self.router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// The same body, which holds `room` until it is on its way.
fn holding(body: Body, room: Place) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _until_dropped = &room;
        frame
    }))
}

/// Requests that last as long as their data needs; they watch for a standstill themselves.
fn is_transfer(method: &Method, path: &str) -> bool {
    matches!(path, "/ws" | "/events")
        || (*method == Method::POST && path.ends_with("/sources"))
        || path.ends_with("/export")
}

fn finish(mut response: Response, id: &RequestId, path: &str, sharing: Sharing) -> Response {
    if let Some(error) = response.extensions_mut().remove::<ApiError>().or_else(|| unspoken(&response)) {
        // The router has said in a header which methods there are.
        let allow = response.headers_mut().remove(header::ALLOW);
        response = error.render(id.as_str(), path);
        response.headers_mut().extend(allow.map(|allow| (header::ALLOW, allow)));
    }
    let headers = response.headers_mut();
    headers.insert("x-request-id", id.header());
    sharing.mark(headers);
    headers.extend(ALWAYS);
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// On every answer, pages and errors included: no guessing of types, no embedding elsewhere, no shared window, no devices.
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
];

/// The problem behind an error that is not one of ours: a layer below that answers in plain text, or not at all.
fn unspoken(response: &Response) -> Option<ApiError> {
    let (status, kind) = (response.status(), response.headers().get(header::CONTENT_TYPE));
    let plain = kind.is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !plain || !(status.is_client_error() || status.is_server_error()) {
        return None;
    }
    let detail = "the request was refused before it reached its handler";
    Some(if status == StatusCode::INTERNAL_SERVER_ERROR {
        ApiError::internal(detail)
    } else {
        ApiError::new(status, "refused", detail)
    })
}

impl ApiError {
    fn into_empty_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.status();
        response.extensions_mut().insert(self);
        response
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    #[test]
    fn an_error_that_a_layer_below_answers_in_plain_text_becomes_a_problem() {
        let id = RequestId::of(&HeaderMap::new());
        for (status, kind, code) in [
            (400, Some("text/plain; charset=utf-8"), Some("refused")),
            (404, None, Some("refused")),
            (500, Some("text/plain"), Some("internal")),
            (503, Some("application/json"), None),
            (200, Some("text/plain"), None),
        ] {
            let mut response = Response::new(Body::from("Invalid URL"));
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            response.headers_mut().extend(kind.map(|kind| (header::CONTENT_TYPE, HeaderValue::from_static(kind))));
            let answer = finish(response, &id, "/x", Sharing::default());
            let is_problem = answer.headers()[header::CONTENT_TYPE] == "application/problem+json";
            assert_eq!((answer.status().as_u16(), is_problem), (status, code.is_some()), "{status} {kind:?}");
        }
    }
}
