//! A client of the event stream that reads it as a browser does: ids, retries, named events.
//!
//! Easy to get wrong: an event has a name and an id only if it says so, but the last id stays.
use crate::http_support::{PATIENCE, TestApp};
use futures_util::{StreamExt, stream::BoxStream};
use serde_json::Value;

/// One server-sent event.
#[derive(Debug, Default, Clone)]
pub(crate) struct Event {
    pub id: Option<String>,
    pub retry: Option<u64>,
    pub kind: Option<String>,
    pub data: Value,
}

/// A client that reads a stream as a browser does.
pub(crate) struct Events {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: String,
    pub last_id: String,
}

impl Events {
    pub(crate) async fn open(app: &TestApp, query: &str, last_id: Option<&str>) -> Self {
        Self::open_as(app, None, query, last_id).await
    }

    /// With a bearer token.
    pub(crate) async fn open_as(app: &TestApp, token: Option<&str>, query: &str, last_id: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(app.url(&format!("/events?{query}")));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(last) = last_id {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { body: answer.bytes_stream().boxed(), buffer: String::new(), last_id: String::new() }
    }

    /// The next event that has data; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.buffer.find("\n\n") {
                let block: String = self.buffer.drain(..end + 2).collect();
                let mut event = Event::default();
                let mut data = Vec::new();
                for line in block.lines() {
                    match line.split_once(": ") {
                        Some(("id", id)) => event.id = Some(id.to_owned()),
                        Some(("retry", ms)) => event.retry = Some(ms.parse().unwrap()),
                        Some(("event", kind)) => event.kind = Some(kind.to_owned()),
                        Some(("data", line)) => data.push(line),
                        _ => assert!(line.is_empty() || line.starts_with(':'), "{line:?}"),
                    }
                }
                if let Some(id) = &event.id {
                    self.last_id.clone_from(id);
                }
                if !data.is_empty() {
                    event.data = serde_json::from_str(&data.join("\n")).unwrap();
                    return Some(event);
                }
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next()).await.expect("waited in vain for an event");
            match chunk {
                Some(Ok(chunk)) => self.buffer.push_str(std::str::from_utf8(&chunk).unwrap()),
                _ => return None,
            }
        }
    }

    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if wanted(&event.data) {
                return event;
            }
        }
    }

    /// The offsets of durable events up to and with `last`.
    pub(crate) async fn offsets_until(&mut self, last: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            seen.push(self.wait(|data| data["off"].is_u64()).await.data["off"].as_u64().unwrap());
        }
        seen
    }
}
