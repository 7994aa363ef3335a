//! The Redis harness keeps its promises: a server that dies, freezes and comes back as told, and leaves nothing behind.
use std::process::{Command, Stdio};

use crate::support::redis::Redis;
use crate::support::{LONG, SHORT, eventually};

#[test]
fn a_server_comes_back_on_its_port_with_its_data_or_without() {
    let mut server = Redis::start();
    assert_eq!(server.command("SET k v"), ["OK"]);
    server.kill();
    let refused = std::net::TcpStream::connect(("127.0.0.1", server.port)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    server.restart();
    assert_eq!(server.command("GET k"), ["v"]);
    server.kill();
    server.restart_empty();
    assert_eq!(server.command("EXISTS k"), ["0"]);
    let dir = server.dir.clone();
    drop(server);
    assert!(!dir.exists());
}

#[tokio::test]
async fn a_frozen_server_answers_nobody_until_it_is_thawed() {
    let mut server = Redis::start();
    server.freeze();
    let port = server.port;
    let mut asked = tokio::task::spawn_blocking(move || {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        std::io::Write::write_all(&mut socket, b"PING\r\n").unwrap();
        std::io::Read::read(&mut socket, &mut [0; 7]).unwrap()
    });
    tokio::time::timeout(std::time::Duration::from_millis(200), &mut asked).await.unwrap_err();
    server.thaw();
    assert_eq!(tokio::time::timeout(SHORT, asked).await.unwrap().unwrap(), 7);
}

#[tokio::test]
async fn a_replica_follows_and_can_be_promoted() {
    let (master, replica) = (Redis::start(), Redis::start());
    replica.follow(&master);
    assert_eq!(master.command("SET k v"), ["OK"]);
    eventually(LONG, "the replica to have the key", async || match replica.command("GET k").as_slice() {
        [value] if value == "v" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(replica.command("ROLE")[0], "slave");
    replica.promote();
    assert_eq!(replica.command("ROLE")[0], "master");
}

#[tokio::test]
async fn a_server_and_its_directory_are_gone_after_kill_9_of_the_process_it_served() {
    let (reader, writer) = std::io::pipe().unwrap();
    let held = writer.try_clone().unwrap();
    let mut served = Command::new("sleep").arg("600").stdin(Stdio::null()).stdout(held).spawn().unwrap();
    let server = Redis::start_on((reader, writer), &[]);
    let port = server.port;
    let dir = server.leave();
    assert!(dir.exists());
    std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    served.kill().unwrap();
    served.wait().unwrap();
    eventually(LONG, "the server's directory to be gone", async || {
        if dir.exists() { Err("it is there".into()) } else { Ok(()) }
    })
    .await;
    let refused = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}
