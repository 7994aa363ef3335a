//! Connections to PostgreSQL that stop working while new ones do, under two replicas. Leaves the store alone to `postgres_silence`.
//! Easy to get wrong: `/api/ready` looks well all the time; what counts is that requests and joins are answered.
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;

use super::{load::Load, pair::Pair};
use crate::support::{
    LONG, Socket, eventually,
    postgres::{Postgres, connect, idle_processes},
    within,
};

/// From the fault until requests and joins work again.
const BACK: Duration = Duration::from_secs(5);
/// Longest that a request may wait.
const BOUND: Duration = Duration::from_secs(7);
/// Longest that a join may wait for its answer.
const JOIN_BOUND: Duration = Duration::from_secs(12);

/// Has both replicas open all connections that they may.
async fn warm(pair: &Pair) {
    for api in [pair.a.api(), pair.b.api()] {
        for _ in 0..3 {
            join_all((0..30).map(|_| api.try_get("/api/v1/projects"))).await;
        }
    }
}

/// Joins at both replicas, of rooms that are not open there, and each is answered in time.
async fn joins_are_answered(pair: &Pair, projects: &[String]) {
    let addresses = [pair.a.addr, pair.b.addr];
    let joins = projects.iter().enumerate().map(|(n, project)| async move {
        let mut socket = Socket::open(addresses[n % 2]).await;
        let answer =
            within(JOIN_BOUND, "a join to be answered", socket.ask("JoinProject", json!({"project_id": project})));
        let answer = answer.await;
        assert!(answer["ProjectJoined"].is_object() || answer["Error"].is_object(), "{answer}");
        socket.close().await;
    });
    join_all(joins).await;
}

async fn rooms(pair: &Pair) -> Vec<String> {
    let mut rooms = Vec::new();
    for n in 0..8 {
        rooms.push(pair.a.api().project(&format!("room {n}")).await);
    }
    rooms
}

/// From the fault on; and it goes on working, for every reader as well.
async fn over(pair: &Pair, load: &Load, began: Instant) -> Duration {
    load.published(10, LONG).await;
    let took = began.elapsed();
    load.published(100, LONG).await;
    for api in [pair.a.api(), pair.b.api()] {
        eventually(BACK, "a reader to be served", || async {
            let answer = api.try_get("/api/v1/projects").await?;
            if answer.status == 200 { Ok(()) } else { Err(answer.text) }
        })
        .await;
    }
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_database_whose_other_end_is_gone_are_replaced() {
    let pair = Pair::start().await;
    let (load, rooms) = (pair.load_of_many().await, rooms(&pair).await);
    warm(&pair).await;
    let began = Instant::now();
    pair.to_postgres.halve().await;
    let (recovery, ()) = tokio::join!(over(&pair, &load, began), joins_are_answered(&pair, &rooms));
    let fault =
        "every connection to PostgreSQL half-open (the server's side gone, ours open and silent), new ones work";
    pair.judge(load, "29-postgres-half-open", fault, recovery, BOUND).await;
    assert!(recovery <= BACK, "it took {recovery:?} to recover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_processes_that_are_frozen_are_left_alone_and_replaced() {
    let pair = Pair::start().await;
    let (load, rooms) = (pair.load_of_many().await, rooms(&pair).await);
    warm(&pair).await;
    let (client, _task) = connect(&pair.url()).await;
    let began = Instant::now();
    let frozen = idle_processes(&client).await;
    pair.postgres.freeze_some(&frozen);
    assert!(frozen.len() >= 10, "{frozen:?}");
    let (recovery, ()) = tokio::join!(over(&pair, &load, began), joins_are_answered(&pair, &rooms));
    let fault = "the processes of PostgreSQL that serve our connections frozen (SIGSTOP), new ones work";
    pair.judge(load, "29-postgres-processes-frozen", fault, recovery, BOUND).await;
    pair.postgres.thaw_some(&frozen);
    assert!(recovery <= BACK, "it took {recovery:?} to recover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_behind_a_balancer_that_leaves_old_connections_open_is_survived() {
    let mut primary = Postgres::start();
    let url = primary.database().await;
    let standby = Postgres::following(&primary);
    // What was acknowledged is on both.
    primary.kill();
    primary.restart(&["synchronous_standby_names=*"]);
    let (client, _task) = connect(&url).await;
    eventually(LONG, "the standby to follow", || async {
        let asked = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        let count: i64 = client.query_one(asked, &[]).await.map_err(|error| error.to_string())?.get(0);
        if count == 1 { Ok(()) } else { Err(format!("{count} do")) }
    })
    .await;
    let database = url.rsplit('/').next().expect("an address ends with a name").to_owned();
    let mut pair = Pair::on(primary, &url, |_, options| options).await;
    let load = pair.load_of_many().await;
    warm(&pair).await;
    pair.postgres.freeze();
    let (heir, _task) = connect(&standby.url(&database)).await;
    heir.batch_execute("SELECT pg_promote(true, 30)").await.expect("the standby is promoted");
    pair.to_postgres.switch(standby.port).await;
    let began = Instant::now();
    let recovery = over(&pair, &load, began).await;
    let old = std::mem::replace(&mut pair.postgres, standby);
    let fault = "PostgreSQL frozen, its standby promoted behind a balancer that leaves old connections open";
    pair.judge(load, "29-postgres-failover-balancer", fault, recovery, BOUND).await;
    old.thaw();
    assert!(recovery <= BACK, "it took {recovery:?} to recover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_with_dead_connections_ends_in_its_time() {
    let mut pair = Pair::start().await;
    warm(&pair).await;
    pair.to_postgres.halve().await;
    let api = pair.a.api();
    let waiting: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn({
                let api = api.clone();
                async move { api.try_get("/api/v1/projects").await }
            })
        })
        .collect();
    let began = Instant::now();
    pair.a.terminate();
    let status = pair.a.exit(LONG).await;
    let took = began.elapsed();
    assert_eq!(status.code(), Some(0), "{status:?}");
    assert!(took <= Duration::from_secs(15), "it took {took:?}");
    for request in waiting {
        // An answer or an end: both are in time.
        drop(request.await);
    }
}
