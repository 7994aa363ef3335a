//! Sending a user away: from one room, or altogether; over every kind of connection, claims included.
use crate::{
    http_support::{Answer, PATIENCE, TestApp, eventually},
    sse_support::Events,
    support::{SHORT, Socket},
    ws_auth::{app_with, authenticated, project, token},
};
use serde_json::{Value, json};

async fn send_away(app: &TestApp, role: &str, body: Value) -> Answer {
    let caller = token("olga", role, 600);
    app.send(app.client.post(app.url("/api/realtime/disconnect")).bearer_auth(caller).json(&body)).await
}

/// A reviewer's stream that has joined a room.
async fn stream(app: &TestApp, user: &str, project: &str) -> Events {
    let token = token(user, "reviewer", 600);
    let mut events = Events::open_as(app, Some(&token), &format!("project={project}"), None).await;
    events.wait(|data| data["ProjectJoined"].is_object()).await;
    events
}

/// A reviewer's socket that has joined a room and claimed something there.
async fn claimer(app: &TestApp, user: &str, project: &str, entity: &str) -> Socket {
    let (mut socket, _) = authenticated(app, &token(user, "reviewer", 600)).await;
    socket.join(project, None).await;
    let claimed = claim(&mut socket, project, entity).await;
    assert_eq!(claimed["Collaboration"]["action"], "claimed", "{claimed}");
    socket
}

async fn claim(socket: &mut Socket, project: &str, entity: &str) -> Value {
    socket.ask("Collaboration", json!({ "project_id": project, "action": "claim", "entity_id": entity })).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_sent_away_is_out_of_every_connection_and_its_claims_are_free() {
    let (app, _secret) = app_with(&[]).await;
    let (one, two) = (project(&app).await, project(&app).await);
    let first = claimer(&app, "rita", &one, "m1").await;
    let second = claimer(&app, "rita", &two, "m2").await;
    let mut events = stream(&app, "rita", &one).await;
    let mut other = claimer(&app, "bob", &one, "m3").await;
    // A claim by a plain call is hers as well.
    let call = app.client.post(app.url(&format!("/api/v1/projects/{one}/claims")));
    let call = call.bearer_auth(token("rita", "reviewer", 600)).json(&json!({ "entity_id": "m4" }));
    assert_eq!(app.send(call).await.status, 200);
    for entity in ["m1", "m4"] {
        assert_eq!(claim(&mut other, &one, entity).await["Error"]["code"], "ALREADY_CLAIMED", "{entity}");
    }

    send_away(&app, "reviewer", json!({ "user_id": "rita" })).await.problem(403, "forbidden");
    send_away(&app, "owner", json!({ "user_id": "" })).await.problem(422, "invalid");
    let told = send_away(&app, "owner", json!({ "user_id": "rita" })).await;
    assert_eq!((told.status, told.json()), (200, json!({ "connections": 3, "complete": true })), "{}", told.text);
    for mut socket in [first, second] {
        let ended = socket.ended(SHORT).await;
        assert_eq!(ended.code, Some(4403), "{ended:?}");
    }
    let close = loop {
        let event = events.next().await.expect("a close event");
        if event.kind.as_deref() == Some("close") {
            break event;
        }
    };
    assert_eq!(close.data["code"], 4403, "{close:?}");
    assert!(events.next().await.is_none(), "nothing follows");
    eventually("one connection to be left", || app.connections() == 1).await;
    // Free at once, each in its room, and told to it.
    for entity in ["m1", "m4"] {
        let claimed = claim(&mut other, &one, entity).await;
        assert_eq!(claimed["Collaboration"]["action"], "claimed", "{entity}: {claimed}");
    }
    let released = |m: &Value| m["Collaboration"]["action"] == "released";
    assert!(other.seen.iter().filter(|m| released(m)).count() >= 2, "the room was told: {:?}", other.seen);
    other.join(&two, None).await;
    assert_eq!(claim(&mut other, &two, "m2").await["Collaboration"]["action"], "claimed");
    let again = send_away(&app, "owner", json!({ "user_id": "rita" })).await;
    assert_eq!(again.json(), json!({ "connections": 0, "complete": true }));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_no_longer_be_in_a_room_leaves_it_and_stays_connected() {
    let (app, _secret) = app_with(&[("presence_every", "10ms")]).await;
    let (one, two) = (project(&app).await, project(&app).await);
    let mut rita = claimer(&app, "rita", &one, "m1").await;
    let shown = |m: &Value| m["PresenceDiff"]["joins"] == json!(["rita"]);
    if !rita.seen.iter().any(shown) {
        rita.wait(PATIENCE, "rita to be shown", shown).await;
    }
    rita.join(&two, None).await;
    let mut events = stream(&app, "rita", &one).await;
    let mut bob = claimer(&app, "bob", &one, "m2").await;
    bob.join(&two, None).await;
    let told = send_away(&app, "owner", json!({ "user_id": "rita", "project_id": one })).await;
    assert_eq!((told.status, told.json()), (200, json!({ "connections": 2, "complete": true })), "{}", told.text);
    let left = rita.wait(SHORT, "to be told", |m| m["ProjectLeft"].is_object()).await;
    assert_eq!(left["ProjectLeft"], json!({ "project_id": one, "reason": "revoked" }));
    let left = events.wait(|data| data["ProjectLeft"].is_object()).await;
    assert_eq!(left.data["ProjectLeft"]["reason"], "revoked");
    bob.wait(PATIENCE, "rita not to be shown", |m| m["PresenceDiff"]["leaves"] == json!(["rita"])).await;
    assert_eq!(claim(&mut bob, &one, "m1").await["Collaboration"]["action"], "claimed", "what she had claimed is free");
    assert_eq!(claim(&mut rita, &one, "m9").await["Error"]["code"], "NOT_JOINED");
    // The connection lives, and so does its other room.
    assert_eq!(claim(&mut rita, &two, "m3").await["Collaboration"]["action"], "claimed");
    let said = json!({ "project_id": one, "action": "wave" });
    bob.ask("Collaboration", said).await;
    bob.ask("Collaboration", json!({ "project_id": two, "action": "nod" })).await;
    rita.wait(SHORT, "the other room", |m| m["Collaboration"]["action"] == "nod").await;
    assert!(rita.seen.iter().all(|m| m["Collaboration"]["action"] != "wave"), "nothing of the room: {:?}", rita.seen);
    drop(events);
    rita.close().await;
    bob.close().await;
    app.stop().await;
}
