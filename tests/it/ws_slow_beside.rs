//! Slow clients beside quick ones: what is dropped, what is told, what is closed, and that nothing durable is lost, repeated
//! or reordered for anybody.
//!
//! Easy to get wrong: the kernel holds megabytes for a client that does not read, so a queue fills only by a flood; the
//! tests look at what waits, not at the clock.
use crate::{
    ws_slow::flood,
    ws_support::{Client, WsServer},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tieout::actors::rooms::Limits;
use tieout::protocol::ids::ProjectId;

/// Many times a frame: a queue with no place for one more would stay below three quarters for ever.
const QUEUE_BYTES: usize = 256 * 1024;
/// A frame may be added to a queue that is not yet full, and each connection has one half on the wire.
const ONE_FRAME: usize = 21_000;

fn limits() -> Limits {
    let never = Duration::from_secs(3600);
    Limits {
        inbound_rate: 0,
        queue_bytes: QUEUE_BYTES,
        no_progress: never,
        full_for: never,
        ping_every: never,
        ..Limits::default()
    }
}

/// Floods until more than `bytes` wait for those who do not read.
async fn flood_until(server: &WsServer, quick: &mut Client, project: ProjectId, bytes: usize) {
    let begun = Instant::now();
    while server.realtime.health().queued_bytes <= bytes {
        flood(quick, project, 20).await;
        assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", server.realtime.health());
    }
}

/// A client that holds every durable event against the one before it.
struct Follower {
    client: Client,
    ep: String,
    seen: u64,
    resyncs: u32,
}

impl Follower {
    async fn new(server: &WsServer, project: ProjectId) -> Self {
        let (client, joined) = server.joined(project).await;
        let ep = joined["ep"].as_str().unwrap().to_owned();
        Self { client, ep, seen: joined["off"].as_u64().unwrap(), resyncs: 0 }
    }

    /// Reads until event `last`, joining again whenever it is told that it missed something.
    async fn follow(&mut self, project: ProjectId, last: u64) {
        while self.seen < last {
            let message = self.client.message().await;
            if let Some(off) = message["off"].as_u64() {
                assert_eq!(off, self.seen + 1, "lost, repeated or reordered: {message}");
                self.seen = off;
            } else if message["ResyncRequired"].is_object() {
                self.resyncs += 1;
                let since = json!({"ep": self.ep, "off": self.seen});
                self.client.send(json!({"id": 900, "JoinProject": {"project_id": project, "since": since}})).await;
                // Whatever follows the notice belongs to no stream until the answer is here.
                let joined =
                    self.client.message_until(|m| m["re"] == 900, |m| assert!(m["off"].is_null(), "{m}")).await;
                assert_eq!(joined["ProjectJoined"]["recovered"], true, "{joined}");
            }
        }
    }
}

impl Client {
    /// The message that `wanted` accepts; `each` looks at those before it.
    async fn message_until(&mut self, wanted: impl Fn(&Value) -> bool, each: impl Fn(&Value)) -> Value {
        loop {
            let message = self.message().await;
            if wanted(&message) {
                return message;
            }
            each(&message);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_three_quarters_what_is_ephemeral_is_dropped_and_what_is_durable_is_kept() {
    let server = WsServer::with(true, limits()).await;
    let project = server.project().await;
    let (mut slow, joined) = server.joined(project).await;
    let (mut quick, _) = server.joined(project).await;
    let over = QUEUE_BYTES * 3 / 4;
    // What waits only grows by us and only shrinks by the kernel: over before and after is over all the while.
    let mut probe = 0;
    loop {
        flood_until(&server, &mut quick, project, over).await;
        probe += 1;
        quick.send(json!({"Collaboration": {"project_id": project, "action": "probe", "data": probe}})).await;
        quick.wait(|m| m["Collaboration"]["data"] == probe).await;
        if server.realtime.health().queued_bytes > over {
            break;
        }
    }
    let last = server.change(project, "kept").await;
    quick.wait(|m| m["off"] == last).await;
    assert!(server.realtime.health().queued_bytes <= QUEUE_BYTES, "{:?}", server.realtime.health());
    let kept = slow
        .message_until(
            |m| m["off"] == last,
            |m| {
                assert_ne!(m["Collaboration"]["data"], probe, "an ephemeral frame got in over three quarters");
                assert!(m["ResyncRequired"].is_null(), "nothing durable was dropped: {m}");
            },
        )
        .await;
    assert_eq!(kept["off"], joined["off"].as_u64().unwrap() + 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_told_4508_and_when_to_come_back() {
    let limits = Limits { no_progress: Duration::from_millis(200), ..limits() };
    let server = WsServer::with(true, limits).await;
    let project = server.project().await;
    let (mut slow, _) = server.joined(project).await;
    let (mut quick, _) = server.joined(project).await;
    flood_until(&server, &mut quick, project, QUEUE_BYTES / 2).await;
    // Closing drops what waited for rooms; from then on there are two seconds to read the close frame.
    let begun = Instant::now();
    while server.realtime.health().queued_bytes > ONE_FRAME {
        assert!(begun.elapsed() < Duration::from_secs(20), "never closed: {:?}", server.realtime.health());
        quick.ask("Ping", json!({})).await;
    }
    let close = slow.closed().await.expect("a close frame");
    assert_eq!(u16::from(close.code), 4508, "{close:?}");
    let reason: Value = serde_json::from_str(&close.reason).unwrap();
    assert!(reason["c"] == "SLOW" && reason["retry_ms"].is_u64(), "{reason}");
    let next = server.change(project, "after").await;
    quick.wait(|m| m["off"] == next).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_that_join_again_beside_quick_ones_lose_repeat_and_reorder_nothing() {
    const SLOW: usize = 3;
    let server = WsServer::with(true, limits()).await;
    let project = server.project().await;
    let mut talker = server.joined(project).await.0;
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(Follower::new(&server, project).await);
    }
    let (ends, end) = tokio::sync::watch::channel(0);
    let mut quick = Vec::new();
    for _ in 0..3 {
        let (mut follower, mut end) = (Follower::new(&server, project).await, end.clone());
        quick.push(tokio::spawn(async move {
            // Reads all the time: to event after event, until the last is known.
            loop {
                let last = *end.borrow_and_update();
                follower.follow(project, last).await;
                if end.changed().await.is_err() {
                    return follower;
                }
            }
        }));
    }
    let name = "x".repeat(190);
    for round in 0..3 {
        // Nobody of the slow reads: their queues fill and are discarded.
        flood_until(&server, &mut talker, project, SLOW * QUEUE_BYTES / 2).await;
        let begun = Instant::now();
        let mut last = 0;
        let mut most = server.realtime.health().queued_bytes;
        while server.realtime.health().queued_bytes > most / 4 {
            last = server.change(project, &format!("{name}{round}{last}")).await;
            ends.send_replace(last);
            talker.wait(|m| m["off"] == last).await;
            let queued = server.realtime.health().queued_bytes;
            assert!(queued <= (SLOW + 4) * (QUEUE_BYTES + ONE_FRAME), "past its bound: {queued}");
            most = most.max(queued);
            assert!(begun.elapsed() < Duration::from_secs(60), "the queues were never discarded");
        }
        for follower in &mut slow {
            follower.follow(project, last).await;
        }
    }
    assert_eq!(server.realtime.connections(), SLOW + 4, "nobody was closed");
    drop(ends);
    for follower in quick {
        let follower = follower.await.expect("a quick one does not fail");
        assert_eq!((follower.seen, follower.resyncs), (slow[0].seen, 0), "who reads is never told to join again");
    }
    let resyncs: u32 = slow.iter().map(|follower| follower.resyncs).sum();
    assert!(resyncs >= SLOW as u32, "each of the slow ones was discarded at least once: {resyncs}");
}
