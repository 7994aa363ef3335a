//! The store is away: the process lives, says what is wrong, and recovers by itself.
use std::fs;

use crate::support::{Answer, LONG, Options, Run, SHORT, Sample, Server, eventually};

#[tokio::test]
async fn a_store_that_is_away_at_the_start_shows_in_ready_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("place");
    // A file where a folder must be: nothing below it can be made, not even by root.
    fs::write(&place, "in the way").unwrap();
    let server = Server::launch(Options::default().data(place.join("data")));
    let api = server.api();
    let unavailable = eventually(SHORT, "ready to say that the store is away", || async {
        let answer = api.try_get("/api/ready").await?;
        if answer.status == 503 { Ok(answer) } else { Err(format!("{} {}", answer.status, answer.text)) }
    })
    .await;
    let ready = Answer::json(&unavailable);
    assert_eq!(ready["status"], "unavailable", "{ready}");
    let reason = ready["checks"]["store"]["reason"].as_str().expect("the reason is given");
    assert!(reason.len() > 10, "a reason in words: {reason}");
    assert_eq!(api.get("/api/health").await.expect(200)["status"], "ok");
    let answer = api.get("/api/v1/projects").await;
    assert!(answer.header("retry-after").is_some(), "a caller is told when to try again");
    answer.expect_problem(503, "unavailable");
    server.assert_running();

    fs::remove_file(&place).unwrap();
    server.ready().await;
    let run = Run::prepare(&api, &Sample::new(50, 61)).await;
    run.start().await;
    run.completed(LONG).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn two_servers_do_not_share_one_data_directory() {
    let first = Server::start(Options::default()).await;
    let mut second = Server::launch(Options::default().data(first.data()));
    // Either it refuses to start, or it says that it is not ready; it never serves the same data.
    eventually(SHORT, "the second server to refuse", || async {
        match second.api().try_get("/api/ready").await {
            Ok(answer) if answer.status == 503 => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.status, answer.text)),
            Err(_) if second.log().contains("another") => Ok(()),
            Err(error) => Err(error),
        }
    })
    .await;
    first.api().get("/api/v1/projects").await.expect(200);
    second.stop_if_running();
}
