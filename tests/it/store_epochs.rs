//! `tieout epochs renew`: after a restore no client takes two histories for one.
//! Leaves what is restored, and how, to whoever does. Easy to get wrong: offsets alone look as if nothing had happened.
use crate::store_support::command;
use crate::support::{LONG, Options, Server, database_url};

/// The command on that server's data; its exit code and what it said.
fn renew(server: &Server, url: &str) -> (Option<i32>, String) {
    command(&["epochs", "renew"], server.data(), url)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_new_epochs_keep_a_client_from_mixing_two_histories() {
    let url = database_url().unwrap_or_default();
    let mut server = Server::start(Options::default().env("TIEOUT_DATABASE_URL", &url)).await;
    if url.is_empty() {
        let (code, text) = renew(&server, &url);
        assert!(code == Some(1) && text.contains("another tieout process"), "{text}");
    }
    server.terminate();
    server.exit(LONG).await;
    let (code, text) = renew(&server, &url);
    assert!(code == Some(1) && text.contains("there is no project"), "{text}");

    server.spawn();
    server.ready().await;
    let project = server.api().project("books").await;
    let joined = server.socket().await.join(&project, None).await;
    let (ep, off) = (joined["ep"].as_str().unwrap().to_owned(), joined["off"].as_u64().unwrap());
    server.terminate();
    server.exit(LONG).await;
    let (code, text) = renew(&server, &url);
    assert!(code == Some(0) && text.contains("new epoch: 1"), "{text}");

    server.spawn();
    server.ready().await;
    let joined = server.socket().await.join(&project, Some((&ep, off))).await;
    assert_eq!((&joined["recovered"], &joined["off"]), (&false.into(), &off.into()), "{joined}");
    let renewed = joined["ep"].as_str().unwrap();
    assert_ne!(renewed, ep);
    let joined = server.socket().await.join(&project, Some((renewed, off))).await;
    assert_eq!(joined["recovered"], true, "{joined}");
}
