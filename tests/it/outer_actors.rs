//! What an operator sees of the actors: one that is stuck is named in the log, the metrics and `/api/ready`; one that the server
//! can't do without ends the process in a defined way when its restarts are used up. Easy to get wrong: the server's watchdog has its
//! real limit of two seconds here, so the stall must outlast it.
use serde_json::json;

use crate::support::{Api, LONG, Options, Server, eventually};

/// What the gauge says.
async fn stuck_for(api: &Api) -> f64 {
    let metrics = api.get("/metrics").await.text;
    let line = metrics.lines().find(|l| l.starts_with("tieout_actor_stalled_seconds ")).expect("a gauge of stalls");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Longer than the watchdog's two seconds, with time to look.
const STUCK_MS: u64 = 5_000;

#[tokio::test]
async fn a_stuck_handler_is_named_in_the_log_the_metrics_and_readiness_until_it_returns() {
    let server = Server::start(Options::default().hooks()).await;
    let api = server.api();
    api.post("/api/test/stall", json!({ "for_ms": STUCK_MS })).await.expect(202);
    let stalled = eventually(LONG, "readiness to name the stall", || async {
        let ready = api.get("/api/ready").await;
        let body: serde_json::Value = serde_json::from_str(&ready.text).unwrap();
        let stalled = body["checks"]["actors"]["stalled"].clone();
        if ready.status == 503 && stalled.is_object() { Ok(stalled) } else { Err(ready.text) }
    })
    .await;
    assert_eq!(stalled["actor"], "hub", "{stalled}");
    assert!(stalled["message"].as_str().unwrap().ends_with("::StallNow"), "{stalled}");
    assert!(stalled["for_ms"].as_u64().unwrap() >= 2_000, "{stalled}");
    let stuck = stuck_for(&api).await;
    assert!(stuck >= 2.0, "the gauge says for how long: {stuck}");
    server.ready().await;
    assert!(stuck_for(&api).await == 0.0, "the gauge is back at nothing");
    let metrics = api.get("/metrics").await.text;
    let counted = metrics.lines().find(|l| l.starts_with("tieout_actor_stalls_total{")).expect("the stall is counted");
    assert!(
        counted.contains("actor=\"hub\"") && counted.contains("message=\"StallNow\"") && counted.ends_with(" 1"),
        "{counted}"
    );
    let log = server.log();
    let line = log.lines().find(|l| l.contains("a handler is stuck")).expect("a line of the log");
    assert!(line.contains("actor=hub") && line.contains("::StallNow") && line.contains("for=2."), "{line}");
    assert!(log.contains("a stuck handler returned actor=hub"), "{log}");
}

#[tokio::test]
async fn a_hub_that_uses_up_its_restarts_ends_the_process_in_order_with_an_error() {
    let mut server = Server::start(Options::default().hooks()).await;
    let api = server.api();
    let mut socket = server.socket().await;
    socket.join(&api.project("ends").await, None).await;
    // One more than the hub's intensity; those after the last find no server.
    for _ in 0..=20 {
        if api.try_post("/api/test/panic", json!({ "actor": "hub" })).await.is_err() {
            break;
        }
    }
    let status = server.exit(LONG).await;
    assert_eq!(status.code(), Some(3), "{status}\n{}", server.log());
    let log = server.log();
    let line = log.lines().find(|l| l.contains("stopping: an actor used up its restarts")).expect("a line of the log");
    assert!(line.contains("actor=hub") && line.contains("asked to panic by a test hook"), "{line}");
    assert!(log.contains("stopped clean=true"), "{log}");
}
