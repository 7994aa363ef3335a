//! The start-up modes of the live part: on, lazy, off. Everything that is not live works in each.
use crate::support::{LONG, Options, Run, SHORT, Sample, Server, Socket};

#[tokio::test]
async fn realtime_off_refuses_the_websocket_with_a_reason_and_runs_jobs() {
    let server = Server::start(Options::default().arg("--realtime").arg("off")).await;
    let refusal = Socket::try_open(server.addr, &[]).await.err().expect("no WebSocket when realtime is off");
    assert!(refusal.starts_with("503 "), "{refusal}");
    assert!(refusal.contains("realtime_off"), "{refusal}");
    a_job_completes(&server).await;
}

#[tokio::test]
async fn realtime_lazy_starts_with_the_first_websocket() {
    let server = Server::start(Options::default().arg("--realtime").arg("lazy")).await;
    assert!(!actors(&server).await.contains("hub"), "no hub before it is needed");
    a_job_completes(&server).await;
    let project = server.api().project("lazy").await;
    let mut socket = server.socket().await;
    socket.join(&project, None).await;
    assert!(actors(&server).await.contains("hub"), "the first WebSocket started the hub");
    server.api().upload(&project, "a.csv", "id,amount\n1,1.00\n").await.expect(201);
    socket.wait(SHORT, "an event in lazy mode", |m| m["DataUpdate"]["entity"] == "source").await;
    assert_eq!(server.api().get("/api/ready").await.expect(200)["status"], "ready");
}

#[tokio::test]
async fn realtime_on_has_its_hub_before_the_first_websocket() {
    let server = Server::start(Options::default().env("TIEOUT_REALTIME", "on")).await;
    assert!(actors(&server).await.contains("hub"));
    a_job_completes(&server).await;
}

async fn a_job_completes(server: &Server) {
    let run = Run::prepare(&server.api(), &Sample::new(100, 51)).await;
    run.start().await;
    run.completed(LONG).await;
}

/// The actors as `/api/ready` reports them, in words.
async fn actors(server: &Server) -> String {
    server.api().get("/api/ready").await.expect(200)["checks"]["actors"].to_string()
}
