//! How the store comes to a PostgreSQL: one that never answers, one whose schema it may not touch, one that was made newer.
//! Leaves servers that die to the store's own tests. Easy to get wrong: a server that accepts a connection has not said
//! anything yet, and may never.
use crate::store_support::wait_status;
use crate::support::postgres::{Postgres, connect};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{LONG, Server, eventually};
use std::time::{Duration, Instant};
use tieout::db::{Migrations, Options, Status, Store, StoreError, projects};

fn options(url: &str) -> Options {
    let mut options = Options::postgres(url.parse().expect("an address"));
    options.probe_interval = Duration::from_millis(200);
    options
}

fn down(status: &Status) -> bool {
    matches!(status, Status::Down { .. })
}

fn refused(status: &Status) -> bool {
    matches!(status, Status::Mismatched { .. })
}

async fn stop_within(store: &Store, limit: Duration) {
    let began = Instant::now();
    tokio::time::timeout(LONG, store.stop()).await.expect("a stop hangs");
    assert!(began.elapsed() < limit, "it took {:?} to stop", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_accepts_and_never_answers_is_named_and_holds_up_no_stop() {
    let server = Postgres::shared();
    let proxy = Proxy::start(server.port);
    proxy.set(Mode::Blackhole).await;
    let url = server.database().await.replace(&format!(":{}/", server.port), &format!(":{}/", proxy.port));
    let store = Store::start(options(&url)).unwrap();
    let status = wait_status(&store, "down", down).await;
    assert!(status.reason().unwrap().contains("did not answer"), "{status:?}");

    let stopped = Store::start(options(&url)).unwrap();
    let before = proxy.accepted();
    eventually(LONG, "both to be connecting", || async {
        if proxy.accepted() > before + 1 { Ok(()) } else { Err("nobody came".into()) }
    })
    .await;
    stop_within(&stopped, Duration::from_secs(1)).await;

    proxy.set(Mode::Pass).await;
    wait_status(&store, "ready", Status::is_ready).await;
    projects::create(&store, "books").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_hosts_one_that_never_answers_does_not_keep_the_store_from_the_next() {
    let server = Postgres::shared();
    let silent = Proxy::start(server.port);
    silent.set(Mode::Blackhole).await;
    let both = format!("127.0.0.1:{},127.0.0.1:{}/", silent.port, server.port);
    let url = server.database().await.replace(&format!("127.0.0.1:{}/", server.port), &both);
    let store = Store::start(options(&url)).unwrap();
    assert!(store.ready_within(LONG).await, "{:?}", *store.status().borrow());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_gives_up_what_a_frozen_server_does_not_answer() {
    let server = Postgres::start();
    let mut patient = options(&server.database().await);
    // The stop comes before the store has found out by itself.
    patient.probe_interval = Duration::from_secs(60);
    let store = Store::start(patient).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    server.freeze();
    let own = store.clone();
    let mut call = tokio::spawn(async move { projects::create(&own, "books").await });
    let waits = tokio::time::timeout(Duration::from_millis(300), &mut call).await;
    assert!(waits.is_err(), "a frozen server answered: {waits:?}");
    stop_within(&store, Duration::from_secs(10)).await;
    let given_up = call.await.unwrap();
    assert!(matches!(given_up, Err(StoreError::Unavailable { .. })), "{given_up:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_change_the_schema_can_look_at_it_and_serve_it() {
    let url = Postgres::shared().database().await;
    let (owner, _task) = connect(&url).await;
    owner.batch_execute("CREATE ROLE clerk LOGIN").await.unwrap();
    let mut clerk = options(&url.replace("tieout@", "clerk@"));
    clerk.migrate = false;
    let steps = Migrations::of(clerk.clone()).status().await.unwrap();
    assert!(steps.iter().all(|step| !step.applied && step.known), "{steps:?}");
    let store = Store::start(clerk.clone()).unwrap();
    let status = wait_status(&store, "refused", refused).await;
    assert!(status.reason().unwrap().contains("older than this binary"), "{status:?}");

    Migrations::of(options(&url)).up().await.unwrap();
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO clerk";
    owner.batch_execute(grant).await.unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    projects::create(&store, "books").await.unwrap();
    store.stop().await;
    let steps = Migrations::of(clerk.clone()).status().await.unwrap();
    assert!(steps.iter().all(|step| step.applied && step.known), "{steps:?}");
    // Nothing is missing, so bringing it up to date takes no right either.
    clerk.migrate = true;
    let store = Store::start(clerk).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_serving_survives_an_outage_during_a_rolling_update_and_a_fresh_one_is_refused() {
    let mut server = Postgres::start();
    let url = server.database().await;
    let store = Store::start(options(&url)).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    let newer = options(&url).with_extra_migration("2999-01-01-000001_later", "CREATE TABLE later (id BIGINT)");
    Migrations::of(newer).up().await.unwrap();
    server.kill();
    wait_status(&store, "down", down).await;
    server.restart(&[]);
    let status = wait_status(&store, "ready or refused", |status| status.is_ready() || refused(status)).await;
    assert!(status.is_ready(), "{status:?}");
    projects::create(&store, "books").await.unwrap();
    let fresh = Store::start(options(&url)).unwrap();
    let status = wait_status(&fresh, "refused", refused).await;
    assert!(status.reason().unwrap().contains("newer than this binary"), "{status:?}");
    fresh.stop().await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_close_its_store_in_time_says_so_by_its_exit_code() {
    let url = Postgres::shared().database().await;
    let (client, _task) = connect(&url).await;
    // The first migration wants that name and waits for us, and a stop waits for a migration.
    client.batch_execute("BEGIN; CREATE TABLE projects (id bigint)").await.unwrap();
    // What the server does is looked at once in a transaction.
    let (looker, _task) = connect(&url).await;
    let options = crate::support::Options::default()
        .env("TIEOUT_DATABASE_URL", &url)
        .env("TIEOUT_SHUTDOWN_TIMEOUT", "2s")
        .env("TIEOUT_DRAIN_WINDOW", "500ms");
    let mut server = Server::launch(options);
    eventually(LONG, "the migration to wait", || async {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        let count: i64 = looker.query_one(waiting, &[]).await.unwrap().get(0);
        if count > 0 { Ok(()) } else { Err(server.log()) }
    })
    .await;
    server.terminate();
    assert_eq!(server.exit(LONG).await.code(), Some(4), "{}", server.log());
    client.batch_execute("ROLLBACK").await.unwrap();
}
