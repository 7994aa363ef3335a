//! Who is in a room, seen from any replica: one list, without flaps when users move from one to another.
use crate::{
    mesh_support::{Replicas, quick},
    ws_support::Client,
};
use serde_json::Value;
use std::{collections::BTreeSet, time::Duration};
use tieout::actors::replicas::MeshLimits;
use tieout::cluster::Fate;
use tieout::protocol::ids::ProjectId;

/// What a client shows, as it hears of it.
struct Watcher {
    client: Client,
    users: BTreeSet<String>,
    count: u64,
    rev: u64,
    /// Every name that was seen to go.
    left: Vec<String>,
    counts: Vec<u64>,
}

impl Watcher {
    async fn new(replicas: &Replicas, on: usize, user: &str, project: ProjectId) -> Self {
        let (client, joined) = replicas.joined(on, user, project).await;
        let presence = &joined["presence"];
        let users = presence["users"].as_array().unwrap().iter().map(text).collect();
        let (count, rev) = (presence["count"].as_u64().unwrap(), presence["rev"].as_u64().unwrap());
        Self { client, users, count, rev, left: Vec::new(), counts: vec![count] }
    }

    fn hear(&mut self, message: &Value) {
        let Some(diff) = message.get("PresenceDiff") else { return };
        assert_eq!(diff["rev"], self.rev + 1, "revisions go on by one: {diff}");
        self.rev += 1;
        self.count = diff["count"].as_u64().unwrap();
        self.counts.push(self.count);
        self.users.extend(diff["joins"].as_array().unwrap().iter().map(text));
        for user in diff["leaves"].as_array().unwrap().iter().map(text) {
            self.users.remove(&user);
            self.left.push(user);
        }
    }

    /// Reads until this is what it shows.
    async fn shows(&mut self, users: &[&str], count: u64) {
        let wanted: BTreeSet<String> = users.iter().map(ToString::to_string).collect();
        while (&self.users, self.count) != (&wanted, count) {
            let message = tokio::time::timeout(Duration::from_secs(20), self.client.message()).await;
            let Ok(message) = message else {
                panic!("waited for {wanted:?} ({count}), and shows {:?} ({})", self.users, self.count)
            };
            self.hear(&message);
        }
    }

