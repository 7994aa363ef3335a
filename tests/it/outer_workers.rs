//! One state however many workers: the same answers with 1 and 8, and with 8 workers and 64 clients one order for all.
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::{
    LONG, Options, Run, Sample, Server,
    http::text,
    socket::{Collector, assert_gapless, durable},
    within,
};

#[tokio::test]
async fn one_worker_and_eight_give_the_same_answers() {
    let sample = Sample::new(3_000, 41);
    let mut answers = Vec::new();
    for workers in [1, 8] {
        let server = Server::start(Options::default().arg("--workers").arg(workers.to_string())).await;
        let run = Run::prepare(&server.api(), &sample).await;
        run.start().await;
        let job = run.completed(LONG).await;
        let csv = run.export("csv", "all").await.text;
        // Ids are made anew by each run; everything else must be the same, byte for byte and in the same order.
        let rows: Vec<String> = csv.lines().map(|l| l.split_once(',').map_or(l, |(_, rest)| rest).to_owned()).collect();
        assert!(rows.len() > 2_000, "{} rows", rows.len());
        answers.push((job["counts"].clone(), rows));
    }
    assert_eq!(answers[0].0, answers[1].0);
    assert!(answers[0].1 == answers[1].1, "the exports differ");
}

#[tokio::test]
async fn eight_workers_and_64_clients_share_one_state() {
    const CLIENTS: usize = 64;
    const ENTITIES: usize = 24;
    // All upload at once, and are one user with a share of the places.
    let options = Options::default().arg("--workers").arg("8").env("TIEOUT_MAX_TRANSFERS", "256");
    let server = Server::start(options).await;
    let api = server.api();
    let project = api.project("shared").await;
    let mut watchers: Vec<(u64, Collector)> = Vec::new();
    for _ in 0..CLIENTS {
        let mut socket = server.socket().await;
        let joined = socket.join(&project, None).await;
        watchers.push((joined["off"].as_u64().expect("off"), socket.collect()));
    }

    // All at once: every client claims every entity, in its own order, over its own WebSocket, and uploads one file.
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let (addr, api, project) = (server.addr, api.clone(), project.clone());
        tasks.push(tokio::spawn(async move {
            let mut socket = crate::support::Socket::open(addr).await;
            socket.join(&project, None).await;
            let file = format!("id,amount\n{client},1.00\n");
            api.upload(&project, &format!("c{client}.csv"), file).await.expect(201);
            let mut won = Vec::new();
            for n in 0..ENTITIES {
                let entity = format!("match-{}", (n + client) % ENTITIES);
                let body = json!({"project_id": project, "action": "claim", "entity_id": entity});
                let reply = socket.ask("Collaboration", body).await;
                match reply["Collaboration"]["action"].as_str() {
                    Some("claimed") => won.push(entity),
                    _ => assert!(reply["Error"]["code"].is_string(), "a claim was answered {reply}"),
                }
            }
            // A claim of a lost connection may be taken over by its own user, and all of these are one user.
            (won, socket)
        }));
    }
    let mut holders: BTreeMap<String, usize> = BTreeMap::new();
    let mut open = Vec::new();
    for task in tasks {
        let (won, socket) = within(LONG, "a client's claims", task).await.expect("no client failed");
        open.push(socket);
        for entity in won {
            *holders.entry(entity).or_default() += 1;
        }
    }
    assert_eq!(holders.len(), ENTITIES, "every entity was granted to somebody");
    assert!(holders.values().all(|granted| *granted == 1), "each exactly once: {holders:?}");

    let mut orders = BTreeSet::new();
    for (n, (from, mut client)) in watchers.into_iter().enumerate() {
        client.reached(CLIENTS, LONG).await.unwrap_or_else(|seen| panic!("watcher {n}: {seen}"));
        let (seen, _) = client.stop().await;
        assert_gapless(&format!("watcher {n}"), &seen, from + 1, from + CLIENTS as u64);
        let files: Vec<String> = durable(&seen).iter().map(|(_, _, m)| file(m)).collect();
        assert_eq!(files.iter().collect::<BTreeSet<_>>().len(), CLIENTS, "every upload once");
        orders.insert(files);
    }
    assert_eq!(orders.len(), 1, "all saw one order");
}

fn file(message: &Value) -> String {
    text(&message["DataUpdate"]["data"], "filename")
}
