//! Every limit of the realtime layer is a setting, and what is set is what the hub goes by.
//!
//! Easy to get wrong: a limit that was added without a setting keeps its default for ever; the pattern below names every
//! field, so the compiler asks for it.
use crate::{
    http_support::{PATIENCE, TestApp, eventually},
    support::Socket,
};
use serde_json::json;
use std::time::Duration;
use tieout::actors::rooms::{Limits, PresenceLimits};
use tieout::config::SETTINGS;

/// Each setting at a value that is not its default, and how the hub's limit shows.
const SET: &[(&str, &str, &str)] = &[
    ("max_sockets", "7", "sockets 7"),
    ("connections_per_user", "3", "connections_per_user 3"),
    ("pending_requests", "9", "pending_requests 9"),
    ("rooms_per_connection", "5", "rooms_per_connection 5"),
    ("max_message_rate", "11", "inbound_rate 11"),
    ("max_message_burst", "13", "inbound_burst 13"),
    ("inbound_bytes", "5KiB", "inbound_bytes 5120"),
    ("unauthenticated_bytes", "1KiB", "unauthenticated_bytes 1024"),
    ("queue_bytes", "8KiB", "queue_bytes 8192"),
    ("queue_frames", "17", "queue_frames 17"),
    ("queue_budget", "128KiB", "queue_budget 131072"),
    ("slow_no_progress", "1s", "no_progress 1s"),
    ("slow_full_for", "2s", "full_for 2s"),
    ("auth_within", "3s", "auth_within 3s"),
    ("auth_warning", "4s", "auth_warning 4s"),
    ("auth_grace", "6s", "auth_grace 6s"),
    ("ping_every", "7s", "ping_every 7s"),
    ("pong_within", "8s", "pong_within 8s"),
    ("claim_ttl", "9s", "claim_ttl 9s"),
    ("claims_per_project", "19", "claims_per_project 19"),
    ("outbound_bytes", "2KiB", "outbound_bytes 2048"),
    ("ring_frames", "21", "ring_frames 21"),
    ("ring_bytes", "3KiB", "ring_bytes 3072"),
    ("ring_age", "11s", "ring_age 11s"),
    ("room_kept", "12s", "room_kept 12s"),
    ("progress_every", "13ms", "progress_every 13ms"),
    ("gather", "4ms", "gather 4ms"),
    ("presence_every", "14ms", "presence.every 14ms"),
    ("presence_every_large", "15ms", "presence.every_large 15ms"),
    ("presence_large", "23", "presence.large 23"),
    ("presence_listed", "24", "presence.listed 24"),
    ("presence_sample", "25", "presence.sample 25"),
    ("presence_leave", "16ms", "presence.linger 16ms"),
    ("drain_window", "17s", "drain_window 17s"),
    ("drain_per_second", "27", "drain_per_second 27"),
];

/// Limits of live connections that are the door's and never reach the hub; `tickets` tests them.
const OF_THE_DOOR: &[&str] = &["ticket_ttl", "max_tickets"];

macro_rules! shown {
    ($prefix:literal, $($field:ident),+) => { vec![$(format!(concat!($prefix, stringify!($field), " {:?}"), $field)),+] };
}

/// Every limit as text.
fn show(limits: &Limits) -> Vec<String> {
    let Limits {
        sockets,
        rooms_per_connection,
        inbound_rate,
        inbound_burst,
        inbound_bytes,
        unauthenticated_bytes,
        queue_bytes,
        queue_frames,
        queue_budget,
        auth_within,
        auth_warning,
        auth_grace,
        ping_every,
        pong_within,
        no_progress,
        full_for,
        claim_ttl,
        claims_per_project,
        connections_per_user,
        pending_requests,
        outbound_bytes,
        ring_frames,
        ring_bytes,
        ring_age,
        room_kept,
        progress_every,
        presence,
        drain_window,
        drain_per_second,
        gather,
    } = limits;
    let PresenceLimits { every, every_large, large, listed, sample, linger } = presence;
    let mut all = shown!("presence.", every, every_large, large, listed, sample, linger);
    all.extend(shown!("", sockets, rooms_per_connection, inbound_rate, inbound_burst, inbound_bytes));
    all.extend(shown!("", unauthenticated_bytes, queue_bytes, queue_frames, queue_budget, auth_within, auth_warning));
    all.extend(shown!("", auth_grace, ping_every, pong_within, no_progress, full_for, claim_ttl, claims_per_project));
    all.extend(shown!("", connections_per_user, pending_requests, outbound_bytes, ring_frames, ring_bytes, ring_age));
    all.extend(shown!("", room_kept, progress_every, drain_window, drain_per_second, gather));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_limit_of_live_connections_and_rooms_is_a_setting_that_reaches_the_hub() {
    let defaults = show(&Limits::default());
    let settings: Vec<_> = SET.iter().map(|(name, value, _)| (*name, *value)).collect();
    let app = TestApp::start(&settings).await;
    let now = show(app.realtime().limits());
    app.stop().await;
    for (name, value, limit) in SET {
        assert!(now.iter().any(|have| have == limit), "{name} = {value} should give {limit}: {now:?}");
        assert!(!defaults.iter().any(|default| default == limit), "{limit} is the default: the row proves nothing");
    }
    assert_eq!(now.len(), SET.len(), "a limit that no setting sets: {now:?}");
    let groups = ["Limits of live connections", "Limits of rooms"];
    for setting in SETTINGS.iter().filter(|setting| groups.contains(&setting.group)) {
        let covered = SET.iter().any(|(name, ..)| *name == setting.name) || OF_THE_DOOR.contains(&setting.name);
        assert!(covered, "{} is a setting without a row here", setting.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_defaults_of_the_settings_are_those_of_the_hub() {
    let app = TestApp::start(&[]).await;
    assert_eq!(show(app.realtime().limits()), show(&Limits::default()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_keeps_an_event_and_itself_as_long_as_is_set() {
    let settings =
        [("outbound_bytes", "1KiB"), ("room_kept", "0s"), ("presence_leave", "0s"), ("presence_every", "10ms")];
    let app = TestApp::start(&settings).await;
    let project = app.project().await;
    let mut socket = Socket::open(app.address()).await;
    socket.join(&project, None).await;
    // Longer than `outbound_bytes`: where to fetch it comes in its place.
    let body = json!({ "DataUpdate": { "project_id": project, "entity": "ledger", "entity_id": "1", "action": "made",
        "data": "x".repeat(2_000) } });
    assert_eq!(app.post("/api/realtime/publish", body).await.status, 200);
    let heard = socket.wait(PATIENCE, "the update", |m| m["DataUpdate"].is_object()).await;
    assert!(heard["DataUpdate"]["url"].is_string() && heard["DataUpdate"]["data"].is_null(), "{heard}");
    socket.close().await;
    eventually("the connection to end", || app.connections() == 0).await;
    let forgotten = async {
        while app.realtime().counts().await.expect("the hub answers").rooms > 0 {
            tokio::task::yield_now().await;
        }
    };
    // Its default is a minute.
    tokio::time::timeout(Duration::from_secs(15), forgotten).await.expect("a room that nobody is in is forgotten");
    app.stop().await;
}
