//! The door of every request: one plain host, foreign pages, headers of every answer, and what strangers are told.
use crate::http_support::{PATIENCE, TestApp};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// The first line of the answer to a request that is sent as it stands.
async fn status_of(app: &TestApp, request: &str) -> String {
    let mut stream = TcpStream::connect(app.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server answers and closes").unwrap();
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_one_plain_host() {
    let app = TestApp::start(&[]).await;
    let end = "connection: close\r\n\r\n";
    for (head, status) in [
        ("GET /api/health HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", "400"),
        ("GET /api/health HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n", "400"),
        ("GET http://127.0.0.1:1@evil.example/api/health HTTP/1.1\r\nhost: localhost\r\n", "400"),
        ("GET /api/health HTTP/1.1\r\nhost: 127.0.0.1:1@evil.example\r\n", "400"),
        ("GET /api/health HTTP/1.1\r\n", "400"),
        ("GET http://evil.example/api/health HTTP/1.1\r\nhost: localhost\r\n", "421"),
        ("GET http://localhost/api/health HTTP/1.1\r\nhost: localhost\r\n", "200"),
    ] {
        let answered = status_of(&app, &format!("{head}{end}")).await;
        assert!(answered.starts_with(&format!("HTTP/1.1 {status} ")), "{head:?}: {answered}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_allowed_origins_may_ask_and_read_and_others_may_not() {
    const OK: &str = "https://ok.example";
    let app = TestApp::start(&[("allowed_origins", OK)]).await;
    let preflight = |origin: &'static str| {
        let request =
            app.client.request(reqwest::Method::OPTIONS, app.url("/api/v1/projects")).header("origin", origin);
        request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
    };
    let asked = app.send(preflight(OK)).await;
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, OK), "{}", asked.text);
    for (header, words) in [
        ("access-control-allow-methods", &["POST", "PATCH", "DELETE"][..]),
        ("access-control-allow-headers", &["authorization", "content-type", "idempotency-key"]),
        ("access-control-max-age", &["600"]),
    ] {
        assert!(words.iter().all(|word| asked.header(header).contains(word)), "{header}: {}", asked.header(header));
    }
    app.send(preflight("https://evil.example")).await.problem(403, "forbidden");
    let made =
        app.client.post(app.url("/api/v1/projects")).header("origin", OK).json(&serde_json::json!({"name": "p"}));
    let made = app.send(made).await;
    assert_eq!((made.status, made.header("access-control-allow-origin")), (201, OK));
    assert!(made.header("access-control-expose-headers").contains("location"));
    // What went wrong is readable too, and what is said to others is not given to this page by a cache.
    let missing = app.send(app.client.get(app.url("/nowhere")).header("origin", OK)).await;
    assert_eq!((missing.status, missing.header("access-control-allow-origin")), (404, OK));
    let own = app.get("/api/v1/projects").await;
    assert_eq!((own.header("access-control-allow-origin"), own.header("vary")), ("", "origin"));
    app.stop().await;

    let app = TestApp::start(&[]).await;
    let request = app.client.request(reqwest::Method::OPTIONS, app.url("/api/v1/projects"));
    let closed = app.send(request.header("origin", OK).header("access-control-request-method", "POST")).await;
    closed.problem(403, "forbidden");
    assert_eq!(closed.header("access-control-allow-origin"), "");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_keeps_other_sites_out() {
    let app = TestApp::start(&[]).await;
    for path in ["/", "/app.js", "/api/health", "/api/v1/projects", "/openapi.json", "/nowhere"] {
        let answer = app.get(path).await;
        for (header, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(header), value, "{header} of {path}");
        }
        assert!(answer.header("permissions-policy").contains("camera=()"), "{path}");
    }
    let image = app.client.get(app.url("/api/v1/projects")).header("sec-fetch-site", "cross-site");
    app.send(image).await.problem(403, "forbidden");
    let link = app.client.get(app.url("/")).header("sec-fetch-site", "cross-site");
    assert_eq!(app.send(link).await.status, 200, "the page may be linked to");
    app.stop().await;
}
