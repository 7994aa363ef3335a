//! A client that does not read: it is told to resynchronise, then closed; nobody else notices.
use crate::ws_support::{Client, WsServer};
use futures_util::SinkExt;
use serde_json::json;
use std::time::{Duration, Instant};
use tieout::actors::rooms::Limits;

fn limits() -> Limits {
    let never = Duration::from_secs(3600);
    // Who does not read does not answer pings either; here only the queue decides.
    Limits { inbound_rate: 0, queue_bytes: 64 * 1024, no_progress: never, ping_every: never, ..Limits::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_member_resynchronises_and_loses_nothing() {
    let server = WsServer::with(true, limits()).await;
    let project = server.project().await;
    let (mut slow, joined) = server.joined(project).await;
    let (mut quick, _) = server.joined(project).await;
    let ep = joined["ep"].as_str().unwrap().to_owned();
    let from = joined["off"].as_u64().unwrap();
    // Until the slow one's kernel buffers and its queue are full.
    let name = "x".repeat(190);
    let mut last = from;
    let begun = Instant::now();
    while server.realtime.health().queued_bytes < 40 * 1024 {
        flood(&mut quick, project, 50).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "the queue never filled");
    }
    let mut most = 0;
    let mut after = 0;
    while after < 20 {
        last = server.change(project, &format!("{name}{last}")).await;
        let queued = server.realtime.health().queued_bytes;
        most = most.max(queued);
        // What waited for the room was discarded: from here on the slow one misses events.
        after += u32::from(queued < most / 2);
        assert!(begun.elapsed() < Duration::from_secs(100), "the queue was never discarded");
    }
    quick.wait(|m| m["off"] == last).await;
    assert!(server.realtime.health().queued_bytes <= 80 * 1024, "{:?}", server.realtime.health());

    let mut seen = from;
    loop {
        let message = slow.message().await;
        if let Some(off) = message["off"].as_u64().filter(|_| message["ep"].is_string()) {
            assert_eq!(off, seen + 1, "in order until it is told that it missed something");
            seen = off;
        }
        if message["ResyncRequired"].is_object() {
            assert_eq!(message["ResyncRequired"]["project_id"], json!(project));
            break;
        }
    }
    let joined = slow.join(project, Some((&ep, seen))).await;
    assert_eq!(joined["recovered"], true, "{joined}");
    assert_eq!(slow.offsets_until(last).await, (seen + 1..=last).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_never_reads_is_closed() {
    let limits = Limits { no_progress: Duration::from_millis(300), ..limits() };
    let server = WsServer::with(true, limits).await;
    let project = server.project().await;
    let (_stuck, _) = server.joined(project).await;
    let (mut quick, _) = server.joined(project).await;
    let begun = Instant::now();
    while server.realtime.connections() > 1 {
        flood(&mut quick, project, 50).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "the stuck connection was never closed");
    }
    assert_eq!(server.realtime.health().queued_bytes, 0, "what it had queued is given back");
    let next = server.change(project, "after").await;
    quick.wait(|m| m["off"] == next).await;
}

/// Large ephemeral frames to the room, each awaited by their sender.
pub(crate) async fn flood(client: &mut Client, project: tieout::protocol::ids::ProjectId, count: usize) {
    let body = json!({"project_id": project, "action": "note", "data": "y".repeat(20_000)});
    for _ in 0..count {
        client.socket.feed(json!({"Collaboration": body}).to_string().into()).await.expect("feeds");
    }
    client.socket.flush().await.expect("flushes");
    for _ in 0..count {
        client.wait(|m| m["Collaboration"]["action"] == "note").await;
    }
}
