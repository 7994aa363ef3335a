//! The WebSocket client of the tests: sends, waits for a message under a deadline, and keeps everything it saw.
//! Leaves order and completeness to `durable()` and the test. Easy to get wrong: a socket that is not read does not
//! answer the server's pings; `collect` reads in a task of its own.
use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch, task::JoinHandle};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        http::HeaderValue,
        protocol::frame::{CloseFrame, Frame},
    },
};
use tokio_util::sync::CancellationToken;

use super::wait::{SHORT, within};

type Stream = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One connection.
pub(crate) struct Socket {
    stream: Stream,
    /// Every JSON message received, in order.
    pub seen: Vec<Value>,
    next_id: u64,
}

/// Why a socket ended: close code and reason, or the transport's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub code: Option<u16>,
    pub why: String,
}

impl Socket {
    pub(crate) async fn open(addr: SocketAddr) -> Socket {
        Socket::try_open(addr, &[]).await.unwrap_or_else(|e| panic!("the WebSocket to {addr} opens: {e}"))
    }

    /// Opens with further headers; `Err` holds the status and body of a refusal.
    pub(crate) async fn try_open(addr: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Socket, String> {
        Socket::try_open_at(addr, "/ws", headers).await
    }

    /// As [`Socket::try_open`], at a path with its query string.
    pub(crate) async fn try_open_at(
        addr: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Socket, String> {
        let mut request = format!("ws://{addr}{path}").into_client_request().expect("the address is a URL");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("tieout.v1+json"));
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header value"));
        }
        match within(SHORT, "the WebSocket handshake", connect_async(request)).await {
            Ok((stream, _)) => Ok(Socket { stream, seen: Vec::new(), next_id: 1 }),
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default();
                Err(format!("{} {body}", answer.status().as_u16()))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// A socket that is refused as soon as it is open: what its `Error` says, and how it ends.
    pub(crate) async fn refused_at(addr: SocketAddr, path: &str) -> (Value, Ended) {
        let opened = Socket::try_open_at(addr, path, &[]).await;
        let mut socket = opened.unwrap_or_else(|answer| panic!("{path} opens, to be told why not: {answer}"));
        let error = socket.wait(SHORT, "the reason", |m| m["Error"].is_object()).await;
        (error["Error"].clone(), socket.ended(SHORT).await)
    }

    /// Sends a text frame as it is.
    pub(crate) async fn send_text(&mut self, text: impl Into<String>) {
        let sent = self.stream.send(Message::text(text.into())).await;
        sent.unwrap_or_else(|e| panic!("a frame is sent: {e}"));
    }

    /// Sends a text frame; false when the connection has ended.
    pub(crate) async fn try_send(&mut self, text: impl Into<String>) -> bool {
        self.stream.send(Message::text(text.into())).await.is_ok()
    }

    /// Sends text frames in one write.
    pub(crate) async fn send_together(&mut self, texts: impl IntoIterator<Item = String>) {
        for text in texts {
            let fed = self.stream.feed(Message::text(text)).await;
            fed.unwrap_or_else(|e| panic!("a frame is sent: {e}"));
        }
        self.stream.flush().await.unwrap_or_else(|e| panic!("frames are sent: {e}"));
    }

    /// Sends `{"id":…, kind: body}` and waits for its one reply.
    pub(crate) async fn ask(&mut self, kind: &str, body: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        self.send_text(json!({"id": id, kind: body}).to_string()).await;
        self.wait(SHORT, &format!("the reply to {kind}"), |m| m["re"] == id).await
    }

    /// Joins a project's room, after `since` (ep, off) when given; gives the `ProjectJoined` body.
    pub(crate) async fn join(&mut self, project: &str, since: Option<(&str, u64)>) -> Value {
        let mut body = json!({"project_id": project});
        if let Some((ep, off)) = since {
            body["since"] = json!({"ep": ep, "off": off});
        }
        let reply = self.ask("JoinProject", body).await;
        let joined = reply["ProjectJoined"].clone();
        assert!(joined.is_object(), "JoinProject was answered {reply}");
        joined
    }

    /// The next message, or how the socket ended.
    pub(crate) async fn next(&mut self) -> Result<Value, Ended> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => {
                    let value: Value =
                        serde_json::from_str(&text).unwrap_or_else(|e| panic!("a frame is no JSON ({e}): {text}"));
                    self.seen.push(value.clone());
                    return Ok(value);
                }
                Some(Ok(Message::Close(frame))) => {
                    let code = frame.as_ref().map(|f| u16::from(f.code));
                    let why = frame.map(|f| f.reason.to_string()).unwrap_or_default();
                    return Err(Ended { code, why });
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(Ended { code: None, why: error.to_string() }),
                None => return Err(Ended { code: None, why: "end of stream".into() }),
            }
        }
    }

