//! The PostgreSQL harness keeps its promises: a server for the asking, a database per test, nothing left behind.
use crate::support::postgres::{Postgres, connect};
use crate::support::{LONG, eventually};
use std::process::{Command, Stdio};

#[tokio::test(flavor = "multi_thread")]
async fn every_test_gets_a_database_of_its_own_on_one_shared_server() {
    let server = Postgres::shared();
    let (first, second) = (server.database().await, server.database().await);
    assert_ne!(first, second);
    let (client, _task) = connect(&first).await;
    client.batch_execute("CREATE TABLE mine (id BIGINT)").await.unwrap();
    let (client, _task) = connect(&second).await;
    let missing = client.batch_execute("SELECT * FROM mine").await.unwrap_err();
    assert_eq!(missing.code(), Some(&tokio_postgres::error::SqlState::UNDEFINED_TABLE));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_and_its_directory_are_gone_after_kill_9_of_the_process_it_served() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut served = Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    let server = Postgres::start_until(&reader);
    drop(reader);
    let (client, _task) = connect(&server.url("postgres")).await;
    client.batch_execute("SELECT 1").await.unwrap();
    served.kill().unwrap();
    served.wait().unwrap();
    eventually(LONG, "the server's directory to be gone", async || {
        if server.dir.exists() { Err("it is there".into()) } else { Ok(()) }
    })
    .await;
    let refused = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_dropped_while_it_is_frozen_leaves_no_process() {
    let server = Postgres::start();
    let (client, _task) = connect(&server.url("postgres")).await;
    client.batch_execute("SELECT 1").await.unwrap();
    let before = server.processes();
    assert!(before.len() > 1, "it has children: {before:?}");
    server.freeze();
    drop(server);
    eventually(LONG, "all of its processes to be gone", async || {
        let left = before.iter().filter(|pid| std::path::Path::new(&format!("/proc/{pid}/cwd")).exists()).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} of {before:?}")) }
    })
    .await;
}
