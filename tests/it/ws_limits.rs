//! The caps on what one user and one connection may take.
use crate::{
    http_support::{TestApp, eventually},
    support::{SHORT, Socket},
    ws_auth::{app_with, authenticated, project, token},
};
use serde_json::{Value, json};

/// What a refused upgrade answers.
async fn refusal(app: &TestApp, path: &str, bearer: &str) -> String {
    let header = format!("Bearer {bearer}");
    let refused = Socket::try_open_at(app.address(), path, &[("authorization", &header)]).await;
    refused.err().expect("one connection too many is refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_has_so_many_connections_of_any_kind_and_the_next_is_told_which_limit_it_is() {
    let (app, _secret) = app_with(&[("connections_per_user", "2")]).await;
    let ana = token("ana", "reviewer", 600);
    let bearer = format!("Bearer {ana}");
    let first = Socket::try_open(app.address(), &[("authorization", &bearer)]).await.expect("the first opens");
    let (second, _) = authenticated(&app, &ana).await;

    let refused = refusal(&app, "/ws", &ana).await;
    assert!(refused.starts_with("503 ") && refused.contains("connections_per_user"), "{refused}");
    let stream = app.send(app.client.get(app.url("/events")).bearer_auth(&ana)).await;
    assert_eq!(stream.problem(503, "limit_exceeded")["limit"], "connections_per_user");
    // Who it is shows only after the upgrade: an error by name, then 4409.
    let mut late = Socket::open(app.address()).await;
    let reply = late.ask("Auth", json!({ "token": ana })).await;
    assert_eq!(
        (&reply["Error"]["code"], &reply["Error"]["limit"]),
        (&json!("LIMIT_EXCEEDED"), &json!("connections_per_user"))
    );
    assert_eq!(late.ended(SHORT).await.code, Some(4409));
    // Another user is not concerned, and a place that is given up is free.
    authenticated(&app, &token("bob", "viewer", 600)).await.0.close().await;
    second.close().await;
    eventually("two connections to end", || app.connections() == 1).await;
    authenticated(&app, &ana).await.0.close().await;
    first.close().await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_with_too_many_unanswered_requests_is_told_so_and_every_request_is_answered_once() {
    const MANY: u64 = 60;
    let (app, _secret) = app_with(&[("pending_requests", "1"), ("max_message_rate", "0")]).await;
    let project = project(&app).await;
    let (mut ana, _) = authenticated(&app, &token("ana", "reviewer", 600)).await;
    ana.join(&project, None).await;
    // Each waits for a write of the store; here they come together.
    let claims = (1_000..1_000 + MANY).map(|id| {
        let said = json!({ "project_id": project, "action": "claim", "entity_id": format!("m{id}") });
        json!({ "id": id, "Collaboration": said }).to_string()
    });
    ana.send_together(claims).await;
    let mut replies: Vec<Value> = Vec::new();
    while replies.len() < MANY as usize {
        let reply = ana.wait(SHORT, "every answer", |m| m["re"].as_u64().is_some_and(|re| re >= 1_000)).await;
        replies.push(reply);
    }
    let mut answered: Vec<u64> = replies.iter().filter_map(|reply| reply["re"].as_u64()).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1_000..1_000 + MANY).collect::<Vec<_>>(), "each once");
    let refused: Vec<_> = replies.iter().filter(|reply| reply["Error"].is_object()).collect();
    assert!(!refused.is_empty() && refused.len() < MANY as usize, "some wait, some get through: {replies:?}");
    for reply in refused {
        let error = &reply["Error"];
        assert_eq!(
            (&error["code"], &error["limit"]),
            (&json!("LIMIT_EXCEEDED"), &json!("pending_requests")),
            "{reply}"
        );
        assert_eq!(error["retryable"], true, "{reply}");
    }
    // Nothing is counted as unanswered any longer.
    let said = json!({ "project_id": project, "action": "claim", "entity_id": "last" });
    assert_eq!(ana.ask("Collaboration", said).await["Collaboration"]["action"], "claimed");
    ana.close().await;
    app.stop().await;
}