    /// Reads until something said now has come, so that whatever was said before has too.
    async fn catch_up(&mut self, replicas: &Replicas, project: ProjectId, name: &str) {
        let off = replicas.change(0, project, name).await;
        loop {
            let message = self.client.message().await;
            self.hear(&message);
            if message["off"] == off {
                return;
            }
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a name").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_of_all_replicas_are_shown_as_one_list_and_a_user_on_two_is_one() {
    let replicas = Replicas::start(3).await;
    let project = replicas.project().await;
    let mut ana = Watcher::new(&replicas, 0, "ana", project).await;
    let mut bob = Watcher::new(&replicas, 1, "bob", project).await;
    let (second, _) = replicas.joined(2, "bob", project).await;
    ana.shows(&["ana", "bob"], 3).await;
    bob.shows(&["ana", "bob"], 3).await;
    drop(second);
    ana.shows(&["ana", "bob"], 2).await;
    bob.shows(&["ana", "bob"], 2).await;
    assert!(ana.left.is_empty() && bob.left.is_empty(), "bob was there all the time");
    // Who comes now is told of all of them.
    let mut cy = Watcher::new(&replicas, 2, "cy", project).await;
    assert!(cy.users.contains("ana") && cy.users.contains("bob"), "{:?}", cy.users);
    cy.shows(&["ana", "bob", "cy"], 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_who_joins_on_a_replica_is_told_at_once_who_is_there_elsewhere() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let mut ana = Watcher::new(&replicas, 0, "ana", project).await;
    ana.shows(&["ana"], 1).await;
    // Until the other replica has had a sign of life that names the room.
    let heard = replicas.beat_with(project);
    heard.await;
    let bob = Watcher::new(&replicas, 1, "bob", project).await;
    assert!(bob.users.contains("ana"), "{:?}", bob.users);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_right_in_the_end_though_the_bus_loses_doubles_and_delays() {
    let replicas = Replicas::with(3, MeshLimits { gone_after: Duration::from_secs(60), ..quick() }).await;
    let project = replicas.project().await;
    // By chance, for signs of life come in step, and a pattern could lose the same one always.
    replicas.bus.interfere(move |_, _| match rand::random_range(0..5) {
        0 => Fate::Lose,
        1 => Fate::Double,
        2 => Fate::Delay,
        _ => Fate::Deliver,
    });
    let mut watchers = Vec::new();
    for on in 0..3 {
        watchers.push(Watcher::new(&replicas, on, &format!("w{on}"), project).await);
    }
    let mut stay = Vec::new();
    for n in 0..12 {
        let (client, _) = replicas.joined(n % 3, &format!("u{n}"), project).await;
        if n % 2 == 0 {
            stay.push(client);
        }
    }
    let mut users: Vec<String> = (0..3).map(|on| format!("w{on}")).collect();
    users.extend((0..12).step_by(2).map(|n| format!("u{n}")));
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    for watcher in &mut watchers {
        watcher.shows(&users, users.len() as u64).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_moves_to_another_replica_was_never_away() {
    let replicas = Replicas::start(3).await;
    let project = replicas.project().await;
    let mut watcher = Watcher::new(&replicas, 2, "watcher", project).await;
    let mut here = replicas.joined(0, "ana", project).await.0;
    watcher.shows(&["ana", "watcher"], 2).await;
    for on in [1, 2, 0, 1] {
        drop(here);
        here = replicas.joined(on, "ana", project).await.0;
    }
    watcher.catch_up(&replicas, project, "later").await;
    watcher.shows(&["ana", "watcher"], 2).await;
    assert!(watcher.left.is_empty(), "{:?}", watcher.left);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_falls_silent_is_gone_after_a_while_and_its_users_with_it() {
    let replicas = Replicas::start(3).await;
    let project = replicas.project().await;
    let mut watcher = Watcher::new(&replicas, 0, "watcher", project).await;
    let _ana = replicas.joined(1, "ana", project).await;
    let _bob = replicas.joined(1, "bob", project).await;
    watcher.shows(&["ana", "bob", "watcher"], 3).await;
    let silent = replicas.all[1].id.clone();
    replicas.bus.interfere(move |message, _| if message.from == silent { Fate::Lose } else { Fate::Deliver });
    // Bob has come back elsewhere: not counted twice for longer than it takes to suspect.
    let _back = replicas.joined(2, "bob", project).await;
    watcher.shows(&["ana", "bob", "watcher"], 4).await;
    watcher.shows(&["ana", "bob", "watcher"], 3).await;
    assert!(watcher.left.is_empty(), "suspected is not gone: {:?}", watcher.left);
    watcher.shows(&["bob", "watcher"], 2).await;
    assert_eq!(watcher.left, ["ana"]);
    // It lived all the time: what it has to say is believed again.
    replicas.bus.leave_alone();
    watcher.shows(&["ana", "bob", "watcher"], 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_a_draining_replica_that_come_to_another_were_never_away() {
    let mut replicas = Replicas::with(3, MeshLimits { handoff: Duration::from_secs(3), ..quick() }).await;
    let project = replicas.project().await;
    let mut watcher = Watcher::new(&replicas, 0, "watcher", project).await;
    let mut moving = Vec::new();
    for user in ["ana", "bob", "cy"] {
        moving.push(replicas.joined(1, user, project).await.0);
    }
    watcher.shows(&["ana", "bob", "cy", "watcher"], 4).await;
    let ended = replicas.all.remove(1);
    let drained = tokio::spawn(async move {
        let left = ended.realtime.drain(Duration::from_secs(10)).await;
        ended.realtime.leave().await;
        left
    });
    for client in &mut moving {
        assert_eq!(client.closed().await.map(|frame| u16::from(frame.code)), Some(4503));
    }
    drop(moving);
    assert_eq!(drained.await.unwrap(), 0);
    // Only two of them come back.
    let _ana = replicas.joined(1, "ana", project).await;
    let _bob = replicas.joined(1, "bob", project).await;
    watcher.shows(&["ana", "bob", "watcher"], 3).await;
    assert_eq!(watcher.left, ["cy"], "nobody else was seen to go");
}
