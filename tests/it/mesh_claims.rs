//! Claims across replicas: the store decides, and every room is shown who has what.
use crate::{
    mesh_support::{Replicas, limits, quick},
    ws_support::Client,
};
use serde_json::{Value, json};
use std::time::Duration;
use tieout::actors::replicas::MeshLimits;
use tieout::actors::rooms::Limits;
use tieout::cluster::{Fate, Link};
use tieout::protocol::ids::ProjectId;

async fn ask(client: &mut Client, action: &str, project: ProjectId) -> Value {
    client.ask("Collaboration", json!({ "project_id": project, "action": action, "entity_id": "m1" })).await
}

/// The room is told this of the claim.
async fn told(client: &mut Client, action: &str) -> Value {
    let wanted = |message: &Value| message["Collaboration"]["action"] == action && message["re"].is_null();
    client.wait(wanted).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_made_on_one_replica_is_shown_and_refused_on_the_others_until_it_is_released() {
    let replicas = Replicas::start(3).await;
    let project = replicas.project().await;
    let (mut ana, _) = replicas.joined(0, "ana", project).await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    let (mut cy, _) = replicas.joined(2, "cy", project).await;
    let granted = ask(&mut ana, "claim", project).await;
    assert_eq!(granted["Collaboration"]["action"], "claimed", "{granted}");
    for client in [&mut bob, &mut cy] {
        let news = told(client, "claimed").await;
        assert_eq!((&news["Collaboration"]["user_id"], &news["by"]), (&json!("ana"), &granted["by"]), "{news}");
        assert_eq!(news["Collaboration"]["fence"], granted["Collaboration"]["fence"]);
    }
    let refused = ask(&mut bob, "claim", project).await;
    assert_eq!((&refused["Error"]["code"], &refused["Error"]["holder"]), (&json!("ALREADY_CLAIMED"), &json!("ana")));
    let (_, joined) = replicas.joined(1, "dee", project).await;
    assert_eq!(joined["claims"][0]["user_id"], "ana", "{joined}");
    ask(&mut ana, "release", project).await;
    for client in [&mut bob, &mut cy] {
        told(client, "released").await;
    }
    let granted = ask(&mut bob, "claim", project).await;
    assert_eq!(granted["Collaboration"]["action"], "claimed", "{granted}");
    assert_eq!(told(&mut cy, "claimed").await["Collaboration"]["user_id"], "bob");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_that_is_opened_later_is_shown_claims_made_elsewhere_before() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut ana, _) = replicas.joined(0, "ana", project).await;
    ask(&mut ana, "claim", project).await;
    let (_bob, joined) = replicas.joined(1, "bob", project).await;
    assert_eq!(joined["claims"][0]["user_id"], "ana", "{joined}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_claims_that_were_lost_are_made_up_for_when_the_relay_says_so() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut ana, _) = replicas.joined(0, "ana", project).await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    let link = |link| replicas.bus.set_link(&replicas.all[1].id, link);
    for (action, news) in [("claim", "claimed"), ("release", "released")] {
        link(Link::Down { reason: "cut by the test".into() });
        ask(&mut ana, action, project).await;
        link(Link::Up);
        assert_eq!(told(&mut bob, news).await["Collaboration"]["user_id"], "ana");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_that_its_replica_renews_is_not_shown_as_released_elsewhere_and_is_when_it_lapses() {
    let limits = Limits { claim_ttl: Duration::from_millis(1_200), ..limits() };
    let replicas = Replicas::tuned(2, quick(), limits).await;
    let project = replicas.project().await;
    let (mut ana, _) = replicas.joined(0, "ana", project).await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    // Even the news of its granting is lost: the store has told the room by the time it is refused.
    replicas.bus.interfere(|_, _| Fate::Lose);
    let until = tokio::time::Instant::now() + Duration::from_secs(4);
    let granted = ask(&mut ana, "claim", project).await;
    let fence = granted["Collaboration"]["fence"].clone();
    while tokio::time::Instant::now() < until {
        // Heard of all the time, so its lease is made longer.
        ana.ask("Ping", json!({})).await;
        let refused = ask(&mut bob, "claim", project).await;
        assert_eq!(refused["Error"]["holder"], "ana", "{refused}");
    }
    drop(ana);
    let news = told(&mut bob, "released").await;
    assert_eq!(news["Collaboration"]["user_id"], "ana", "{news}");
    let granted = ask(&mut bob, "claim", project).await;
    assert_eq!(granted["Collaboration"]["fence"].as_u64(), fence.as_u64().map(|fence| fence + 1), "{granted}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_user_had_claimed_is_free_on_every_replica_when_it_is_sent_away() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut ana, _) = replicas.joined(0, "ana", project).await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    ask(&mut ana, "claim", project).await;
    told(&mut bob, "claimed").await;
    replicas.all[1].realtime.disconnect_user("ana").await.unwrap();
    assert_eq!(ana.closed().await.map(|frame| u16::from(frame.code)), Some(4403));
    told(&mut bob, "released").await;
    assert_eq!(ask(&mut bob, "claim", project).await["Collaboration"]["action"], "claimed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_claims_that_were_lost_without_a_word_are_made_up_for_by_the_clock() {
    let replicas = Replicas::with(2, MeshLimits { compare_every: Duration::from_millis(300), ..quick() }).await;
    let (project, other) = (replicas.project().await, replicas.project().await);
    let (mut ana, _) = replicas.joined(0, "ana", project).await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    bob.join(other, None).await;
    replicas.bus.interfere(|_, _| Fate::Lose);
    for (action, news) in [("claim", "claimed"), ("release", "released"), ("claim", "claimed")] {
        ask(&mut ana, action, project).await;
        let told = told(&mut bob, news).await;
        let told = &told["Collaboration"];
        assert_eq!((&told["user_id"], &told["project_id"]), (&json!("ana"), &json!(project)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_lost_connection_to_one_replica_held_its_user_takes_over_on_another() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut ana, _) = replicas.joined(0, "ana", project).await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    let fence = ask(&mut ana, "claim", project).await["Collaboration"]["fence"].as_u64();
    told(&mut bob, "claimed").await;
    drop(ana);
    let (mut ana, _) = replicas.joined(1, "ana", project).await;
    let mut granted = ask(&mut ana, "claim", project).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while granted["Error"].is_object() && tokio::time::Instant::now() < deadline {
        // The other replica may not have noticed yet.
        granted = ask(&mut ana, "claim", project).await;
    }
    assert_eq!(granted["Collaboration"]["fence"].as_u64(), fence.map(|fence| fence + 1), "{granted}");
    assert_eq!(ask(&mut bob, "claim", project).await["Error"]["holder"], "ana");
}
