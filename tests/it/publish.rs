//! The server API: a back end publishes to a room, once per key.
use crate::{
    http_support::{Answer, PATIENCE, TestApp},
    support::Socket,
    ws_auth::{app_with, token},
};
use serde_json::{Value, json};

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
