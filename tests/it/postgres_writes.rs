//! A PostgreSQL that answers and takes no writes: the store says so, once, and finds the host that does.
use crate::store_support::wait_status;
use crate::support::postgres::{Postgres, connect};
use crate::support::{LONG, Options as Serving, Server, eventually};
use serde_json::json;
use std::time::Duration;
use tieout::db::{Migrations, Options, Status, Store, StoreError, projects};

fn options(url: &str) -> Options {
    let mut options = Options::postgres(url.parse().expect("an address"));
    options.probe_interval = Duration::from_millis(200);
    options
}

async fn ready(url: &str) -> Store {
    let store = Store::start(options(url)).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store
}

/// Waits until the store does or does not say that writes are refused; what it says.
async fn refusal(store: &Store, refused: bool) -> String {
    eventually(LONG, "the store to say how it is about writes", || async {
        let now = store.refuses_writes();
        if now.is_some() == refused { Ok(now.unwrap_or_default()) } else { Err(format!("{now:?}")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_becomes_read_only_is_noticed_without_a_call_and_one_that_is_writable_is_looked_for() {
    let (first, second) = (Postgres::start(), Postgres::start());
    let url = first.database().await;
    let (name, both) = (url.rsplit('/').next().unwrap(), format!("127.0.0.1:{},127.0.0.1:{}", first.port, second.port));
    second.database().await;
    let store = ready(&format!("postgres://tieout@{both}/{name}")).await;
    let here = projects::create(&store, "here").await.unwrap().value.id;
    let alone = ready(&url).await;
    let (client, _task) = connect(&url).await;
    client.batch_execute("ALTER SYSTEM SET default_transaction_read_only = on").await.unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();

    let status = wait_status(&alone, "down", |status| matches!(status, Status::Down { .. })).await;
    assert!(status.reason().unwrap().contains("takes no writes"), "{status:?}");
    // The second host is another database: what was made on the first one is not there.
    eventually(LONG, "the second host to be used", || async {
        match projects::get(&store, here).await {
            Err(StoreError::NotFound) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    projects::create(&store, "there").await.unwrap();

    let back = "SET default_transaction_read_only = off; ALTER SYSTEM RESET default_transaction_read_only";
    for statement in back.split("; ") {
        client.batch_execute(statement).await.unwrap();
    }
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    wait_status(&alone, "ready", Status::is_ready).await;
    projects::create(&alone, "again").await.unwrap();
    store.stop().await;
    alone.stop().await;
}

/// A database with all tables: its owner's connection, and the address of a role that may only read.
async fn with_reader(server: &Postgres) -> (tokio_postgres::Client, String) {
    let url = server.database().await;
    Migrations::of(options(&url)).up().await.unwrap();
    let (owner, _task) = connect(&url).await;
    owner
        .batch_execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        .await
        .unwrap();
    (owner, url.replace("tieout@", "reader@"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_is_named_before_anybody_calls_and_a_right_that_is_given_is_noticed() {
    let server = Postgres::start();
    let (owner, reader) = with_reader(&server).await;
    let store = ready(&reader).await;
    let said = refusal(&store, true).await;
    assert!(said.contains("reader") && said.contains("no right"), "{said}");
    let told = projects::create(&store, "books").await;
    assert!(matches!(&told, Err(StoreError::Unavailable { reason, .. }) if reason.contains("42501")), "{told:?}");
    assert!(projects::list(&store, None, 10).await.is_ok(), "what is there can be read");
    owner.batch_execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO reader").await.unwrap();
    refusal(&store, false).await;
    projects::create(&store, "books").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_one_line_for_each_time_that_writes_are_refused_or_taken_again() {
    let server = Postgres::start();
    let (owner, reader) = with_reader(&server).await;
    let tieout = Server::launch(Serving::default().env("TIEOUT_DATABASE_URL", reader));
    let api = tieout.api();
    for turn in 1..=2 {
        for (taken, change) in [(false, "REVOKE"), (true, "GRANT")] {
            let whom = if taken { "TO" } else { "FROM" };
            let tables = "ON ALL TABLES IN SCHEMA public";
            owner.batch_execute(&format!("{change} INSERT, UPDATE, DELETE {tables} {whom} reader")).await.unwrap();
            let lines = |text: &str| tieout.log().lines().filter(|line| line.contains(text)).count();
            let [refused, again] = [turn, if taken { turn } else { turn - 1 }];
            eventually(LONG, "the change to be logged and answered", || async {
                let made = api.try_post("/api/v1/projects", json!({ "name": "books" })).await?;
                let seen = (lines("the store takes no writes"), lines("the store takes writes again"));
                let answered = if taken { made.status == 201 } else { made.status == 503 };
                if seen == (refused, again) && answered { Ok(()) } else { Err(format!("{seen:?} {}", made.text)) }
            })
            .await;
            // Each of these meets the same trouble, or none.
            for _ in 0..20 {
                let made = api.post("/api/v1/projects", json!({ "name": "books" })).await;
                assert_eq!(made.status, if taken { 201 } else { 503 }, "{}", made.text);
            }
            let seen = (lines("the store takes no writes"), lines("the store takes writes again"));
            assert_eq!(seen, (refused, again), "turn {turn}, taken {taken}\n{}", tieout.log());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_the_right_to_migrate_is_told_what_is_to_be_done() {
    let server = Postgres::start();
    let url = server.database().await;
    let (owner, _task) = connect(&url).await;
    owner.batch_execute("CREATE ROLE clerk LOGIN").await.unwrap();
    let store = Store::start(options(&url.replace("tieout@", "clerk@"))).unwrap();
    let status = wait_status(&store, "down", Status::failed).await;
    let reason = status.reason().unwrap();
    assert!(reason.contains("tieout migrate up") && reason.contains("first_light"), "{reason}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_lost_and_opened_again_is_never_said_to_be_brought_up_to_date() {
    let mut server = Postgres::start();
    let store = ready(&server.database().await).await;
    let mut seen = store.status();
    let watching = tokio::spawn(async move {
        let mut all = Vec::new();
        while seen.changed().await.is_ok() {
            let now = seen.borrow_and_update().clone();
            let last = now.is_ready();
            all.push(now);
            if last {
                break;
            }
        }
        all
    });
    server.kill();
    wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
    server.restart(&[]);
    let all = watching.await.unwrap();
    assert!(!all.contains(&Status::Migrating), "{all:?}");
    store.stop().await;
}
