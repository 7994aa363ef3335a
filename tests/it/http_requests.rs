//! What every request gets: an id, a problem body when it is refused, and an answer within its limits.
use crate::http_support::{PATIENCE, TestApp};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_a_problem_with_the_request_id() {
    let app = TestApp::start(&[]).await;
    app.get("/nowhere").await.problem(404, "not_found");
    app.get("/api/v1/projects/not-an-id").await.problem(404, "not_found");
    app.get("/api/v1/projects/01890000-0000-7000-8000-000000000000").await.problem(404, "not_found");
    app.send(app.client.put(app.url("/api/health"))).await.problem(405, "method_not_allowed");
    app.get("/api/v1/projects?limit=many").await.problem(400, "bad_request");
    app.get("/api/v1/projects?size=1").await.problem(400, "bad_request");
    app.post("/api/v1/projects", json!({"nam": "x"})).await.problem(422, "invalid");
    app.post("/api/v1/projects", json!({"name": " "})).await.problem(422, "invalid");
    let text = app.client.post(app.url("/api/v1/projects")).body("{}");
    app.send(text).await.problem(415, "unsupported_media_type");
    let broken = app.client.post(app.url("/api/v1/projects")).header("content-type", "application/json").body("{");
    app.send(broken).await.problem(400, "bad_request");
    let own = app.client.get(app.url("/nowhere")).header("x-request-id", "mine-1");
    assert_eq!(app.send(own).await.problem(404, "not_found")["request_id"], "mine-1");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_in_a_handler_is_answered_and_costs_nothing_else() {
    let app = TestApp::start(&[("enable_test_hooks", "true")]).await;
    let body = app.post("/api/test/panic", json!({"actor": "handler"})).await.problem(500, "internal");
    assert!(!body["detail"].as_str().unwrap().contains("a test asked"), "the cause is for the log: {body}");
    assert_eq!(app.get("/api/health").await.status, 200);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_test_hook_is_not_there_unless_asked_for() {
    let app = TestApp::start(&[]).await;
    app.post("/api/test/panic", json!({"actor": "handler"})).await.problem(404, "not_found");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_json_body_past_its_limit_is_refused_by_name() {
    let app = TestApp::start(&[("max_body_bytes", "2KiB")]).await;
    let body = app.post("/api/v1/projects", json!({"name": "x".repeat(4096)})).await.problem(413, "limit_exceeded");
    assert_eq!(body["limit"], "max_body_bytes");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_past_the_limit_is_answered_with_the_limits_name() {
    let app = TestApp::start(&[("max_http_connections", "1")]).await;
    let mut first = TcpStream::connect(app.address()).await.unwrap();
    first.write_all(b"GET /api/health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut seen = [0; 12];
    first.read_exact(&mut seen).await.unwrap();
    assert_eq!(&seen, b"HTTP/1.1 200");
    let refused = app.get("/api/health").await;
    assert_eq!(refused.problem(503, "limit_exceeded")["limit"], "max_http_connections");
    assert!(!refused.header("retry-after").is_empty());
    drop(first);
    let mut free = false;
    for _ in 0..1000 {
        free = app.get("/api/health").await.status == 200;
        if free {
            break;
        }
    }
    assert!(free, "the place of a closed connection is free again");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_sends_no_request_is_let_go() {
    let app = TestApp::start(&[("header_timeout", "200ms")]).await;
    for sent in [&b""[..], b"PRI", b"GET / HT"] {
        let mut silent = TcpStream::connect(app.address()).await.unwrap();
        silent.write_all(sent).await.unwrap();
        let mut rest = Vec::new();
        let ended = timeout(PATIENCE, silent.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the server kept a connection that had sent {sent:?}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_with_prior_knowledge_is_served_on_the_same_port() {
    let app = TestApp::start(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge().timeout(PATIENCE).build().unwrap();
    let answer = client.get(app.url("/api/health")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.version()), (200, reqwest::Version::HTTP_2));
    drop((answer, client));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_with_a_tag_and_a_policy() {
    let app = TestApp::start(&[]).await;
    let page = app.get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(page.header("content-security-policy").contains("default-src 'self'"));
    let again = app.client.get(app.url("/")).header("if-none-match", page.header("etag"));
    assert_eq!(app.send(again).await.status, 304);
    for path in page.text.split('"').filter(|word| word.starts_with('/') && word.contains('.')) {
        assert_eq!(app.get(path).await.status, 200, "the page asks for {path}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_routes_and_not_ids() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    app.get(&format!("/api/v1/projects/{project}")).await;
    let text = app.get("/metrics").await.text;
    assert!(text.contains("route=\"/api/v1/projects/{id}\""), "{text}");
    assert!(!text.contains(&project), "{text}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_granted_once_and_released() {
    let app = TestApp::start(&[]).await;
    let claims = format!("/api/v1/projects/{}/claims", app.project().await);
    let first = app.post(&claims, json!({"entity_id": "m1"})).await;
    assert_eq!((first.status, &first.json()["granted"]), (200, &json!(true)), "{}", first.text);
    let release = app.client.delete(app.url(&format!("{claims}/m1")));
    assert_eq!(app.send(release).await.status, 204);
    let again = app.client.delete(app.url(&format!("{claims}/m1")));
    app.send(again).await.problem(404, "not_found");
    app.post(&claims, json!({"entity_id": ""})).await.problem(422, "invalid");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_idle_connections_at_once() {
    let app = TestApp::start(&[]).await;
    let mut idle = TcpStream::connect(app.address()).await.unwrap();
    idle.write_all(b"GET /api/health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut seen = [0; 12];
    idle.read_exact(&mut seen).await.unwrap();
    timeout(PATIENCE, app.stop()).await.expect("the stop does not wait for an idle connection");
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_is_a_clear_error() {
    let app = TestApp::start(&[]).await;
    let taken = app.address().to_string();
    let values = [("listen", taken.clone()), ("data_dir", "unused".into())].into();
    let flags = tieout::config::Overrides { config: None, values };
    let config = tieout::config::Config::load_from(&flags, &|_| None).unwrap();
    let error = tieout::app::App::start(config).await.err().expect("the port is taken").to_string();
    assert!(error.contains(&taken) && error.contains("--listen"), "{error}");
    app.stop().await;
}