    /// Reads until a message for which `wanted` holds; earlier ones are kept in `seen`.
    pub(crate) async fn wait(&mut self, limit: Duration, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let from = self.seen.len();
        let found = tokio::time::timeout(limit, async {
            loop {
                match self.next().await {
                    Ok(message) if wanted(&message) => return message,
                    Ok(_) => {}
                    Err(ended) => panic!("the socket ended ({ended:?}) while it waited for {what}"),
                }
            }
        });
        match found.await {
            Ok(message) => message,
            Err(_) => panic!("waited {limit:?} for {what}; came instead: {:?}", &self.seen[from..]),
        }
    }

    /// Reads until the socket ends.
    pub(crate) async fn ended(&mut self, limit: Duration) -> Ended {
        within(limit, "the socket to end", async {
            loop {
                if let Err(ended) = self.next().await {
                    return ended;
                }
            }
        })
        .await
    }

    /// Sends a close frame, whatever the code; the library itself would refuse some.
    pub(crate) async fn send_close(&mut self, code: u16, reason: &str) {
        let frame = Frame::close(Some(CloseFrame { code: code.into(), reason: reason.into() }));
        self.stream.send(Message::Frame(frame)).await.unwrap_or_else(|e| panic!("a close is sent: {e}"));
    }

    pub(crate) async fn close(mut self) {
        self.stream.close(None).await.ok();
    }

    /// Goes on reading in a task, so that pings are answered while the test does other things.
    pub(crate) fn collect(mut self) -> Collector {
        let mut count = durable(&self.seen).len();
        let (latest, watch) = watch::channel(count);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let ended = loop {
                let next = tokio::select! {
                    next = self.next() => next,
                    () = stopped.cancelled() => Err(Ended { code: None, why: "stopped by the test".into() }),
                };
                match next {
                    Ok(message) => {
                        count += durable(&[message]).len();
                        latest.send_replace(count);
                    }
                    Err(ended) => break ended,
                }
            };
            self.stream.close(None).await.ok();
            (self.seen, ended)
        });
        Collector { durable: watch, stop, task }
    }
}

/// A socket that is read in the background.
pub(crate) struct Collector {
    durable: watch::Receiver<usize>,
    stop: CancellationToken,
    task: JoinHandle<(Vec<Value>, Ended)>,
}

impl Collector {
    /// Waits until this many durable events have come.
    pub(crate) async fn reached(&mut self, events: usize, limit: Duration) -> Result<(), String> {
        let last = self.durable.clone();
        match tokio::time::timeout(limit, self.durable.wait_for(|n| *n >= events)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(format!("the socket ended at {} of {events} durable events", *last.borrow())),
            Err(_) => Err(format!("{} of {events} durable events after {limit:?}", *last.borrow())),
        }
    }

    /// Ends the connection without a word.
    pub(crate) fn lose(self) {
        self.task.abort();
    }

    /// Closes the socket from this side; gives everything that came.
    pub(crate) async fn stop(self) -> (Vec<Value>, Ended) {
        self.stop.cancel();
        self.finish(SHORT).await
    }

    /// Whether the socket is still open.
    pub(crate) fn open(&self) -> bool {
        !self.task.is_finished()
    }

    /// Waits for the server to end the socket; gives everything it sent.
    pub(crate) async fn finish(self, limit: Duration) -> (Vec<Value>, Ended) {
        within(limit, "the collected socket to end", self.task).await.expect("the reading task does not panic")
    }
}

/// The durable events among messages, in order of arrival: (ep, off, message).
pub(crate) fn durable(messages: &[Value]) -> Vec<(&str, u64, &Value)> {
    messages.iter().filter_map(|m| Some((m.get("ep")?.as_str()?, m.get("off")?.as_u64()?, m))).collect()
}

/// Fails unless the offsets of the durable events are `from..=to`, each once and in order.
pub(crate) fn assert_gapless(who: &str, messages: &[Value], from: u64, to: u64) {
    let seen: Vec<u64> = durable(messages).iter().map(|(_, off, _)| *off).collect();
    let expected: Vec<u64> = (from..=to).collect();
    if seen != expected {
        let at = seen.iter().zip(&expected).position(|(a, b)| a != b).unwrap_or(seen.len().min(expected.len()));
        let near = &seen[at.saturating_sub(3)..(at + 4).min(seen.len())];
        panic!("{who}: offsets should be {from}..={to}; {} came, and differ at place {at}: …{near:?}…", seen.len());
    }
}
