//! A pooler between the store and PostgreSQL: one that gives each client a session works, another one is refused by name.
use crate::store_support::wait_status;
use crate::support::pgbouncer::Pgbouncer;
use crate::support::postgres::Postgres;
use std::time::Duration;
use tieout::db::{Migrations, Options, Status, Store, projects};

fn options(url: &str) -> Options {
    let mut options = Options::postgres(url.parse().expect("an address"));
    options.probe_interval = Duration::from_millis(200);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_refused_with_the_reason_and_its_session_mode_is_used() {
    let server = Postgres::start();
    let url = server.database().await;
    for mode in ["transaction", "statement"] {
        let pooler = Pgbouncer::start(&server, mode).await;
        let store = Store::start(options(&pooler.url(&url))).unwrap();
        let status = wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
        let reason = status.reason().unwrap();
        assert!(reason.contains("session mode"), "{mode}: {reason}");
        store.stop().await;
        let refused = Migrations::of(options(&pooler.url(&url))).status().await;
        assert!(refused.is_err(), "{mode}: migrations would lock another session: {refused:?}");
    }
    let pooler = Pgbouncer::start(&server, "session").await;
    let store = Store::start(options(&pooler.url(&url))).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    for round in 0..30 {
        projects::create(&store, &format!("books {round}")).await.unwrap();
    }
    assert!(store.status().borrow().is_ready());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_other_replicas_use_at_once_is_refused_as_well() {
    let server = Postgres::start();
    let url = server.database().await;
    let pooler = Pgbouncer::start(&server, "transaction").await;
    let stores: Vec<Store> = (0..4).map(|_| Store::start(options(&pooler.url(&url))).unwrap()).collect();
    for store in &stores {
        let status = wait_status(store, "down", |status| matches!(status, Status::Down { .. })).await;
        assert!(status.reason().unwrap().contains("session mode"), "{status:?}");
    }
    for store in stores {
        store.stop().await;
    }
}
