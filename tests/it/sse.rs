//! The event stream: the same frames as over a WebSocket, recovery by `Last-Event-ID`, talking back over plain HTTP.
use crate::{
    http_support::{PATIENCE, TestApp, eventually},
    support::Socket,
};
use futures_util::{StreamExt, stream::BoxStream};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// One server-sent event.
#[derive(Debug, Default, Clone)]
struct Event {
    id: Option<String>,
    retry: Option<u64>,
    kind: Option<String>,
    data: Value,
}

/// A client that reads a stream as a browser does.
struct Events {
    body: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    buffer: String,
    last_id: String,
}

impl Events {
    async fn open(app: &TestApp, query: &str, last_id: Option<&str>) -> Self {
        let mut request = reqwest::Client::new().get(app.url(&format!("/events?{query}")));
        if let Some(last) = last_id {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        Self { body: answer.bytes_stream().boxed(), buffer: String::new(), last_id: String::new() }
    }

    /// The next event that has data; none when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
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

    async fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Event {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if wanted(&event.data) {
                return event;
            }
        }
    }

    /// The offsets of durable events up to and with `last`.
    async fn offsets_until(&mut self, last: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        while seen.last() != Some(&last) {
            seen.push(self.wait(|data| data["off"].is_u64()).await.data["off"].as_u64().unwrap());
        }
        seen
    }
}

async fn rename(app: &TestApp, project: &str, name: &str) {
    let request = app.client.patch(app.url(&format!("/api/v1/projects/{project}"))).json(&json!({ "name": name }));
    assert_eq!(app.send(request).await.status, 200);
}

