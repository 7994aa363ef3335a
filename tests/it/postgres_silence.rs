//! Connections that stop working while the server goes on: they are found and replaced within seconds, and nobody waits for ever.
//! Leaves what clients of two replicas see to the faults. Easy to get wrong: a server that is away is another case, and found by
//! its own probe; here new connections always work.
use crate::store_support::wait_status;
use crate::support::postgres::{Postgres, connect, idle_processes};
use crate::support::proxy::Proxy;
use crate::support::{LONG, eventually};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use tieout::db::{Options, Status, Store, StoreError, projects};

/// From the fault until calls work again.
const BACK: Duration = Duration::from_secs(5);

async fn ready(url: &str, change: impl FnOnce(&mut Options)) -> Store {
    let mut options = Options::postgres(url.parse().expect("an address"));
    change(&mut options);
    let store = Store::start(options).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store
}

/// Opens all connections that the pool may have.
async fn warm(store: &Store) {
    for _ in 0..5 {
        join_all((0..40).map(|_| projects::list(store, None, 1_000))).await;
    }
}

/// So many callers at once go on until each has been served; for how long.
async fn all_served(store: &Store, callers: usize) -> Duration {
    let began = Instant::now();
    let one = || async {
        eventually(LONG, "a call to be served", || async {
            projects::list(store, None, 1).await.map(drop).map_err(|error| error.to_string())
        })
        .await;
    };
    join_all((0..callers).map(|_| one())).await;
    began.elapsed()
}

fn through(proxy: &Proxy, server: &Postgres, url: &str) -> String {
    url.replace(&format!(":{}/", server.port), &format!(":{}/", proxy.port))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_whose_other_end_is_gone_are_replaced_within_seconds() {
    let server = Postgres::shared();
    let proxy = Proxy::start(server.port);
    let url = through(&proxy, server, &server.database().await);
    for callers in [16, 1] {
        let store = ready(&url, |_| ()).await;
        warm(&store).await;
        proxy.halve().await;
        let took = all_served(&store, callers).await;
        assert!(took <= BACK, "{callers} callers were served after {took:?}");
        let after = all_served(&store, 40).await;
        assert!(after <= Duration::from_secs(3), "dead ones were left: {after:?}");
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_process_costs_seconds_and_not_a_place_in_the_pool() {
    let server = Postgres::start();
    let url = server.database().await;
    let (client, _task) = connect(&url).await;
    for callers in [16, 1] {
        let store = ready(&url, |_| ()).await;
        warm(&store).await;
        let frozen = idle_processes(&client).await;
        assert!(frozen.len() >= 10, "the pool is warm: {frozen:?}");
        server.freeze_some(&frozen);
        let mut status = store.status();
        status.mark_unchanged();
        let took = all_served(&store, callers).await;
        assert!(took <= BACK, "{callers} callers were served after {took:?}");
        assert!(status.has_changed().unwrap(), "the pool was opened anew, and said so meanwhile");
        server.thaw_some(&frozen);
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_whose_connections_are_all_stuck_is_opened_anew() {
    let server = Postgres::start();
    let url = server.database().await;
    let store = ready(&url, |options| options.connections = 2).await;
    let (client, _task) = connect(&url).await;
    let stuck = "CREATE FUNCTION stuck() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'; \
                 CREATE TRIGGER stuck BEFORE INSERT ON projects FOR EACH ROW EXECUTE FUNCTION stuck()";
    client.batch_execute(stuck).await.unwrap();
    let calls: Vec<_> = (0..2)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { projects::create(&store, "books").await })
        })
        .collect();
    eventually(LONG, "both connections to be at work", || async {
        let at_work = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%INTO \"projects\"%' AND state = 'active' \
                       AND datname = current_database()";
        let count: i64 = client.query_one(at_work, &[]).await.unwrap().get(0);
        // The second one waits for the lock by name of the first.
        if count >= 1 { Ok(()) } else { Err(format!("{count} are")) }
    })
    .await;
    let took = all_served(&store, 8).await;
    assert!(took <= BACK, "callers were served after {took:?}");
    for call in calls {
        let given_up = call.await.unwrap();
        assert!(matches!(given_up, Err(StoreError::Unavailable { .. })), "{given_up:?}");
    }
    let left = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    eventually(LONG, "the server to be at work on none of them", || async {
        let count: i64 = client.query_one(left, &[]).await.unwrap().get(0);
        if count == 0 { Ok(()) } else { Err(format!("{count} are left")) }
    })
    .await;
    client.batch_execute("DROP TRIGGER stuck ON projects").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_somebody_else_holds_opens_nothing_anew() {
    let server = Postgres::start();
    let url = server.database().await;
    let store = ready(&url, |options| options.connections = 2).await;
    let project = projects::create(&store, "books").await.unwrap().value.id;
    let (client, _task) = connect(&url).await;
    client.batch_execute("BEGIN; SELECT FROM projects FOR UPDATE").await.unwrap();
    let mut status = store.status();
    status.mark_unchanged();
    let renames = join_all((0..8).map(|_| projects::rename(&store, project, "ledgers"))).await;
    assert!(renames.iter().all(|told| matches!(told, Err(StoreError::Unavailable { .. }))), "{renames:?}");
    assert!(!status.has_changed().unwrap(), "{:?}", *status.borrow());
    client.batch_execute("ROLLBACK").await.unwrap();
    projects::rename(&store, project, "ledgers").await.unwrap();
    store.stop().await;
}
