//! SIGTERM: the process says that it goes, sends everybody away with a reason, and ends in time with code 0.
use std::time::Duration;

use serde_json::json;

use crate::support::{LONG, Options, Run, SHORT, Sample, Server, eventually};

#[tokio::test]
async fn sigterm_under_load_ends_in_time_and_the_work_goes_on_after_it() {
    let mut server = Server::start(Options::default()).await;
    let sample = Sample::new(20_000, 31);
    let run = Run::prepare(&server.api(), &sample).await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut socket = server.socket().await;
        socket.join(&run.project, None).await;
        clients.push(socket.collect());
    }
    let load: Vec<_> = (0..4).map(|_| tokio::spawn(ask_until_gone(server.api(), run.project.clone()))).collect();
    run.start().await;
    run.at_work(LONG).await;

    server.terminate();
    let status = server.exit(Duration::from_secs(40)).await;
    assert_eq!(status.code(), Some(0), "{status:?}");
    for client in clients {
        let (seen, ended) = client.finish(SHORT).await;
        assert_eq!(ended.code, Some(4503), "closed as draining: {ended:?}");
        let reason: serde_json::Value = serde_json::from_str(&ended.why).expect("the close reason is JSON");
        assert!(reason["retry_ms"].is_u64(), "each is told when to come back: {reason}");
        assert!(seen.iter().any(|m| m.get("Draining").is_some()), "Draining came before the close");
    }
    for task in load {
        task.await.expect("no request was answered with nonsense");
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());

    server.spawn();
    server.ready().await;
    run.completed(LONG).await;
    assert!(sample.score(&run.pairs().await).f1() >= 0.99);
}

#[tokio::test]
async fn an_idle_server_ends_at_once_on_sigterm() {
    let mut server = Server::start(Options::default()).await;
    server.terminate();
    assert_eq!(server.exit(Duration::from_secs(10)).await.code(), Some(0));
    assert!(server.api().try_get("/api/health").await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_draining_server_refuses_new_traffic_with_a_reason() {
    let mut server = Server::start(Options::default()).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(server.socket().await.collect());
    }
    server.terminate();
    // While it drains, whoever still reaches it is told 503; then nobody answers.
    eventually(LONG, "the server to say that it drains, or to be gone", || async {
        match server.api().try_get("/api/ready").await {
            Ok(answer) if answer.status == 503 && answer.text.contains("draining") => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.text)),
            Err(_) => Ok(()),
        }
    })
    .await;
    assert_eq!(server.exit(LONG).await.code(), Some(0));
}

/// Reads and writes until the server is gone; an answer is a success or a refusal with a reason, never a 500.
async fn ask_until_gone(api: crate::support::Api, project: String) {
    for n in 0.. {
        let Ok(answer) = api.try_get(&format!("/api/v1/projects/{project}/jobs")).await else { return };
        assert!([200, 503].contains(&answer.status), "{} {}", answer.status, answer.text);
        let body = json!({"name": format!("load {n}")});
        let Ok(answer) = api.try_post("/api/v1/projects", body).await else { return };
        assert!([201, 429, 503].contains(&answer.status), "{} {}", answer.status, answer.text);
    }
}