async fn say(app: &TestApp, hello: &Value, message: Value) -> u16 {
    let body = json!({ "conn": hello["conn"], "key": hello["key"], "message": message });
    app.post("/api/realtime/send", body).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_carries_the_frames_of_its_rooms_and_its_client_talks_back() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let mut events = Events::open(&app, &format!("project={project}"), None).await;
    let first = events.next().await.unwrap();
    assert!(first.retry.is_some_and(|ms| (500..3_000).contains(&ms)), "{first:?}");
    let hello = first.data["AuthSuccess"].clone();
    assert_eq!((&hello["user_id"], &hello["role"]), (&json!("owner"), &json!("owner")));
    let joined = events.next().await.unwrap();
    assert_eq!(joined.data["ProjectJoined"]["project_id"], project.as_str());

    rename(&app, &project, "renamed").await;
    let changed = events.wait(|data| data["DataUpdate"].is_object()).await;
    assert_eq!(changed.data["DataUpdate"]["data"]["name"], "renamed");
    let off = changed.data["off"].as_u64().unwrap();
    assert!(changed.id.unwrap().ends_with(&format!("~{}~{off}", changed.data["ep"].as_str().unwrap())));

    let mut socket = Socket::open(app.address()).await;
    socket.join(&project, None).await;
    let wave = json!({ "id": 7, "Collaboration": { "project_id": project, "action": "wave", "data": "line\nline" } });
    assert_eq!(say(&app, &hello, wave).await, 202);
    let reply = events.wait(|data| data["re"] == 7).await;
    assert_eq!(reply.data["Collaboration"]["action"], "wave", "the reply comes on the stream");
    let heard = socket.wait(PATIENCE, "the wave", |m| m["Collaboration"]["action"] == "wave").await;
    assert_eq!((&heard["by"], &heard["Collaboration"]["data"]), (&hello["conn"], &json!("line\nline")));
    say(&app, &hello, json!({ "Jump": {} })).await;
    let refused = events.wait(|data| data["Error"].is_object()).await;
    assert_eq!(refused.data["Error"]["code"], "INVALID_FORMAT");

    let stranger = json!({ "conn": hello["conn"], "key": "guess" });
    assert_eq!(say(&app, &stranger, json!("Ping")).await, 404, "the key counts");
    let too_long = json!({ "Collaboration": { "project_id": project, "action": "x", "data": "x".repeat(70_000) } });
    assert_eq!(say(&app, &hello, too_long).await, 413);
    drop(events);
    eventually("the stream is forgotten", || app.connections() == 1).await;
    assert_eq!(say(&app, &hello, json!("Ping")).await, 404, "it has ended");
    socket.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_with_the_last_id_misses_nothing_and_gets_nothing_twice() {
    let app = TestApp::start(&[]).await;
    let (one, two) = (app.project().await, app.project().await);
    let mut events = Events::open(&app, &format!("project={one}"), None).await;
    let hello = events.next().await.unwrap().data["AuthSuccess"].clone();
    let joined = events.wait(|data| data["ProjectJoined"].is_object()).await.data;
    let start = joined["ProjectJoined"]["off"].as_u64().unwrap();
    // The second room is joined later, over plain HTTP, and is followed again all the same.
    say(&app, &hello, json!({ "JoinProject": { "project_id": two } })).await;
    events.wait(|data| data["ProjectJoined"]["project_id"] == two.as_str()).await;
    for name in ["a", "b"] {
        rename(&app, &one, name).await;
    }
    assert_eq!(events.offsets_until(start + 2).await, [start + 1, start + 2]);
    let last_id = events.last_id.clone();
    drop(events);
    for name in ["c", "d", "e"] {
        rename(&app, &one, name).await;
        rename(&app, &two, name).await;
    }
    for in_header in [true, false] {
        let query =
            format!("project={one}{}", if in_header { String::new() } else { format!("&last_event_id={last_id}") });
        let mut events = Events::open(&app, &query, in_header.then_some(last_id.as_str())).await;
        let mut seen = std::collections::BTreeMap::<String, Vec<u64>>::new();
        while seen.values().map(Vec::len).sum::<usize>() < 6 {
            let data = events.wait(|data| data["DataUpdate"].is_object()).await.data;
            let project = data["DataUpdate"]["project_id"].as_str().unwrap().to_owned();
            seen.entry(project).or_default().push(data["off"].as_u64().unwrap());
        }
        assert_eq!(seen[&one], [start + 3, start + 4, start + 5]);
        let first = seen[&two][0];
        assert_eq!(seen[&two], [first, first + 1, first + 2]);
        // Half of what was missed was read when it broke off again: the rest comes, nothing else.
        let again = Events::open(&app, "", Some(&half_way(&events.last_id, &one, start + 4))).await;
        let mut again = again;
        assert_eq!(again.offsets_until(start + 5).await, [start + 5]);
    }
    let bad = app.send(app.client.get(app.url("/events?last_event_id=x"))).await.problem(400, "bad_request");
    assert!(bad["detail"].as_str().unwrap().contains("entry 1"), "{bad}");
    app.stop().await;
}

/// The positions with that of one project set back.
fn half_way(id: &str, project: &str, off: u64) -> String {
    let plain = project.replace('-', "");
    let entry = id.split(',').find(|entry| entry.starts_with(&plain)).unwrap();
    let (place, _) = entry.rsplit_once('~').unwrap();
    format!("{place}~{off}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_limited_like_a_socket_and_told_when_the_server_goes() {
    let app = TestApp::start(&[("max_message_rate", "1"), ("max_message_burst", "2"), ("max_sockets", "1")]).await;
    let mut events = Events::open(&app, "", None).await;
    let hello = events.next().await.unwrap().data["AuthSuccess"].clone();
    let full = app.send(app.client.get(app.url("/events"))).await.problem(503, "limit_exceeded");
    assert_eq!(full["limit"], "max_sockets", "{full}");
    for _ in 0..3 {
        assert_eq!(say(&app, &hello, json!("Ping")).await, 202);
    }
    let limited = events.wait(|data| data["Error"].is_object()).await;
    assert_eq!(limited.data["Error"]["code"], "RATE_LIMITED");
    let going = tokio::spawn(async move {
        events.wait(|data| data["Draining"].is_object()).await;
        let close = events.next().await.expect("a close event");
        assert_eq!(close.kind.as_deref(), Some("close"));
        assert_eq!((&close.data["code"], &close.data["reason"]["c"]), (&json!(4503), &json!("DRAIN")));
        assert_eq!(close.retry, close.data["reason"]["retry_ms"].as_u64());
        assert!(close.retry.is_some());
        assert!(events.next().await.is_none(), "nothing follows");
    });
    app.stop().await;
    going.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_is_cut_off() {
    let settings = [("slow_no_progress", "300ms"), ("queue_bytes", "64KiB"), ("max_message_rate", "0")];
    let app = TestApp::start(&settings).await;
    let project = app.project().await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut deaf = socket.connect(app.address()).await.unwrap();
    let request = format!("GET /events?project={project} HTTP/1.1\r\nhost: {}\r\n\r\n", app.address());
    deaf.write_all(request.as_bytes()).await.unwrap();
    eventually("the stream is open", || app.connections() == 1).await;
    let mut talker = Socket::open(app.address()).await;
    talker.join(&project, None).await;
    let loud = json!({ "project_id": project, "action": "shout", "data": "x".repeat(60_000) });
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while app.connections() > 1 {
        assert!(tokio::time::Instant::now() < deadline, "the deaf client was never cut off");
        talker.ask("Collaboration", loud.clone()).await;
    }
    talker.close().await;
    app.stop().await;
    drop(deaf);
}
