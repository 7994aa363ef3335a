//! A server that speaks another language: what is an outage in English is one in German.
use crate::store_support::wait_status;
use crate::support::postgres::{Postgres, connect};
use std::time::Duration;
use tieout::db::{Options, Status, Store, StoreError, projects};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outages_are_told_from_defects_in_whatever_language_the_server_speaks() {
    let mut server = Postgres::start();
    let url = server.database().await;
    server.speak_german();
    let (client, _task) = connect(&url).await;
    let error = client.batch_execute("SELECT 1 / 0").await.unwrap_err();
    let said = error.as_db_error().expect("the server's word").message().to_owned();
    assert!(said.contains("durch Null"), "the server does not speak German: {said}");

    let mut options = Options::postgres(url.parse().unwrap());
    options.statement_timeout = Duration::from_secs(1);
    let store = Store::start(options).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    let project = projects::create(&store, "books").await.unwrap().value.id;
    let outage = |told: Result<_, StoreError>, code: &str| match told {
        Err(StoreError::Unavailable { reason, .. }) => assert!(reason.contains(code), "{reason}"),
        Err(other) => panic!("SQLSTATE {code} is taken for {other:?}"),
        Ok(()) => panic!("SQLSTATE {code} was expected"),
    };
    let rename = || async { projects::rename(&store, project, "ledgers").await.map(drop) };

    client.batch_execute("BEGIN; SELECT FROM projects FOR UPDATE").await.unwrap();
    outage(rename().await, "57014");
    client.batch_execute("ROLLBACK; ALTER DATABASE test_0 SET lock_timeout = '100ms'").await.unwrap();
    // Each by an error of the server's own making, in its language.
    let raised = |code: &str| {
        format!(
            "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN RAISE EXCEPTION ''Platte voll'' USING ERRCODE = ''{code}''; END'"
        )
    };
    client.batch_execute(&raised("53100")).await.unwrap();
    let trigger = "CREATE TRIGGER broken BEFORE UPDATE ON projects FOR EACH ROW EXECUTE FUNCTION broken()";
    client.batch_execute(trigger).await.unwrap();
    for code in ["53100", "40P01", "55P03", "53200", "53300", "57P03", "58030", "25006"] {
        client.batch_execute(&raised(code)).await.unwrap();
        outage(rename().await, code);
    }
    client.batch_execute(&raised("22012")).await.unwrap();
    let defect = rename().await;
    assert!(matches!(defect, Err(StoreError::Internal(_))), "a defect is none: {defect:?}");
    client.batch_execute("DROP TRIGGER broken ON projects").await.unwrap();
    let nul = projects::rename(&store, project, "a\u{0}b").await;
    assert!(matches!(nul, Err(StoreError::Invalid(_))), "{nul:?}");
    // One that is ended by an operator, in the middle of a call.
    client.batch_execute("BEGIN; SELECT FROM projects FOR UPDATE").await.unwrap();
    let (own, mut ended) = (store.clone(), 0_i64);
    let call = tokio::spawn(async move { projects::rename(&own, project, "ledgers").await.map(drop) });
    while ended == 0 && !call.is_finished() {
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        ended = client.query_one(end, &[]).await.unwrap().get(0);
    }
    assert!(ended > 0, "it waited for the lock");
    let told = call.await.unwrap();
    assert!(matches!(told, Err(StoreError::Unavailable { .. })), "{told:?}");
    client.batch_execute("ROLLBACK").await.unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
}
