//! The protocol at the door: malformed frames, authentication, limits, close codes.
use crate::ws_support::{TOKEN, WsServer};
use serde_json::json;
use std::time::Duration;
use tieout::actors::rooms::Limits;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_frame_is_answered_and_only_many_close_the_socket() {
    let server = WsServer::new().await;
    let mut client = server.client().await;
    client.send_text(r#"{"id":5,"Ping":{},"Jump":{}}"#).await;
    let reply = client.message().await;
    assert_eq!((reply["re"].clone(), reply["Error"]["code"].clone()), (json!(5), json!("INVALID_FORMAT")));
    assert!(reply["Error"]["message"].as_str().unwrap().contains("Jump"), "{reply}");
    client.send_text("\"Ping\"").await;
    assert_eq!(client.message().await, json!("Pong"));
    assert_eq!(client.ask("Ping", json!({})).await["Pong"], json!({}));
    for _ in 0..12 {
        // The server may close while these are on their way.
        if futures_util::SinkExt::send(&mut client.socket, "nonsense".into()).await.is_err() {
            break;
        }
    }
    let frame = client.closed().await.expect("a close frame");
    assert_eq!(u16::from(frame.code), 4400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_token_only_auth_and_ping_are_heard() {
    let server = WsServer::with(false, Limits::default()).await;
    let project = server.project().await;
    let mut client = server.client().await;
    assert_eq!(client.ask("Ping", json!({})).await["Pong"], json!({}));
    let reply = client.ask("JoinProject", json!({"project_id": project})).await;
    assert_eq!(reply["Error"]["code"], "AUTH_ERROR");
    let reply = client.ask("Auth", json!({"token": TOKEN})).await;
    assert_eq!(reply["AuthSuccess"]["user_id"], "owner", "{reply}");
    client.join(project, None).await;

    let mut liar = server.client().await;
    let reply = liar.ask("Auth", json!({"token": "guess"})).await;
    assert_eq!(reply["Error"]["code"], "AUTH_ERROR");
    assert_eq!(u16::from(liar.closed().await.expect("a close frame").code), 4401);

    let mut big = server.client().await;
    big.send_text(&format!(r#"{{"Auth":{{"token":"{}"}}}}"#, "x".repeat(5_000))).await;
    assert_eq!(u16::from(big.closed().await.expect("a close frame").code), 4413);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_authenticate_in_time_is_closed() {
    let server = WsServer::with(false, Limits { auth_within: Duration::from_millis(100), ..Limits::default() }).await;
    let mut client = server.client().await;
    assert_eq!(u16::from(client.closed().await.expect("a close frame").code), 4408);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_answered_by_name() {
    let limits = Limits { inbound_rate: 1, inbound_burst: 6, rooms_per_connection: 1, ..Limits::default() };
    let server = WsServer::with(true, limits).await;
    let project = server.project().await;
    let (mut client, _) = server.joined(project).await;
    // Again into the same room is no further room: that is how a client recovers.
    let again = client.ask("JoinProject", json!({"project_id": project})).await;
    assert!(again["ProjectJoined"].is_object(), "{again}");
    let reply = client.ask("JoinProject", json!({"project_id": server.project().await})).await;
    assert_eq!(reply["Error"]["limit"], "rooms_per_connection", "{reply}");
    // Nor do many joins at once get past the count of those that were answered.
    let mut eager = server.client().await;
    for id in 1..=3 {
        eager.send(json!({"id": id, "JoinProject": {"project_id": server.project().await}})).await;
    }
    // Each room is read from the store first, so the answers come in any order.
    let mut let_in = 0;
    for _ in 1..=3 {
        let answer = eager.wait(|message| message["re"].is_u64()).await;
        match answer["ProjectJoined"].is_object() {
            true => let_in += 1,
            false => assert_eq!(answer["Error"]["limit"], "rooms_per_connection", "{answer}"),
        }
    }
    assert_eq!(let_in, 1);
    for id in 100..106 {
        client.send(json!({"id": id, "Ping": {}})).await;
    }
    let limited = client.wait(|message| message["Error"].is_object()).await;
    assert!(limited["re"].as_u64().is_some_and(|re| (100..106).contains(&re)), "which it refuses: {limited}");
    assert_eq!(limited["Error"]["code"], "RATE_LIMITED");
    assert!(limited["Error"]["retry_after_ms"].as_u64().unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_talk_and_claims_have_one_holder() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let (mut ana, _) = server.joined(project).await;
    let (mut bob, _) = server.joined(project).await;
    let said = json!({"project_id": project, "action": "cursor", "data": {"row": 7}});
    assert_eq!(ana.ask("Collaboration", said).await["Collaboration"]["action"], "cursor");
    let heard = bob.wait(|m| m["Collaboration"]["action"] == "cursor").await;
    assert_eq!(heard["Collaboration"]["data"]["row"], 7);
    assert_eq!(heard["Collaboration"]["user_id"], "owner");

    let claim = json!({"project_id": project, "action": "claim", "entity_id": "m1"});
    assert_eq!(ana.ask("Collaboration", claim.clone()).await["Collaboration"]["action"], "claimed");
    assert_eq!(bob.ask("Collaboration", claim.clone()).await["Error"]["code"], "ALREADY_CLAIMED");
    assert!(server.realtime.claim(project, "m1", "carol").await.is_err());
    server.realtime.inject_panic().await.unwrap();
    assert_eq!(bob.ask("Collaboration", claim.clone()).await["Error"]["code"], "ALREADY_CLAIMED");
    ana.ask("LeaveProject", json!({"project_id": project})).await;
    bob.wait(|m| m["Collaboration"]["action"] == "released").await;
    let taken = bob.ask("Collaboration", claim).await;
    assert_eq!(taken["Collaboration"]["action"], "claimed", "{taken}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_tells_closes_and_leaves_nothing() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(server.joined(project).await.0);
    }
    let watching = clients.into_iter().map(|mut client| {
        tokio::spawn(async move {
            client.wait(|m| m["Draining"].is_object()).await;
            let frame = client.closed().await.expect("a close frame");
            assert_eq!(u16::from(frame.code), 4503);
            assert!(frame.reason.contains("retry_ms"), "{}", frame.reason);
        })
    });
    let watching: Vec<_> = watching.collect();
    assert_eq!(server.realtime.drain(Duration::from_secs(5)).await, 0);
    for task in watching {
        task.await.expect("every client was told");
    }
    server.tracker.close();
    tokio::time::timeout(Duration::from_secs(5), server.tracker.wait()).await.expect("no session is left");
    let report = server.runtime.shutdown(Duration::from_secs(5)).await;
    assert!(report.clean(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_join_is_done_after_it_also_where_the_room_is_cold() {
    let server = WsServer::new().await;
    let mut client = server.client().await;
    for round in 0..20 {
        let project = server.project().await;
        let said = |id: u64, action: &str| json!({"id": id, "Collaboration": {"project_id": project, "action": action, "entity_id": "m1"}});
        client.send(json!({"id": 1, "JoinProject": {"project_id": project}})).await;
        client.send(said(2, "wave")).await;
        client.send(said(3, "claim")).await;
        client.send(json!({"id": 4, "LeaveProject": {"project_id": project}})).await;
        client.send(said(5, "wave")).await;
        let mut replies = std::collections::BTreeMap::new();
        while replies.len() < 5 {
            let reply = client.wait(|message| message["re"].is_u64()).await;
            replies.insert(reply["re"].as_u64().unwrap(), reply);
        }
        assert!(replies[&1]["ProjectJoined"].is_object(), "{round}: {replies:?}");
        assert_eq!(replies[&2]["Collaboration"]["action"], "wave", "{round}");
        assert_eq!(replies[&3]["Collaboration"]["action"], "claimed", "{round}");
        assert_eq!(replies[&4]["ProjectLeft"]["reason"], "left", "{round}");
        assert_eq!(replies[&5]["Error"]["code"], "NOT_JOINED", "{round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_join_of_a_room_repeats_no_event() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let (mut client, joined) = server.joined(project).await;
    let (ep, start) = (joined["ep"].as_str().unwrap().to_owned(), joined["off"].as_u64().unwrap());
    // What came before it is in the room's history, and was never sent on this connection.
    let (mut seen, mut last) = (Vec::new(), start);
    for round in 0..10 {
        for name in 0..5 {
            last = server.change(project, &format!("{round} {name}")).await;
        }
        // It has read nothing yet, so for all it knows it lacks everything.
        let since = json!({"ep": ep, "off": start});
        client.send(json!({"id": round, "JoinProject": {"project_id": project, "since": since}})).await;
    }
    while seen.last() != Some(&last) {
        seen.extend(client.message().await["off"].as_u64());
    }
    assert_eq!(seen, (start + 1..=last).collect::<Vec<_>>());
    // Earlier ones than it has ever been sent come once.
    let again = client.join(project, Some((&ep, 0))).await;
    assert_eq!((&again["recovered"], &again["off"]), (&json!(true), &json!(last)));
    assert_eq!(client.offsets_until(start).await, (1..=start).collect::<Vec<_>>());
    last = server.change(project, "last").await;
    assert_eq!(client.offsets_until(last).await, [last]);
}
