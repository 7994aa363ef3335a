//! Durable events reach every member once and in order: live, after a gap, after an absence, after a panic of the hub.
use crate::ws_support::WsServer;
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_gets_every_event_in_one_order() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let mut clients = Vec::new();
    for _ in 0..12 {
        clients.push(server.joined(project).await.0);
    }
    let mut last = 0;
    for n in 0..40 {
        last = server.change(project, &format!("n{n}")).await;
    }
    let first = last - 39;
    for client in &mut clients {
        assert_eq!(client.offsets_until(last).await, (first..=last).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_published_out_of_order_or_not_at_all_are_put_right() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let (mut client, joined) = server.joined(project).await;
    let from = joined["off"].as_u64().unwrap();
    let a = server.commit(project, "a").await;
    let b = server.commit(project, "b").await;
    server.realtime.publish(b);
    server.realtime.publish(a);
    server.commit(project, "never published").await;
    server.change(project, "d").await;
    assert_eq!(client.offsets_until(from + 4).await, (from + 1..=from + 4).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_client_gets_what_it_missed_from_the_ring_and_from_the_store() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let stored = server.commit(project, "before the room was opened").await;
    let (client, joined) = server.joined(project).await;
    let ep = joined["ep"].as_str().unwrap().to_owned();
    let at = joined["off"].as_u64().unwrap();
    drop(client);
    for n in 0..5 {
        server.change(project, &format!("n{n}")).await;
    }
    for since in [at, stored.off - 1] {
        let mut client = server.client().await;
        let joined = client.join(project, Some((&ep, since))).await;
        assert_eq!(joined["recovered"], true, "{joined}");
        assert_eq!(joined["off"], at + 5);
        assert_eq!(client.offsets_until(at + 5).await, (since + 1..=at + 5).collect::<Vec<_>>());
    }
    let joined = server.client().await.join(project, Some(("elsewhere", 1))).await;
    assert_eq!(joined["recovered"], false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_newer_than_the_hub_is_caught_up_with() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let (mut first, joined) = server.joined(project).await;
    let ep = joined["ep"].as_str().unwrap().to_owned();
    let ahead = server.commit(project, "committed, not yet published").await;
    let mut second = server.client().await;
    let joined = second.join(project, Some((&ep, ahead.off))).await;
    assert_eq!((joined["recovered"].clone(), joined["off"].clone()), (json!(true), json!(ahead.off)));
    server.realtime.publish(ahead.clone());
    let next = server.change(project, "next").await;
    assert_eq!(first.offsets_until(next).await, vec![ahead.off, next]);
    assert_eq!(second.offsets_until(next).await, vec![next]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_of_the_hub_costs_no_socket_and_no_event() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let mut clients = Vec::new();
    let mut from = 0;
    for _ in 0..60 {
        let (client, joined) = server.joined(project).await;
        from = joined["off"].as_u64().unwrap();
        clients.push(client);
    }
    let mut last = from;
    for n in 0..90 {
        if n % 30 == 15 {
            server.realtime.inject_panic().await.expect("the hook reaches the hub");
        }
        last = server.change(project, &format!("n{n}")).await;
    }
    for client in &mut clients {
        assert_eq!(client.offsets_until(last).await, (from + 1..=last).collect::<Vec<_>>());
    }
    let (mut late, joined) = server.joined(project).await;
    assert_eq!(joined["off"], last);
    assert_eq!(server.realtime.counts().await.unwrap().generation, 4);
    assert_eq!(server.realtime.counts().await.unwrap().subscriptions, 61);
    let next = server.change(project, "after").await;
    assert_eq!(late.offsets_until(next).await, vec![next]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_project_that_is_not_there_is_said_so() {
    let server = WsServer::new().await;
    let mut client = server.client().await;
    let unknown = tieout::protocol::ids::ProjectId::generate();
    let reply = client.ask("JoinProject", json!({"project_id": unknown})).await;
    assert_eq!(reply["Error"]["code"], "NOT_FOUND", "{reply}");
    let reply = client.ask("LeaveProject", json!({"project_id": unknown})).await;
    assert_eq!(reply["Error"]["code"], "NOT_JOINED", "{reply}");
}
