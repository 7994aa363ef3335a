//! A panic inside an actor while clients are connected: they notice nothing but a short delay.
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{
    Api, LONG, Options, Run, SHORT, Sample, Server,
    http::text,
    socket::{Collector, assert_gapless},
};

const CLIENTS: usize = 100;
const EVENTS: u64 = 120;

#[tokio::test]
async fn a_panicking_hub_costs_no_socket_and_no_event() {
    let mut server = Server::start(Options::default().hooks()).await;
    let api = server.api();
    let project = api.project("panic").await;
    let mut clients: Vec<(u64, Collector)> = Vec::new();
    for _ in 0..CLIENTS {
        let mut socket = server.socket().await;
        let joined = socket.join(&project, None).await;
        clients.push((joined["off"].as_u64().expect("off"), socket.collect()));
    }
    for n in 0..EVENTS {
        if n % 40 == 20 {
            panic_in(&api, "hub").await;
        }
        upload(&api, &project, n).await;
    }
    for (_, client) in &mut clients {
        client.reached(EVENTS as usize, LONG).await.unwrap_or_else(|seen| panic!("{seen}"));
        assert!(client.open(), "the hub's panic closed a socket");
    }
    server.assert_running();
    let health = api.get("/api/ready").await.expect(200);
    assert_eq!(health["status"], "ready", "{health}");

    // A late client that joins the restarted hub sees the same history.
    let mut late = server.socket().await;
    let head = late.join(&project, None).await["off"].as_u64().expect("off");
    server.terminate();
    for (n, (from, client)) in clients.into_iter().enumerate() {
        let (seen, ended) = client.finish(LONG).await;
        assert_gapless(&format!("client {n}"), &seen, from + 1, head);
        assert_eq!(ended.code, Some(4503), "the socket lived until the server drained it: {ended:?}");
    }
    assert!(server.exit(LONG).await.success(), "a server that had panics inside still ends cleanly");
}

#[tokio::test]
async fn a_panicking_shard_costs_its_own_connections_and_they_come_back_to_it() {
    let server = Server::start(Options::default().hooks().arg("--socket-threads").arg("2")).await;
    let api = server.api();
    let project = api.project("shards").await;
    let mut clients: Vec<Collector> = Vec::new();
    let mut epoch = String::new();
    for _ in 0..8 {
        let mut socket = server.socket().await;
        epoch = text(&socket.join(&project, None).await, "ep");
        clients.push(socket.collect());
    }
    upload(&api, &project, 1).await;
    for client in &mut clients {
        client.reached(1, LONG).await.unwrap_or_else(|seen| panic!("{seen}"));
    }
    panic_in(&api, "shard").await;
    upload(&api, &project, 2).await;
    let mut lost = Vec::new();
    for mut client in clients {
        // Every second connection is the other shard's.
        match client.reached(2, SHORT).await {
            Ok(()) => assert!(client.open()),
            Err(_) => lost.push(client.finish(LONG).await.0),
        }
    }
    assert_eq!(lost.len(), 4, "the shard's connections and no others");
    for (n, seen) in lost.iter().enumerate() {
        let off = seen.iter().filter_map(|message| message["off"].as_u64()).max().expect("the first upload");
        // Both shards in turn take the new ones.
        let mut again = server.socket().await;
        let joined = again.join(&project, Some((&epoch, off))).await;
        assert_eq!(joined["recovered"], true, "client {n}: {joined}");
        again.wait(SHORT, "what it missed", |m| m["off"] == off + 1).await;
    }
    // Whoever comes in at that moment is closed or served, never left hanging.
    for _ in 0..30 {
        let (_, mut newcomers) = tokio::join!(panic_in(&api, "shard"), async {
            let mut sockets = Vec::new();
            for _ in 0..4 {
                sockets.push(server.socket().await);
            }
            sockets
        });
        for socket in &mut newcomers {
            if socket.try_send(json!({"id": 1, "Ping": {}}).to_string()).await {
                drop(timeout(LONG, socket.next()).await.expect("an answer or an end"));
            }
        }
    }
    assert_eq!(api.get("/api/ready").await.expect(200)["status"], "ready");
}

#[tokio::test]
async fn a_job_survives_a_panic_of_the_hub_that_shows_it() {
    let server = Server::start(Options::default().hooks()).await;
    let sample = Sample::new(10_000, 21);
    let run = Run::prepare(&server.api(), &sample).await;
    run.start().await;
    run.at_work(LONG).await;
    panic_in(&run.api, "hub").await;
    run.completed(LONG).await;
    assert!(sample.score(&run.pairs().await).f1() >= 0.99);
    server.assert_running();
}

#[tokio::test]
async fn asking_a_hub_that_restarts_answers_in_time() {
    let server = Server::start(Options::default().hooks()).await;
    let api = server.api();
    let project = api.project("asks").await;
    panic_in(&api, "hub").await;
    let path = format!("/api/v1/projects/{project}/claims");
    let answer = api.post(&path, json!({"entity_id": "match-1"})).await;
    assert!([200, 503].contains(&answer.status), "granted, or a retryable no: {} {}", answer.status, answer.text);
    let mut socket = server.socket().await;
    socket.join(&project, None).await;
    upload(&api, &project, 1).await;
    socket.wait(SHORT, "an event after the restart", |m| m["DataUpdate"]["entity"] == "source").await;
}

#[tokio::test]
async fn the_panic_hook_is_off_unless_asked_for() {
    let server = Server::start(Options::default()).await;
    let answer = server.api().post("/api/test/panic", json!({"actor": "hub"})).await;
    assert_eq!(answer.status, 404, "{}", answer.text);
}

async fn panic_in(api: &Api, actor: &str) {
    let answer = api.post("/api/test/panic", json!({"actor": actor})).await;
    assert!((200..300).contains(&answer.status), "the hook for {actor}: {} {}", answer.status, answer.text);
}

async fn upload(api: &Api, project: &str, n: u64) -> Value {
    let source = api.upload(project, &format!("f{n}.csv"), format!("id,amount\n{n},{n}.00\n")).await.expect(201);
    assert!(!text(&source, "id").is_empty());
    source
}
