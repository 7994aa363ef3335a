//! Doors of several replicas: a client may knock at any of them, with a ticket of another or for a stream that lives there.
use crate::{
    http_support::{Answer, TestApp, eventually},
    relay_support::{options, url},
    sse_support::Events,
    support::{Socket, redis::Redis},
    ws_auth::{keyed, token},
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tieout::cluster::{Channel, Fate, Incoming, Link, LocalBus, Relay, ReplicaId};

/// Apps on one bus, who know of each other.
async fn apps<const MANY: usize>() -> (LocalBus, [TestApp; MANY], tempfile::NamedTempFile) {
    let bus = LocalBus::new();
    let (apps, secret) = apps_on(|n| Relay::local(&bus, ReplicaId::new(&format!("r{n}")))).await;
    (bus, apps, secret)
}

async fn apps_on<const MANY: usize>(relay: impl Fn(usize) -> Relay) -> ([TestApp; MANY], tempfile::NamedTempFile) {
    let (settings, secret) = keyed();
    let settings: Vec<_> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut apps = Vec::new();
    for n in 0..MANY {
        apps.push(TestApp::start_on(&settings, relay(n)).await);
    }
    (apps.try_into().unwrap_or_else(|_| unreachable!("as many as were asked for")), secret)
}

async fn ticket(app: &TestApp, user: &str) -> String {
    let ask = app.client.post(app.url("/api/realtime/ticket")).bearer_auth(token(user, "reviewer", 600));
    let answer = app.send(ask).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["ticket"].as_str().unwrap().to_owned()
}

async fn say(app: &TestApp, user: &str, hello: &Value, message: Value) -> Answer {
    let body = json!({ "conn": hello["conn"], "key": hello["key"], "message": message });
    let ask = app.client.post(app.url("/api/realtime/send")).bearer_auth(token(user, "reviewer", 600));
    app.send(ask.json(&body)).await
}

/// A stream on this replica, and its first event.
async fn stream(app: &TestApp, user: &str) -> (Events, Value) {
    let mut events = Events::open_as(app, Some(&token(user, "reviewer", 600)), "", None).await;
    let hello = events.next().await.expect("a first event").data["AuthSuccess"].clone();
    (events, hello)
}

fn is_question(message: &Incoming) -> bool {
    matches!(message.channel, Channel::One(_)) && memchr::memmem::find(&message.payload, b"\"question\"").is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_one_connection_on_whatever_replica() {
    let (_bus, [here, there, third], _secret) = apps::<3>().await;
    let word = ticket(&here, "ana").await;
    let path = format!("/ws?ticket={word}");
    let mut socket = Socket::try_open_at(there.address(), &path, &[]).await.expect("opens on another replica");
    let reply = socket.ask("Auth", json!({ "token": token("bob", "owner", 600) })).await;
    assert_eq!(reply["Error"]["code"], "AUTH_ERROR", "the connection is ana's: {reply}");
    for app in [&here, &there, &third] {
        assert_eq!(Socket::refused_at(app.address(), &path).await.1.code, Some(4401), "used up everywhere");
    }
    // Asked for at once on two replicas, it opens one.
    let word = ticket(&here, "ana").await;
    let path = format!("/ws?ticket={word}");
    let open = async |app: &TestApp| {
        let mut socket = Socket::try_open_at(app.address(), &path, &[]).await.expect("opens");
        let first = socket.next().await.expect("a first frame");
        (first["AuthSuccess"].is_object(), socket)
    };
    let (one, two) = tokio::join!(open(&there), open(&third));
    assert!(one.0 != two.0, "one of them is let in");
    drop((socket, one, two));
    for app in [here, there, third] {
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_for_an_event_stream_may_be_sent_to_any_replica() {
    let (_bus, [here, there], _secret) = apps::<2>().await;
    let (mut events, hello) = stream(&here, "ana").await;
    assert_eq!(say(&there, "ana", &hello, json!({ "id": 7, "Ping": {} })).await.status, 202);
    events.wait(|data| data["re"] == 7 && data["Pong"].is_object()).await;
    say(&there, "bob", &hello, json!("Ping")).await.problem(404, "no_such_stream");
    let guess = json!({ "conn": hello["conn"], "key": "guess" });
    say(&there, "ana", &guess, json!("Ping")).await.problem(404, "no_such_stream");
    let long =
        json!({ "Collaboration": { "project_id": uuid::Uuid::now_v7(), "action": "x", "data": "x".repeat(70_000) } });
    assert_eq!(say(&there, "ana", &hello, long).await.problem(413, "limit_exceeded")["limit"], "inbound_bytes");
    drop(events);
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_of_replicas_over_redis_are_one_whatever_the_users_name() {
    let redis = Redis::start();
    let start = |n| Relay::start(&options(&format!("r{n}"), &[&url(redis.port)])).expect("options that can work");
    let ([here, there], _secret) = apps_on::<2>(start).await;
    for app in [&here, &there] {
        eventually("the relay to be up", || app.realtime().health().link.is_up()).await;
    }
    let user = r#"CORP\ana "the boss""#;
    let (mut events, hello) = stream(&here, user).await;
    assert_eq!(say(&there, user, &hello, json!({ "id": 7, "Ping": {} })).await.status, 202);
    events.wait(|data| data["re"] == 7 && data["Pong"].is_object()).await;
    let path = format!("/ws?ticket={}", ticket(&here, user).await);
    let opened = Socket::try_open_at(there.address(), &path, &[]).await.expect("opens on another replica");
    assert_eq!(Socket::refused_at(there.address(), &path).await.1.code, Some(4401), "used up");
    drop((events, opened));
    here.stop().await;
    there.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_made_up_secret_is_refused_without_asking_anybody_and_a_good_one_asks_its_owner_alone() {
    let (bus, [here, there, third], _secret) = apps::<3>().await;
    let (asked, counted) = (Arc::new(Mutex::new(Vec::new())), here.replica().mark());
    let seen = asked.clone();
    bus.interfere(move |message, _| {
        if is_question(message) {
            seen.lock().unwrap().push(message.channel);
        }
        Fate::Deliver
    });
    let (events, hello) = stream(&here, "ana").await;
    for ticket in ["junk", "", &"0".repeat(63)] {
        let path = format!("/ws?ticket={ticket}");
        assert_eq!(Socket::refused_at(there.address(), &path).await.1.code, Some(4401), "{ticket}");
    }
    let guess = json!({ "conn": hello["conn"], "key": "guess" });
    say(&there, "ana", &guess, json!("Ping")).await.problem(404, "no_such_stream");
    assert_eq!(*asked.lock().unwrap(), []);
    assert_eq!(say(&third, "ana", &hello, json!("Ping")).await.status, 202);
    assert_eq!(*asked.lock().unwrap(), [Channel::One(counted)]);
    drop(events);
    for app in [here, there, third] {
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cant_be_asked_of_the_others_is_answered_in_time_and_may_be_tried_again() {
    let (bus, [here, there], _secret) = apps::<2>().await;
    let (events, hello) = stream(&here, "ana").await;
    // The question is lost on its way.
    bus.interfere(|message, _| if is_question(message) { Fate::Lose } else { Fate::Deliver });
    let late = say(&there, "ana", &hello, json!("Ping")).await;
    late.problem(503, "unavailable");
    assert!(!late.header("retry-after").is_empty());
    let word = ticket(&here, "ana").await;
    let path = format!("/ws?ticket={word}");
    let (error, ended) = Socket::refused_at(there.address(), &path).await;
    assert_eq!((&error["code"], ended.code), (&json!("UNAVAILABLE"), Some(4500)), "not known is not used up: {error}");
    bus.leave_alone();
    let opened = Socket::try_open_at(there.address(), &path, &[]).await.expect("nobody has used it");
    // The link is down, and known to be.
    bus.set_link(&there.replica(), Link::Down { reason: "cut by the test".into() });
    say(&there, "ana", &hello, json!("Ping")).await.problem(503, "unavailable");
    assert_eq!(say(&here, "ana", &hello, json!("Ping")).await.status, 202, "where it lives nobody needs to be asked");
    let ready = there.get("/api/ready").await;
    assert_eq!((ready.status, &ready.json()["status"]), (200, &json!("degraded")), "{}", ready.text);
    assert_eq!(ready.json()["checks"], json!(null), "nothing is told to who shows no token: {}", ready.text);
    let ready = there.client.get(there.url("/api/ready")).bearer_auth(token("ana", "viewer", 600));
    let ready = there.send(ready).await;
    assert_eq!(ready.json()["checks"]["relay"], json!({ "state": "down", "reason": "cut by the test" }));
    drop((events, opened));
    here.stop().await;
    there.stop().await;
}
