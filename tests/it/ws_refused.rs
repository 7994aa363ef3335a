//! Connections that are refused: told so that a browser learns why, and as HTTP says it to everybody else.
use crate::{
    http_support::{TestApp, eventually},
    support::{SHORT, Socket},
    ws_auth::{app_with, authenticated, token},
};
use reqwest::header::HeaderMap;
use serde_json::json;

fn handshake(app: &TestApp, path: &str) -> reqwest::RequestBuilder {
    let request = app.client.get(app.url(path)).header("connection", "Upgrade").header("upgrade", "websocket");
    request.header("sec-websocket-version", "13")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_with_one_connection_too_many_learns_the_limit_and_whether_to_come_back() {
    let (app, _secret) = app_with(&[("connections_per_user", "1"), ("max_sockets", "2")]).await;
    let ana = token("ana", "reviewer", 600);
    let (first, _) = authenticated(&app, &ana).await;
    let ticket = app.send(app.client.post(app.url("/api/realtime/ticket")).bearer_auth(&ana)).await;
    let path = format!("/ws?ticket={}", ticket.json()["ticket"].as_str().unwrap());
    let (error, ended) = Socket::refused_at(app.address(), &path).await;
    assert_eq!((&error["limit"], ended.code), (&json!("connections_per_user"), Some(4409)), "{error}");
    assert_eq!(ended.why, r#"{"c":"CONNECTION_LIMIT"}"#, "as she is, she need not come back");
    let (second, _) = authenticated(&app, &token("bob", "viewer", 600)).await;
    let (error, ended) = Socket::refused_at(app.address(), "/ws").await;
    assert_eq!((&error["limit"], ended.code), (&json!("max_sockets"), Some(4409)), "{error}");
    let reason: serde_json::Value = serde_json::from_str(&ended.why).unwrap();
    assert!(reason["retry_ms"].as_u64().is_some_and(|ms| ms >= 1_000), "there may be room later: {reason}");
    // Who can read an HTTP answer gets one.
    let bearer = format!("Bearer {ana}");
    let answer = Socket::try_open(app.address(), &[("authorization", &bearer)]).await.err().expect("refused");
    assert!(answer.starts_with("503 ") && answer.contains("max_sockets"), "{answer}");
    // Those who are refused take no place, whatever they do.
    let refused: Vec<_> = futures_util::future::join_all((0..50).map(|_| Socket::open(app.address()))).await;
    assert!(app.connections() <= 2);
    drop(refused);
    first.close().await;
    eventually("a place to be free", || app.connections() == 1).await;
    authenticated(&app, &ana).await.0.close().await;
    second.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_handshake_is_told_what_one_looks_like() {
    let app = TestApp::start(&[]).await;
    let upgrade =
        |headers: &HeaderMap| (headers.get("upgrade").cloned(), headers.get("sec-websocket-version").cloned());
    let plain = app.get("/ws").await;
    plain.problem(426, "upgrade_required");
    let old = app.send(handshake(&app, "/ws").header("sec-websocket-version", "8")).await;
    old.problem(426, "upgrade_required");
    for answer in [plain, old] {
        let (upgrade, version) = upgrade(&answer.headers);
        assert_eq!((upgrade.unwrap(), version.unwrap()), ("websocket".parse().unwrap(), "13".parse().unwrap()));
    }
    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    for key in ["", "short", "!!!!!!!!!!!!!!!!!!!!!!==", "dGhlIHNhbXBsZSBub25jZQ=A", "dGhlIHNhbXBsZSBub25jZR=="] {
        let answer = app.send(handshake(&app, "/ws").header("sec-websocket-key", key)).await;
        assert!(answer.problem(400, "bad_request")["detail"].as_str().unwrap().contains("Sec-WebSocket-Key"), "{key}");
    }
    let twice = handshake(&app, "/ws").header("sec-websocket-key", KEY).header("sec-websocket-key", KEY);
    app.send(twice).await.problem(400, "bad_request");
    let unknown = app.send(handshake(&app, "/ws?foo=1").header("sec-websocket-key", KEY)).await;
    assert!(unknown.problem(400, "bad_request")["detail"].as_str().unwrap().contains("foo"));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_to_a_clients_close_has_a_reason_like_every_other() {
    let app = TestApp::start(&[]).await;
    for (code, answered, reason) in
        [(1000, 1000, "NORMAL"), (4000, 4000, "NORMAL"), (1005, 1002, "PROTOCOL"), (999, 1002, "PROTOCOL")]
    {
        let mut socket = Socket::open(app.address()).await;
        socket.send_close(code, "see you").await;
        let ended = socket.ended(SHORT).await;
        assert_eq!((ended.code, ended.why), (Some(answered), format!(r#"{{"c":"{reason}"}}"#)), "{code}");
    }
    app.stop().await;
}
