//! The server API: a back end publishes to a room, once per key.
use crate::{
    http_support::{Answer, PATIENCE, TestApp},
    support::Socket,
    ws_auth::{app_with, token},
};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tieout::db::publications::{self, Published};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

async fn publish(app: &TestApp, key: Option<&str>, body: &Value) -> Answer {
    let mut request = app.client.post(app.url("/api/realtime/publish")).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    app.send(request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_publishes_durable_and_ephemeral_messages_to_a_room() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let mut socket = Socket::open(app.address()).await;
    let start = socket.join(&project, None).await["off"].as_u64().unwrap();
    let told =
        publish(&app, None, &json!({ "Notification": { "project_id": project, "level": "info", "message": "hello" } }))
            .await;
    assert_eq!((told.status, told.json()["off"].as_u64()), (200, Some(start + 1)), "{}", told.text);
    let heard = socket.wait(PATIENCE, "the notification", |m| m["Notification"].is_object()).await;
    assert_eq!((&heard["off"], &heard["Notification"]["message"]), (&json!(start + 1), &json!("hello")));
    let update = json!({ "DataUpdate": { "project_id": project, "entity": "ledger", "entity_id": "7", "action": "closed", "data": { "a": [1] } } });
    assert_eq!(publish(&app, None, &update).await.json()["off"], start + 2);
    let heard = socket.wait(PATIENCE, "the update", |m| m["DataUpdate"].is_object()).await;
    assert_eq!(heard["DataUpdate"]["data"], json!({ "a": [1] }));
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let wave = json!({ "Collaboration": { "project_id": project, "action": "wave" } });
    let request = app.client.post(app.url("/api/realtime/publish")).header("traceparent", trace).json(&wave);
    let waved = app.send(request).await;
    assert_eq!((waved.status, &waved.json()["off"]), (200, &Value::Null), "{}", waved.text);
    let heard = socket.wait(PATIENCE, "the wave", |m| m["Collaboration"].is_object()).await;
    assert_eq!((&heard["Collaboration"]["user_id"], &heard["tr"]), (&json!("owner"), &json!(trace)));

    for (body, status, code) in [
        (json!({ "Notification": { "project_id": project, "level": "loud", "message": "x" } }), 422, "invalid"),
        (json!({ "Notification": { "project_id": project, "level": "info", "message": "" } }), 422, "invalid"),
        (
            json!({ "Notification": { "project_id": uuid::Uuid::now_v7(), "level": "info", "message": "x" } }),
            404,
            "not_found",
        ),
        (json!({ "Collaboration": { "project_id": project, "action": "claim" } }), 422, "invalid"),
        (json!({ "Ping": {} }), 422, "invalid"),
    ] {
        publish(&app, None, &body).await.problem(status, code);
    }
    let large = json!({ "DataUpdate": { "project_id": project, "entity": "e", "entity_id": "1", "action": "a", "data": "x".repeat(70_000) } });
    assert_eq!(publish(&app, None, &large).await.problem(413, "limit_exceeded")["limit"], "inbound_bytes");
    socket.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_asked_again_is_answered_as_the_first_time_and_heard_once() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let body = json!({ "Notification": { "project_id": project, "level": "info", "message": "once" } });
    let all = futures_util::future::join_all((0..8).map(|_| publish(&app, Some("k-1"), &body))).await;
    let fresh = all.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count();
    assert_eq!(fresh, 1, "one of the eight at once did it");
    assert!(all.iter().all(|answer| answer.status == 200 && answer.text == all[0].text), "with one answer");
    let other = json!({ "Notification": { "project_id": project, "level": "info", "message": "twice" } });
    publish(&app, Some("k-1"), &other).await.problem(422, "idempotency_key_reused");
    let next = publish(&app, Some("k-2"), &other).await.json();
    assert_eq!(next["off"].as_u64(), all[0].json()["off"].as_u64().map(|off| off + 1), "nothing in between");
    publish(&app, Some(""), &other).await.problem(400, "bad_request");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_owner_speaks_for_the_server() {
    let (app, _secret) = app_with(&[]).await;
    let body = json!({ "Notification": { "project_id": uuid::Uuid::now_v7(), "level": "info", "message": "x" } });
    for (role, status) in [("viewer", 403), ("reviewer", 403), ("owner", 404)] {
        let request =
            app.client.post(app.url("/api/realtime/publish")).bearer_auth(token("ana", role, 600)).json(&body);
        assert_eq!(app.send(request).await.status, status, "{role}");
    }
    app.stop().await;
}

/// What a printer of JSON would change: digits, spellings, order, what stands twice, space.
const AS_WRITTEN: [&str; 7] = [
    "1234567890123456.78",
    "123456789012345678901234567890",
    "[0.1234567890123456789,100.00,1E2,-0]",
    r#"{"z":1,"a":2,"z":3}"#,
    r#"{ "a" : [ 1 , 2 ],	"b":"\u00e9\ud800" }"#,
    "{\n  \"a\": 1.0\n}",
    "null",
];

fn update(project: &str, entity_id: usize, data: &str) -> String {
    format!(
        r#"{{"DataUpdate":{{"project_id":"{project}","entity":"e","entity_id":"{entity_id}","action":"a","data":{data}}}}}"#
    )
}

async fn publish_text(app: &TestApp, key: Option<&str>, body: String) -> Answer {
    let mut request = app.client.post(app.url("/api/realtime/publish")).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    app.send(request.body(body)).await
}

type Raw = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A WebSocket that has sent these and joined.
async fn joined(address: SocketAddr, sent: &[Value]) -> Raw {
    let mut request = format!("ws://{address}/ws").into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "tieout.v1+json".parse().unwrap());
    let (mut socket, _) = connect_async(request).await.unwrap();
    for message in sent {
        socket.send(Message::text(message.to_string())).await.unwrap();
    }
    texts(&mut socket, "ProjectJoined", 1).await;
    socket
}

/// The next frames of this kind, as they came.
async fn texts(socket: &mut Raw, kind: &str, wanted: usize) -> Vec<String> {
    let mut frames = Vec::new();
    while frames.len() < wanted {
        let frame = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap_or_else(|_| panic!("no {kind}"));
        let Message::Text(text) = frame.expect("the socket stays open").unwrap() else { continue };
        frames.extend(text.contains(kind).then(|| text.to_string()));
    }
    frames
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_is_stored_and_sent_byte_for_byte() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let head = app.get(&format!("/api/v1/projects/{project}")).await.json();
    let (ep, off) = (head["ep"].as_str().unwrap(), head["off"].as_u64().unwrap());
    let since = json!({ "JoinProject": { "project_id": project, "since": { "ep": ep, "off": off } } });
    for (n, data) in AS_WRITTEN.into_iter().enumerate() {
        let told = publish_text(&app, None, update(&project, n, data)).await;
        assert_eq!(told.status, 200, "{data}: {}", told.text);
    }
    // Out of the store, as one who comes back reads it, on both doors.
    let mut socket = joined(app.address(), &[since]).await;
    for (frame, data) in texts(&mut socket, "DataUpdate", AS_WRITTEN.len()).await.iter().zip(AS_WRITTEN) {
        assert!(frame.ends_with(&format!(r#""data":{data}}}}}"#)), "{data} came as {frame}");
    }
    let id = format!("{}~{ep}~{off}", project.replace('-', ""));
    let url = app.url(&format!("/events?project={project}&last_event_id={id}"));
    let mut stream = app.client.get(url).send().await.unwrap();
    let mut text = String::new();
    while text.matches("DataUpdate").count() < AS_WRITTEN.len() || !text.ends_with("\n\n") {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().expect("the stream goes on")).unwrap());
    }
    for data in AS_WRITTEN {
        // A line of an event begins with its name.
        let expected = format!(r#""data":{}}}}}"#, data.replace('\n', "\ndata: "));
        assert!(text.contains(&expected), "{data} is not in {text}");
    }
    drop((stream, socket));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_crosses_between_replicas_byte_for_byte() {
    let replicas = crate::mesh_support::Replicas::start(2).await;
    let project = replicas.project().await;
    let join = [json!({ "Auth": { "token": "bob" } }), json!({ "JoinProject": { "project_id": project } })];
    let mut socket = joined(replicas.all[1].address, &join).await;
    for data in AS_WRITTEN {
        let body = format!(
            r#""DataUpdate":{{"project_id":"{project}","entity":"e","entity_id":"1","action":"a","data":{data}}}"#
        );
        let published = publications::publish(&replicas.store.store, project, Some(body), None).await.unwrap();
        let Published::Now(_, Some(event)) = published else { panic!("{published:?}") };
        replicas.all[0].realtime.publish(event);
    }
    for (frame, data) in texts(&mut socket, "DataUpdate", AS_WRITTEN.len()).await.iter().zip(AS_WRITTEN) {
        assert!(frame.ends_with(&format!(r#""data":{data}}}}}"#)), "{data} came as {frame}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_tells_amounts_apart_to_the_last_digit_and_not_by_spelling() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let first = publish_text(&app, Some("k"), update(&project, 1, r#"{"a":1234567890123456.78,"b":"é"}"#)).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, ""), "{}", first.text);
    let respelled = update(&project, 1, "{ \"b\": \"\\u00e9\", \"a\": 1234567890123456.78 }");
    let again = publish_text(&app, Some("k"), respelled).await;
    assert_eq!((again.header("idempotency-replayed"), &again.text), ("true", &first.text));
    let other = publish_text(&app, Some("k"), update(&project, 1, r#"{"a":1234567890123456.79,"b":"é"}"#)).await;
    other.problem(422, "idempotency_key_reused");
    let deep = format!("{}1{}", "[".repeat(101), "]".repeat(101));
    let refused = publish_text(&app, None, update(&project, 1, &deep)).await.problem(422, "invalid");
    assert!(refused["detail"].as_str().unwrap().contains("deeper than 100"), "{refused}");
    app.stop().await;
}
