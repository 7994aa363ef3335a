//! Tickets: one connection each, for a short time, for the user who asked.
use crate::{
    http_support::{TestApp, eventually},
    support::Socket,
    ws_auth::{app_with, token},
};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

async fn ticket(app: &TestApp, token: &str) -> String {
    let answer = app.send(app.client.post(app.url("/api/realtime/ticket")).bearer_auth(token)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(answer.json()["expires_at_ms"].as_i64().unwrap() > 0);
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

async fn opened(app: &TestApp, path: &str, headers: &[(&'static str, &str)]) -> Result<Socket, String> {
    Socket::try_open_at(app.address(), path, headers).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_one_socket_as_the_user_who_asked_for_it() {
    let (app, _secret) = app_with(&[]).await;
    app.send(app.client.post(app.url("/api/realtime/ticket"))).await.problem(401, "unauthorized");
    let word = ticket(&app, &token("ana", "reviewer", 600)).await;
    let path = format!("/ws?ticket={word}");
    let mut socket = opened(&app, &path, &[]).await.expect("opens without a header and without Auth");
    let project = uuid::Uuid::now_v7().to_string();
    let reply = socket.ask("JoinProject", json!({ "project_id": project })).await;
    assert_eq!(reply["Error"]["code"], "NOT_FOUND", "authenticated already: {reply}");
    let other = socket.ask("Auth", json!({ "token": token("bob", "owner", 600) })).await;
    assert_eq!(other["Error"]["code"], "AUTH_ERROR", "the connection is ana's: {other}");
    for path in [&path, "/ws?ticket=guess"] {
        let (error, ended) = Socket::refused_at(app.address(), path).await;
        assert_eq!((&error["code"], ended.code), (&json!("AUTH_ERROR"), Some(4401)), "{path}: {error}");
        assert_eq!(ended.why, r#"{"c":"TOKEN"}"#, "used up, or never given out");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_of_no_use_to_another_user_or_after_its_time() {
    let (app, _secret) = app_with(&[("ticket_ttl", "100ms"), ("max_tickets", "2")]).await;
    let first = ticket(&app, &token("ana", "viewer", 600)).await;
    let bob = format!("Bearer {}", token("bob", "viewer", 600));
    let refused =
        opened(&app, &format!("/ws?ticket={first}"), &[("authorization", &bob)]).await.err().expect("refused");
    assert!(refused.starts_with("401"), "{refused}");
    let answer =
        app.send(app.client.post(app.url("/api/realtime/ticket")).bearer_auth(token("ana", "viewer", 600))).await;
    let (late, lapses) = (answer.json()["ticket"].as_str().unwrap().to_owned(), answer.json()["expires_at_ms"].clone());
    let now_ms = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    eventually("the ticket lapses", || now_ms() > lapses.as_i64().unwrap()).await;
    let (_, ended) = Socket::refused_at(app.address(), &format!("/ws?ticket={late}")).await;
    assert_eq!(ended.code, Some(4401));
    app.stop().await;
}
