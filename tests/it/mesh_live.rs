//! What is not stored crosses replicas too: what members and back ends say, progress of jobs, users sent away.
use crate::{
    mesh_support::Replicas,
    support::{LONG, eventually},
    ws_support::Client,
};
use serde_json::{Value, json};
use tieout::{
    cluster::Link,
    protocol::{
        ids::{JobId, ProjectId},
        server::{Collaboration, JobProgressUpdate},
    },
};

const WAVE: &str = "wave";

async fn wave(client: &mut Client, project: ProjectId) -> Value {
    client.ask("Collaboration", json!({ "project_id": project, "action": WAVE, "data": {"x": 1} })).await
}

fn is_wave(message: &Value) -> bool {
    message["Collaboration"]["action"] == WAVE && message["re"].is_null()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_says_is_heard_on_every_replica_and_is_its_own_nowhere_else() {
    let replicas = Replicas::start(3).await;
    let project = replicas.project().await;
    let mut clients = Vec::new();
    for on in 0..3 {
        clients.push(replicas.joined(on, &format!("u{on}"), project).await.0);
    }
    let answer = wave(&mut clients[1], project).await;
    let by = answer["by"].as_str().expect("the sender's own connection").to_owned();
    for client in [0, 2] {
        let heard = clients[client].wait(is_wave).await;
        assert_eq!((&heard["by"], &heard["Collaboration"]["user_id"]), (&json!(by), &json!("u1")), "{heard}");
        assert_eq!(heard["Collaboration"]["data"], json!({"x": 1}));
        // Numbers of connections meet in a room: nobody may take another's words for its own.
        let own = wave(&mut clients[client], project).await["by"].clone();
        assert_ne!(own, json!(by));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_back_end_announces_on_one_replica_is_heard_on_the_others() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    let said = Collaboration {
        project_id: project,
        action: WAVE,
        entity_id: None,
        user_id: "back-end",
        expires_at_ms: None,
        fence: None,
        data: None,
    };
    replicas.all[0].realtime.announce(said, None);
    assert_eq!(bob.wait(is_wave).await["Collaboration"]["user_id"], "back-end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_of_a_job_that_runs_elsewhere_is_shown_and_told_to_those_who_join() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut bob, _) = replicas.joined(1, "bob", project).await;
    let job = JobId::generate();
    let progress = |done| JobProgressUpdate {
        project_id: project,
        job_id: job,
        state: "scoring".into(),
        phase: "scoring".into(),
        done,
        total: 100,
        matches: 0,
        rows_per_second: 0.0,
        eta_seconds: None,
        terminal: false,
    };
    // Faster than it is told: the last word comes all the same.
    (1..=20).for_each(|done| replicas.all[0].realtime.job_progress(progress(done)));
    let mut heard = Vec::new();
    while heard.last() != Some(&20) {
        let message = bob.wait(|message| message["JobProgressUpdate"].is_object()).await;
        heard.push(message["JobProgressUpdate"]["done"].as_u64().unwrap());
    }
    assert!(heard.len() <= 3, "at most four a second: {heard:?}");
    let (_, joined) = replicas.joined(1, "cy", project).await;
    assert_eq!(joined["jobs"][0]["done"], 20, "{joined}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_sent_away_is_out_on_every_replica() {
    let replicas = Replicas::start(2).await;
    let (one, two) = (replicas.project().await, replicas.project().await);
    let (mut here, _) = replicas.joined(0, "rita", one).await;
    let (mut there, _) = replicas.joined(1, "rita", one).await;
    there.join(two, None).await;
    let (mut other, _) = replicas.joined(1, "bob", one).await;
    let sent_away = replicas.all[0].realtime.revoke(one, "rita").await.unwrap();
    assert_eq!(sent_away.connections, 1, "the answer counts this replica's");
    for client in [&mut here, &mut there] {
        let left = client.wait(|message| message["ProjectLeft"].is_object()).await;
        assert_eq!(left["ProjectLeft"], json!({ "project_id": one, "reason": "revoked" }));
    }
    assert_eq!(wave(&mut there, two).await["Collaboration"]["action"], WAVE, "of the other room she is still a member");
    assert_eq!(replicas.all[0].realtime.disconnect_user("rita").await.unwrap().connections, 1);
    for client in [&mut here, &mut there] {
        let code = client.closed().await.map(|frame| u16::from(frame.code));
        assert_eq!(code, Some(4403));
    }
    assert_eq!(wave(&mut other, one).await["Collaboration"]["action"], WAVE, "others stay");
}

/// Whether all have confirmed that this user was sent away.
async fn sent_away(replicas: &Replicas, on: usize, user: &str) -> bool {
    replicas.all[on].realtime.disconnect_user(user).await.unwrap().complete
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_is_sent_away_while_a_replica_cant_be_told_is_out_there_once_it_can() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (mut there, _) = replicas.joined(1, "rita", project).await;
    eventually(LONG, "the replicas to know that they are all", async || {
        if sent_away(&replicas, 0, "nobody").await { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let link = |link| replicas.bus.set_link(&replicas.all[1].id, link);
    link(Link::Down { reason: "cut by the test".into() });
    assert!(!sent_away(&replicas, 0, "rita").await, "the other has not confirmed");
    assert_eq!(wave(&mut there, project).await["Collaboration"]["action"], WAVE, "it could not be told");
    link(Link::Up);
    assert_eq!(there.closed().await.map(|frame| u16::from(frame.code)), Some(4403));
    // Her right was given back: what was done is not done again, though its confirmation should be lost.
    let (mut back, _) = replicas.joined(1, "rita", project).await;
    assert!(sent_away(&replicas, 0, "nobody").await);
    assert_eq!(wave(&mut back, project).await["Collaboration"]["action"], WAVE);
    // This replica's own link.
    replicas.bus.set_link(&replicas.all[0].id, Link::Down { reason: "cut by the test".into() });
    assert!(!sent_away(&replicas, 0, "rita").await);
    replicas.bus.set_link(&replicas.all[0].id, Link::Up);
    assert_eq!(back.closed().await.map(|frame| u16::from(frame.code)), Some(4403));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_project_puts_its_members_out_on_every_replica_and_lets_nobody_in() {
    let replicas = Replicas::start(2).await;
    let project = replicas.project().await;
    let (ana, joined) = replicas.joined(0, "ana", project).await;
    let (bob, _) = replicas.joined(1, "bob", project).await;
    let deleted = tieout::db::projects::delete(&replicas.store.store, project).await.expect("deleted");
    replicas.all[0].realtime.publish(deleted.event.expect("an event"));
    for mut client in [ana, bob] {
        let told = client.wait(|message| message["DataUpdate"].is_object() || message["ProjectLeft"].is_object()).await;
        assert_eq!(told["DataUpdate"]["action"], "deleted", "first what happened: {told}");
        let left = client.wait(|message| message["ProjectLeft"].is_object()).await;
        assert_eq!(left["ProjectLeft"]["reason"], "deleted");
        for since in [Value::Null, json!({ "ep": joined["ep"], "off": 0 })] {
            let mut body = json!({ "project_id": project });
            if since.is_object() {
                body["since"] = since;
            }
            let refused = client.ask("JoinProject", body).await;
            assert_eq!(refused["Error"]["code"], "NOT_FOUND", "{refused}");
        }
    }
}
