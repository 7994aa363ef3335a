//! Claims outlive what holds them: the server's process, and the store for a while.
use crate::{
    http_support::{PATIENCE, TestApp, eventually},
    sse_support::Events,
    support::{LONG, Options, SHORT, Socket},
    ws_auth::{app_with, authenticated, authenticated_at, project, server_with, token},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

async fn claim(socket: &mut Socket, project: &str, entity: &str) -> Value {
    socket.ask("Collaboration", json!({ "project_id": project, "action": "claim", "entity_id": entity })).await
}

fn granted(reply: &Value) -> (u64, i64) {
    let said = &reply["Collaboration"];
    assert_eq!(said["action"], "claimed", "{reply}");
    (said["fence"].as_u64().expect("a fence"), said["expires_at_ms"].as_i64().expect("an end"))
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

#[tokio::test]
async fn a_claim_survives_the_kill_of_its_server_its_user_is_back_at_once_and_others_wait_for_the_lease() {
    let (mut server, _secret) = server_with(Options::default().sqlite().env("TIEOUT_CLAIM_TTL", "8s")).await;
    let owner = server.api().with_token(&token("olga", "owner", 600));
    let project = owner.project("claims").await;
    let (mut ana, _) = authenticated_at(server.addr, &token("ana", "reviewer", 600)).await;
    ana.join(&project, None).await;
    let (first, _) = granted(&claim(&mut ana, &project, "m1").await);
    let (other, other_ends) = granted(&claim(&mut ana, &project, "m2").await);

    server.kill();
    server.spawn();
    server.ready().await;

    let (mut bob, _) = authenticated_at(server.addr, &token("bob", "reviewer", 600)).await;
    let joined = bob.join(&project, None).await;
    let held: Vec<_> = joined["claims"].as_array().into_iter().flatten().map(|claim| &claim["entity_id"]).collect();
    assert_eq!(held, ["m1", "m2"], "who comes in sees what is taken: {joined}");
    for entity in ["m1", "m2"] {
        let refused = claim(&mut bob, &project, entity).await;
        assert_eq!(
            (&refused["Error"]["code"], &refused["Error"]["holder"]),
            (&json!("ALREADY_CLAIMED"), &json!("ana"))
        );
    }
    let (mut ana, _) = authenticated_at(server.addr, &token("ana", "reviewer", 600)).await;
    ana.join(&project, None).await;
    let (again, _) = granted(&claim(&mut ana, &project, "m1").await);
    assert!(again > first, "taken over: fence {first}, then {again}");
    assert!(now_ms() < other_ends, "at once, not when the lease had ended");
    // The one she did not take up again is free when its lease ends, and no sooner.
    bob.wait(LONG, "the lease to end", |m| {
        m["Collaboration"]["entity_id"] == "m2" && m["Collaboration"]["action"] == "released"
    })
    .await;
    let mut reply = claim(&mut bob, &project, "m2").await;
    for _ in 0..20 {
        // The store counts in microseconds, the room in milliseconds.
        if reply["Error"].is_object() {
            reply = claim(&mut bob, &project, "m2").await;
        }
    }
    let (fence, _) = granted(&reply);
    assert!(now_ms() >= other_ends, "granted {} ms before the lease had ended", other_ends - now_ms());
    assert!(fence > other, "fence {other}, then {fence}");
    let told = ana.wait(SHORT, "ana to be told", |m| {
        m["Collaboration"]["entity_id"] == "m2" && m["Collaboration"]["action"] == "claimed"
    });
    assert_eq!(told.await["Collaboration"]["user_id"], "bob");
}

/// Takes the database's files away, or brings them back.
fn move_store(from: &Path, to: &Path) {
    for end in ["", "-wal", "-shm"] {
        let name = format!("tieout.sqlite{end}");
        if from.join(&name).exists() {
            fs::rename(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_store_is_away_claims_in_force_last_and_new_ones_are_unavailable() {
    let app = TestApp::start(&[("database_url", "")]).await;
    let project = app.project().await;
    let (mut ana, mut bob) = (Socket::open(app.address()).await, Socket::open(app.address()).await);
    ana.join(&project, None).await;
    bob.join(&project, None).await;
    let (fence, _) = granted(&claim(&mut ana, &project, "m1").await);
    let (data, away) = (app.data(), app.data().join("away"));
    fs::create_dir(&away).unwrap();
    move_store(&data, &away);
    let mut status = app.store().status();
    let down = status.wait_for(|status| !status.is_ready());
    tokio::time::timeout(PATIENCE, down).await.expect("the store is seen to be away").unwrap();

    let refused = claim(&mut bob, &project, "m2").await;
    assert_eq!((&refused["Error"]["code"], &refused["Error"]["retryable"]), (&json!("UNAVAILABLE"), &json!(true)));
    let held = claim(&mut bob, &project, "m1").await;
    assert_eq!(held["Error"]["code"], "ALREADY_CLAIMED", "the room knows without the store: {held}");
    let over_http = app.post(&format!("/api/v1/projects/{project}/claims"), json!({ "entity_id": "m3" })).await;
    assert_eq!(over_http.status, 503, "{}", over_http.text);
    assert!(!over_http.header("retry-after").is_empty());
    let release = json!({ "project_id": project, "action": "release", "entity_id": "m1" });
    assert_eq!(ana.ask("Collaboration", release).await["Error"]["code"], "UNAVAILABLE");

    move_store(&away, &data);
    let back = status.wait_for(tieout::db::Status::is_ready);
    tokio::time::timeout(PATIENCE, back).await.expect("the store is back").unwrap();
    let (renewed, _) = granted(&claim(&mut ana, &project, "m1").await);
    assert_eq!(renewed, fence, "it was never anybody else's");
    granted(&claim(&mut bob, &project, "m2").await);
    ana.close().await;
    bob.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_lasts_while_its_connection_is_heard_and_lapses_soon_after() {
    let settings = [("claim_ttl", "3s"), ("ping_every", "100ms"), ("pong_within", "1s"), ("max_message_rate", "0")];
    let app = TestApp::start(&settings).await;
    let project = app.project().await;
    let (mut ana, mut bob) = (Socket::open(app.address()).await, Socket::open(app.address()).await);
    ana.join(&project, None).await;
    bob.join(&project, None).await;
    granted(&claim(&mut ana, &project, "m1").await);
    // She says nothing more; her client answers pings, and that is enough.
    let ana = ana.collect();
    let claimed_at = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    while claimed_at.elapsed() < Duration::from_secs(7) {
        looks.tick().await;
        let refused = claim(&mut bob, &project, "m1").await;
        assert_eq!(refused["Error"]["code"], "ALREADY_CLAIMED", "after {:?}: {refused}", claimed_at.elapsed());
    }
    let released = |m: &Value| m["Collaboration"]["action"] == "released";
    assert!(!bob.seen.iter().any(released), "{:?}", bob.seen);
    assert!(ana.open(), "a client that answers pings is not closed");
    let lost_at = Instant::now();
    ana.lose();
    bob.wait(SHORT, "the lease of a connection that is lost to end", released).await;
    assert!(lost_at.elapsed() > Duration::from_secs(1), "free after {:?}", lost_at.elapsed());
    bob.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_gives_back_over_http_what_it_claimed_on_a_connection() {
    let app = TestApp::start(&[]).await;
    let project = app.project().await;
    let mut socket = Socket::open(app.address()).await;
    socket.join(&project, None).await;
    granted(&claim(&mut socket, &project, "m1").await);
    let path = format!("/api/v1/projects/{project}/claims/m1");
    let released = app.send(app.client.delete(app.url(&path))).await;
    assert_eq!(released.status, 204, "{}", released.text);
    socket.wait(SHORT, "the room to be told", |m| m["Collaboration"]["action"] == "released").await;
    assert_eq!(app.send(app.client.delete(app.url(&path))).await.status, 404, "it is nobody's now");
    socket.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_left_gives_its_claim_back_and_what_a_lost_connection_held_is_its_own_users_to_take() {
    let (app, _secret) = app_with(&[]).await;
    let project = project(&app).await;
    let reviewer = async |user: &str| {
        let (mut socket, _) = authenticated(&app, &token(user, "reviewer", 600)).await;
        socket.join(&project, None).await;
        socket
    };
    let (mut ana, mut bob) = (reviewer("ana").await, reviewer("bob").await);
    let (first, _) = granted(&claim(&mut ana, &project, "m1").await);
    // A reload: the page closes its socket, and comes back.
    ana.close().await;
    bob.wait(SHORT, "the claim to be free", |m| m["Collaboration"]["action"] == "released").await;
    let mut ana = reviewer("ana").await;
    let (second, _) = granted(&claim(&mut ana, &project, "m1").await);
    assert!(second > first, "fence {first}, then {second}");
    // The line breaks: nobody else gets it, and she does on her next connection.
    let other = reviewer("ana").await;
    drop(ana);
    eventually("the lost connection to be noticed", || app.connections() == 2).await;
    assert_eq!(claim(&mut bob, &project, "m1").await["Error"]["holder"], "ana");
    let mut ana = other;
    let (third, _) = granted(&claim(&mut ana, &project, "m1").await);
    assert!(third > second, "fence {second}, then {third}");
    let mut second_tab = reviewer("ana").await;
    let refused = claim(&mut second_tab, &project, "m1").await;
    assert_eq!(refused["Error"]["code"], "ALREADY_CLAIMED", "of two that live only one has it: {refused}");
    // An event stream has no close of its own.
    let query = format!("project={project}");
    let mut events = Events::open_as(&app, Some(&token("eve", "reviewer", 600)), &query, None).await;
    let hello = events.wait(|data| data["AuthSuccess"].is_object()).await.data["AuthSuccess"].clone();
    events.wait(|data| data["ProjectJoined"].is_object()).await;
    let message = json!({ "id": 1, "Collaboration": { "project_id": project, "action": "claim", "entity_id": "m2" } });
    let body = json!({ "conn": hello["conn"], "key": hello["key"], "message": message });
    let send = app.client.post(app.url("/api/realtime/send")).bearer_auth(token("eve", "reviewer", 600)).json(&body);
    assert_eq!(app.send(send).await.status, 202);
    granted(&events.wait(|data| data["re"] == 1).await.data);
    drop(events);
    eventually("the stream to end", || app.connections() == 3).await;
    assert_eq!(claim(&mut bob, &project, "m2").await["Error"]["holder"], "eve");
    let mut eve = reviewer("eve").await;
    granted(&claim(&mut eve, &project, "m2").await);
    for socket in [ana, bob, second_tab, eve] {
        socket.close().await;
    }
    app.stop().await;
}
