//! Durable events across replicas: every client gets every event once and in order, whatever the relay does to them.
use crate::mesh_support::{Replicas, quick};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tieout::actors::replicas::MeshLimits;
use tieout::cluster::{Channel, Fate, Link};
use tieout::db::projects;

/// Whether this message is about a room.
fn about_room(message: &tieout::cluster::Incoming) -> bool {
    matches!(message.channel, Channel::Room(_))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_committed_on_one_replica_reaches_the_clients_of_the_others_at_once() {
    let replicas = Replicas::start(3).await;
    let project = replicas.project().await;
    let (mut ana, joined) = replicas.joined(0, "ana", project).await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    let (mut cy, _) = replicas.joined(2, "cy", project).await;
    let from = joined["off"].as_u64().unwrap();
    for (n, on) in [0, 1, 2, 0].into_iter().enumerate() {
        let off = replicas.change(on, project, &format!("name {n}")).await;
        let expected = from + n as u64 + 1;
        assert_eq!(off, expected);
        for client in [&mut ana, &mut bob, &mut cy] {
            assert_eq!(client.offsets_until(off).await, [off]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_publishers_on_all_replicas_are_heard_in_one_order_though_the_bus_loses_doubles_and_delays() {
    const EACH: u64 = 60;
    let replicas = Replicas::with(3, MeshLimits { compare_every: Duration::from_millis(400), ..quick() }).await;
    let project = replicas.project().await;
    let seen = AtomicUsize::new(0);
    replicas.bus.interfere(move |message, _| match seen.fetch_add(1, Ordering::Relaxed) % 7 {
        _ if !about_room(message) => Fate::Deliver,
        0 | 4 => Fate::Lose,
        1 => Fate::Double,
        2 | 5 => Fate::Delay,
        _ => Fate::Deliver,
    });
    let mut clients = Vec::new();
    for on in 0..3 {
        clients.push(replicas.joined(on, &format!("u{on}"), project).await);
    }
    let publish = |realtime: tieout::actors::hub::Realtime| {
        let store = replicas.store.store.clone();
        async move {
            for n in 0..EACH {
                let renamed = projects::rename(&store, project, &format!("n{n}")).await.expect("renamed");
                if let Some(event) = renamed.event {
                    realtime.publish(event);
                }
            }
        }
    };
    let publishers: Vec<_> =
        replicas.all.iter().map(|replica| tokio::spawn(publish(replica.realtime.clone()))).collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let (_, head) = tieout::db::events::head(&replicas.store.store, project).await.unwrap();
    for (client, joined) in &mut clients {
        let from = joined["off"].as_u64().unwrap();
        assert_eq!(client.offsets_until(head).await, (from + 1..=head).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hole_is_filled_from_the_store_when_the_next_event_comes() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut bob, joined) = replicas.joined(1, "bob", project).await;
    let from = joined["off"].as_u64().unwrap();
    replicas.bus.interfere(|message, _| if about_room(message) { Fate::Lose } else { Fate::Deliver });
    replicas.change(0, project, "lost").await;
    replicas.change(0, project, "lost too").await;
    replicas.bus.leave_alone();
    let last = replicas.change(0, project, "heard").await;
    // Before the rooms are compared with the store, which a second after this one was opened they are.
    let filled = tokio::time::timeout(Duration::from_millis(500), bob.offsets_until(last)).await;
    assert_eq!(filled.expect("within half a second"), [from + 1, from + 2, from + 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_without_its_relay_commits_reaches_those_that_have_theirs_at_once() {
    let replicas = Replicas::over_postgres(2).await;
    let project = replicas.project().await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    // Bob's replica compares by the clock every ten minutes, and has no reason to do it sooner.
    replicas.bus.set_link(&replicas.all[1].id, Link::Up);
    replicas.bus.set_link(&replicas.all[0].id, Link::Down { reason: "cut by the test".to_owned() });
    for n in 0..3 {
        let off = replicas.change(0, project, &format!("unheard {n}")).await;
        assert_eq!(bob.offsets_until(off).await, [off]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replica_has_committed_while_its_link_was_down_is_looked_for_once_it_is_up() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    for n in 0..3 {
        // The first may be found because the room was opened just now, the others by nothing but the word of the one
        // that comes back.
        replicas.bus.set_link(&replicas.all[0].id, Link::Down { reason: "cut by the test".to_owned() });
        let off = replicas.change(0, project, &format!("unheard {n}")).await;
        // Clients are told when the replica has seen that it is down.
        let (mut ana, joined) = replicas.joined(0, &format!("ana {n}"), project).await;
        if joined["degraded"] != true {
            ana.wait(|message| message["Status"]["degraded"] == true).await;
        }
        replicas.bus.set_link(&replicas.all[0].id, Link::Up);
        assert_eq!(bob.offsets_until(off).await, [off]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_lost_for_a_moment_is_no_news_to_clients() {
    let replicas = Replicas::with(2, MeshLimits { degraded_after: Duration::from_secs(60), ..quick() }).await;
    let project = replicas.project().await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    replicas.bus.set_link(&replicas.all[1].id, Link::Down { reason: "cut by the test".to_owned() });
    // Found by the store, which is asked at once.
    let off = replicas.change(0, project, "unheard").await;
    let found = bob.wait(|message| message["off"] == off || message["Status"].is_object()).await;
    assert_eq!(found["off"], off, "{found}");
    replicas.bus.set_link(&replicas.all[1].id, Link::Up);
    let off = replicas.change(0, project, "heard").await;
    let found = bob.wait(|message| message["off"] == off || message["Status"].is_object()).await;
    assert_eq!(found["off"], off, "{found}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_falls_silent_without_a_word_loses_nothing() {
    let replicas = Replicas::with(2, MeshLimits { compare_every: Duration::from_millis(300), ..quick() }).await;
    let project = replicas.project().await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    replicas.bus.interfere(|_, _| Fate::Lose);
    // Nothing follows that would show the hole: only the comparison with the store does, again and again.
    for name in ["unheard", "unheard too", "and again"] {
        let off = replicas.change(0, project, name).await;
        assert_eq!(bob.offsets_until(off).await, [off]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_are_compared_at_once_when_the_relay_says_that_it_may_have_lost_something() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    replicas.bus.interfere(|message, _| if about_room(message) { Fate::Lose } else { Fate::Deliver });
    // Once, a moment after the room was opened; after that never by the clock.
    let off = replicas.change(0, project, "unheard").await;
    assert_eq!(bob.offsets_until(off).await, [off]);
    for name in ["unheard too", "and again"] {
        let off = replicas.change(0, project, name).await;
        replicas.bus.set_link(&replicas.all[1].id, Link::Up);
        assert_eq!(bob.offsets_until(off).await, [off]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_link_is_down_the_store_is_polled_and_clients_are_told() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut bob, joined) = replicas.joined(1, "bob", project).await;
    assert!(joined["degraded"].is_null(), "{joined}");
    let bob_is_on = &replicas.all[1];
    replicas.bus.set_link(&bob_is_on.id, Link::Down { reason: "cut by the test".to_owned() });
    let status = bob.wait(|message| message["Status"].is_object()).await;
    assert_eq!(status["Status"]["degraded"], true);
    let health = bob_is_on.realtime.health();
    assert!(!health.ok(), "ready says that it is degraded");
    assert_eq!(health.link, Link::Down { reason: "cut by the test".to_owned() });
    let (_, joined) = replicas.joined(1, "cy", project).await;
    assert_eq!(joined["degraded"], true, "who comes now is told as well: {joined}");
    for n in 0..3 {
        let off = replicas.change(0, project, &format!("unheard {n}")).await;
        assert_eq!(bob.offsets_until(off).await, [off]);
    }
    replicas.bus.set_link(&bob_is_on.id, Link::Up);
    let status = bob.wait(|message| message["Status"].is_object()).await;
    assert_eq!(status["Status"]["degraded"], false);
    assert!(bob_is_on.realtime.health().ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_hears_of_the_rooms_it_has_and_of_no_others() {
    let replicas = Replicas::start(2).await;
    let (here, elsewhere) = (replicas.project().await, replicas.project().await);
    let (mut bob, _) = replicas.joined(1, "bob", here).await;
    let strangers = Arc::new(AtomicUsize::new(0));
    let counted = strangers.clone();
    replicas.bus.interfere(move |message, _| {
        if matches!(message.channel, Channel::Room(room) if room != here) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        Fate::Deliver
    });
    replicas.change(0, elsewhere, "unheard").await;
    let off = replicas.change(0, here, "heard").await;
    bob.offsets_until(off).await;
    assert_eq!(strangers.load(Ordering::Relaxed), 0);
}
