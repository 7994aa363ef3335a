//! The HTTP client of the tests. Leaves what an answer should be to the test; `expect` says both sides when it differs.
//! Easy to get wrong: a request without a limit; every one here has 60 s.
use std::time::Duration;

use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

/// A base address and how to ask it.
#[derive(Clone)]
pub(crate) struct Api {
    base: String,
    client: reqwest::Client,
    token: Option<String>,
}

/// What came back, with the request in words for messages.
pub(crate) struct Answer {
    pub request: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    /// The JSON body of an answer that must have this status.
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{} answered {} {}", self.request, self.status, self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// A problem (RFC 9457) with this status and code; gives its body.
    pub(crate) fn expect_problem(self, status: u16, code: &str) -> Value {
        let kind = self.header("content-type").unwrap_or_default().to_owned();
        let request = self.request.clone();
        let (id, seen) = (self.header("x-request-id").map(str::to_owned), self.expect(status));
        assert!(kind.starts_with("application/problem+json"), "{request} answered {kind}: {seen}");
        assert_eq!(seen["code"], code, "{request}: {seen}");
        assert_eq!(seen["status"], status, "{request}: {seen}");
        assert_eq!(seen["request_id"].as_str(), id.as_deref(), "{request}: the id of header and body: {seen}");
        seen
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{}: {e}: {}", self.request, self.text))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Api {
    pub(crate) fn new(base: String) -> Api {
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .connect_timeout(Duration::from_secs(5))
            .build()
            .expect("a client without TLS always builds");
        Api { base, client, token: None }
    }

    pub(crate) fn with_token(mut self, token: &str) -> Api {
        self.token = Some(token.to_owned());
        self
    }

    /// A request to be completed by the test: headers, body.
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends it; `Err` is the transport's.
    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, String> {
        let request = request.build().map_err(|e| e.to_string())?;
        let words = format!("{} {}", request.method(), request.url().path());
        let sent = self.client.execute(request).await.map_err(|e| format!("{words}: {}", chain(&e)))?;
        let (status, headers) = (sent.status().as_u16(), sent.headers().clone());
        let text = sent.text().await.map_err(|e| format!("{words}: {}", chain(&e)))?;
        Ok(Answer { request: words, status, headers, text })
    }

    pub(crate) async fn try_get(&self, path: &str) -> Result<Answer, String> {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_get(path).await.unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.try_post(path, body).await.unwrap_or_else(|e| panic!("{e}"))
    }

    pub(crate) async fn try_post(&self, path: &str, body: Value) -> Result<Answer, String> {
        self.send(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Makes a project and gives its id.
    pub(crate) async fn project(&self, name: &str) -> String {
        text(&self.post("/api/v1/projects", json!({"name": name})).await.expect(201), "id")
    }

    /// Uploads bytes as they are, and gives the answer: 201 new, 200 already there.
    pub(crate) async fn upload(&self, project: &str, filename: &str, bytes: impl Into<reqwest::Body>) -> Answer {
        let path = format!("/api/v1/projects/{project}/sources?filename={filename}&name={filename}");
        let request = self.request(Method::POST, &path).header("content-type", "text/csv").body(bytes);
        self.send(request).await.unwrap_or_else(|e| panic!("{e}"))
    }

    /// Every page of a list, in order, following `next`.
    pub(crate) async fn all(&self, path: &str, limit: usize) -> Vec<Value> {
        let join = if path.contains('?') { '&' } else { '?' };
        let (mut items, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{join}limit={limit}{after}")).await.expect(200);
            items.extend(
                page["items"].as_array().unwrap_or_else(|| panic!("{path} has no items: {page}")).iter().cloned(),
            );
            match &page["next"] {
                Value::Null => return items,
                Value::String(next) => after = format!("&after={next}"),
                next => after = format!("&after={next}"),
            }
            assert!(items.len() < 1_000_000, "{path} never ends");
        }
    }
}

/// A text member of an object that must have it.
pub(crate) fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("no text `{key}` in {value}")).to_owned()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words = format!("{words}: {cause}");
        source = cause.source();
    }
    words
}
