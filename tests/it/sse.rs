//! The event stream: the same frames as over a WebSocket, recovery by `Last-Event-ID`, talking back over plain HTTP.
use crate::{
    http_support::{PATIENCE, TestApp, eventually},
    sse_support::Events,
    support::Socket,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

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
    // What makes no sense is an unknown position: a browser would never come back after a refusal.
    for (query, header) in [("&last_event_id=x", None), ("", Some("~~~,,"))] {
        let mut events = Events::open(&app, &format!("project={one}{query}"), header).await;
        let joined = events.wait(|data| data["ProjectJoined"].is_object()).await.data;
        assert_eq!(joined["ProjectJoined"]["recovered"], false, "{query} {header:?}");
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_comes_back_to_a_quiet_room_is_let_in_at_once() {
    // Nothing else is said in the room that could wake it by chance.
    let app = TestApp::start(&[("presence_every", "10s"), ("presence_every_large", "10s")]).await;
    let project = app.project().await;
    let _stays = Events::open(&app, &format!("project={project}"), None).await;
    for round in 0..40 {
        let mut events = Events::open(&app, &format!("project={project}"), None).await;
        let joined = events.wait(|data| data["ProjectJoined"].is_object());
        let joined = tokio::time::timeout(std::time::Duration::from_secs(2), joined).await;
        assert!(joined.is_ok(), "round {round}: it waits to be let in");
    }
    app.stop().await;
}
