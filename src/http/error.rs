//! The one place where errors become status codes and RFC 9457 problem bodies.
//!
//! Handlers return [`ApiError`]; the pipeline adds the request's id and path, logs what must be logged and writes the
//! body. Easy to get wrong: the text of an internal error is for the log; the caller gets the request id to quote.
use crate::{
    db::StoreError,
    protocol::principal::Forbidden,
    reconcile::{ReadError, RuleError},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// A refusal or a failure, on its way to the caller.
#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
    retry_after: Option<Duration>,
    members: Map<String, Value>,
    /// For the log only.
    cause: Option<String>,
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.cause.as_ref().unwrap_or(&self.detail))
    }
}

/// What a handler answers.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// A problem with this status, machine-readable `code` and sentence.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), retry_after: None, members: Map::new(), cause: None }
    }

    /// 400: the request can't be understood.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", detail)
    }

    /// 401: a bearer token is needed, or this one is wrong.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    /// 403: not from there, or not by this caller.
    pub fn forbidden(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 409: the state of the thing forbids it.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 422: understood, but the content is not acceptable.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
    }

    /// 503: away for now; try again.
    pub fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(Duration::from_secs(1))
    }

    /// 503: the process is about to end.
    pub fn draining() -> Self {
        let detail = "the server is shutting down; another one, or this one after its restart, will answer";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "draining", detail).retry_after(Duration::from_secs(2))
    }

    /// A limit was passed: 413 for a size, 429 for the caller's own number, 503 for the server's.
    pub fn limit(status: StatusCode, limit: &'static str, detail: impl Into<String>) -> Self {
        let error = Self::new(status, "limit_exceeded", detail).with("limit", limit);
        if status == StatusCode::PAYLOAD_TOO_LARGE { error } else { error.retry_after(Duration::from_secs(2)) }
    }

    /// 500: a defect. `cause` goes to the log, the caller gets the request id.
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail = "the server failed; its log has the cause under this request id";
        let error = Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
        Self { cause: Some(cause.into()), ..error }
    }

    /// Adds a member to the problem body.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// Tells when a retry has a chance.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Replaces the machine-readable code.
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The full answer. `instance` is the request's path.
    pub(super) fn render(self, request_id: &str, instance: &str) -> Response {
        if let Some(cause) = &self.cause {
            log::error!("request failed request_id={request_id} path={instance} cause={cause}");
        }
        let mut body = self.members;
        body.insert("type".into(), "about:blank".into());
        body.insert("title".into(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".into(), json!(self.status.as_u16()));
        body.insert("code".into(), self.code.into());
        body.insert("detail".into(), self.detail.into());
        body.insert("instance".into(), instance.into());
        body.insert("request_id".into(), request_id.into());
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_millis().div_ceil(1000).max(1) as u64));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tieout\""));
        }
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// An empty answer that carries the problem; the pipeline renders it when it knows the request's id.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { reason, retry_after } => {
                Self::unavailable(format!("the store is unavailable: {reason}")).retry_after(retry_after)
            }
            StoreError::NotFound => Self::not_found("there is no such thing, or it was deleted"),
            StoreError::Conflict(text) => Self::conflict(text),
            StoreError::Invalid(text) => Self::invalid(text),
            StoreError::LimitExceeded { limit, max } => {
                // The queue is the installation's, not the caller's: nothing that this caller did less of would help.
                let everybodys = limit == "max_open_jobs";
                let status = if everybodys { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::TOO_MANY_REQUESTS };
                Self::limit(status, limit, format!("the limit {limit} of {max} is reached"))
            }
            StoreError::Fenced => Self::conflict("the job was taken over; ask again for its state"),
            StoreError::Internal(text) => Self::internal(text),
        }
    }
}

impl From<Forbidden> for ApiError {
    fn from(error: Forbidden) -> Self {
        Self::forbidden(error.to_string())
    }
}

impl From<RuleError> for ApiError {
    fn from(error: RuleError) -> Self {
        let place = json!([{ "path": error.path, "reason": error.reason }]);
        Self::invalid(error.to_string()).code("invalid_rules").with("errors", place)
    }
}

impl From<ReadError> for ApiError {
    /// What is wrong with an uploaded file, as far as it is known: file, line, column, value.
    fn from(error: ReadError) -> Self {
        let text = error.to_string();
        let place = match error {
            ReadError::Io { .. } => return Self::unavailable(text),
            ReadError::Cancelled => return Self::draining(),
            ReadError::Limit { limit, .. } => return Self::limit(StatusCode::PAYLOAD_TOO_LARGE, limit, text),
            ReadError::Header { name, line, reason } => json!({ "file": name, "line": line, "reason": reason }),
            ReadError::Format { name, place, reason } => {
                json!({ "file": name, "place": place.trim_start_matches(", "), "reason": reason })
            }
            ReadError::NoColumn { name, column, .. } => json!({ "file": name, "column": column }),
            ReadError::IdRepeated { name, line, column, value, .. } => {
                json!({ "file": name, "line": line, "column": column, "value": value, "reason": "the id is repeated" })
            }
            ReadError::BadRow { name, line, column, value, reason } => {
                json!({ "file": name, "line": line, "column": column, "value": value, "reason": reason })
            }
        };
        Self::invalid(text).code("invalid_file").with("errors", json!([place]))
    }
}
