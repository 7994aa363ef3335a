//! What an operator and a browser see first: health, readiness, metrics, the page, and both HTTP versions.
use crate::support::{LONG, Options, Run, SHORT, Sample, Server};

#[tokio::test]
async fn health_and_readiness_say_what_an_operator_needs() {
    let server = Server::start(Options::default()).await;
    let health = server.api().get("/api/health").await.expect(200);
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_seconds"].is_number(), "{health}");
    let ready = server.api().get("/api/ready").await.expect(200);
    assert_eq!(ready["status"], "ready");
    for check in ["store", "actors", "realtime", "relay"] {
        assert!(ready["checks"][check].is_object(), "readiness names `{check}`: {ready}");
    }
}

#[tokio::test]
async fn http_1_and_http_2_reach_the_same_server() {
    let mut server = Server::start(Options::default()).await;
    let url = format!("http://{}/api/health", server.addr);
    let one = reqwest::Client::builder().http1_only().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!((one.version(), one.status().as_u16()), (reqwest::Version::HTTP_11, 200));
    let two = reqwest::Client::builder().http2_prior_knowledge().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!((two.version(), two.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    // Awaited here, so that the HTTP/2 client is there to agree to the end of its idle connection.
    server.terminate();
    assert!(server.exit(SHORT).await.success());
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = Server::start(Options::default()).await;
    let run = Run::prepare(&server.api(), &Sample::new(50, 81)).await;
    let mut socket = server.socket().await;
    socket.join(&run.project, None).await;
    run.start().await;
    run.completed(LONG).await;
    let metrics = server.api().get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let value = |name: &str| -> f64 {
        let line = metrics.text.lines().find(|l| l.starts_with(name) && !l.starts_with('#'));
        let line = line.unwrap_or_else(|| panic!("no metric {name} in\n{}", metrics.text));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value(r#"tieout_rt_publish_total{kind="durable"}"#) >= 1.0);
    assert!(value("tieout_rt_deliveries_total") >= 1.0);
    assert!(value("tieout_http_connections") >= 1.0);
    assert_eq!((value("tieout_rt_connections"), value("tieout_rt_subscriptions")), (1.0, 1.0));
}

#[tokio::test]
async fn the_page_comes_from_the_binary_and_asks_no_other_host() {
    let server = Server::start(Options::default()).await;
    let page = server.api().get("/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap_or_default().starts_with("text/html"));
    let policy = page.header("content-security-policy").expect("the page has a policy").to_owned();
    assert!(policy.contains("default-src 'self'") || policy.contains("default-src 'none'"), "{policy}");
    for (at, _) in page.text.match_indices("://") {
        let near = &page.text[at.saturating_sub(8)..(at + 40).min(page.text.len())];
        assert!(near.contains("www.w3.org"), "the page names another host: {near}");
    }
}

#[tokio::test]
async fn a_bad_setting_is_named_with_its_place_and_the_process_does_not_start() {
    let mut server = Server::launch(Options::default().env("TIEOUT_MAX_OPEN_JOBS", "many"));
    let status = server.exit(LONG).await;
    assert!(matches!(status.code(), Some(1 | 2)), "{status:?}");
    for word in ["max_open_jobs", "many", "TIEOUT_MAX_OPEN_JOBS"] {
        assert!(server.log().contains(word), "`{word}` in: {}", server.log());
    }
}
