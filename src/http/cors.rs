//! Pages of other origins (`allowed_origins`): what lets a browser show them the answers, and the question it asks before.
//!
//! Who is let in is `auth`'s to say; a foreign page never comes this far. Easy to get wrong: nothing here knows cookies, so
//! no credentials are allowed; such a page sends a token, in a header that the preflight names.
use super::auth::Auth;
use axum::{body::Body, extract::Request, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, PATCH, DELETE");
const TAKEN: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-none-match, last-event-id, traceparent, x-request-id",
);
const SHOWN: HeaderValue = HeaderValue::from_static(
    "content-disposition, etag, idempotency-replayed, location, retry-after, x-request-id, x-tieout-position",
);
/// How long a browser may remember the answer, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// What an answer must say of the origin that asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Sharing {
    /// Answers differ by origin, which caches must know.
    varies: bool,
    /// The page of this origin may read the answer.
    with: Option<HeaderValue>,
}

impl Sharing {
    /// For the answer to a request with these headers.
    pub(super) fn of(auth: &Auth, headers: &HeaderMap) -> Self {
        Self { varies: auth.shares(), with: auth.allowed_origin(headers) }
    }

    /// Answers a browser that asks before the real request; none for anything else.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if self.with.is_none() || request.method() != Method::OPTIONS || !asks {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, TAKEN);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, REMEMBERED);
        Some(response)
    }

    /// Puts it into the answer's headers.
    pub(super) fn mark(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(header::VARY, HeaderValue::from(HeaderName::from_static("origin")));
        }
        if let Some(origin) = self.with {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, SHOWN);
        }
    }
}
