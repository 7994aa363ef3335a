//! The store is away: the process lives, says what is wrong, and recovers by itself. Leaves stores that go away under load to
//! `faults`. Easy to get wrong: a process that is only starting answers 503 too; each test waits for the reason it means.
use std::{
    fs,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Api, LONG, Options, Run, SHORT, Sample, Server, eventually, postgres::Postgres, redis::Redis};

/// Waits until `/api/ready` says 503 with the store down for this reason.
async fn down_because(api: &Api, words: &str) -> Value {
    eventually(SHORT, &format!("the store to be down: {words}"), || async {
        let answer = api.try_get("/api/ready").await?;
        let ready = answer.json();
        let store = &ready["checks"]["store"];
        let named = store["reason"].as_str().is_some_and(|reason| reason.contains(words));
        if answer.status == 503 && ready["status"] == "unavailable" && store["state"] == "down" && named {
            Ok(ready)
        } else {
            Err(format!("{} {}", answer.status, answer.text))
        }
    })
    .await
}

/// Waits until `/api/ready` says this, with 200.
async fn says(api: &Api, status: &str) -> Value {
    eventually(LONG, &format!("the server to say {status}"), || async {
        let answer = api.try_get("/api/ready").await?;
        let ready = answer.json();
        if answer.status == 200 && ready["status"] == status { Ok(ready) } else { Err(answer.text) }
    })
    .await
}

/// Every request is told at once to come again.
async fn refuses(api: &Api) {
    assert_eq!(api.get("/api/health").await.expect(200)["status"], "ok");
    let start = Instant::now();
    let read = api.get("/api/v1/projects").await;
    let write = api.post("/api/v1/projects", json!({ "name": "away" })).await;
    let waited = start.elapsed();
    for answer in [read, write] {
        assert!(answer.header("retry-after").is_some(), "a caller is told when to try again");
        answer.expect_problem(503, "unavailable");
    }
    assert!(waited < Duration::from_secs(1), "two requests waited {waited:?} for a store that is away");
}

#[tokio::test]
async fn a_store_that_is_away_at_the_start_shows_in_ready_and_comes_back() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().join("place");
    // A file where a folder must be: nothing below it can be made, not even by root.
    fs::write(&place, "in the way").unwrap();
    let server = Server::launch(Options::default().sqlite().data(place.join("data")));
    let api = server.api();
    down_because(&api, "place").await;
    refuses(&api).await;
    server.assert_running();

    fs::remove_file(&place).unwrap();
    server.ready().await;
    let run = Run::prepare(&api, &Sample::new(50, 61)).await;
    run.start().await;
    run.completed(LONG).await;
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn a_process_that_is_started_without_postgresql_and_redis_takes_up_each_as_it_comes() {
    let (mut postgres, mut redis) = (Postgres::start(), Redis::start());
    let url = postgres.database().await;
    postgres.kill();
    redis.kill();
    let options = Options::default()
        .env("TIEOUT_DATABASE_URL", &url)
        .env("TIEOUT_REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
    let server = Server::launch(options);
    let (api, relay) = (server.api(), |ready: &Value| ready["checks"]["relay"].clone());
    let ready = down_because(&api, "refused").await;
    assert_eq!(relay(&ready)["state"], "down", "{ready}");
    assert!(relay(&ready)["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "with the reason: {ready}");
    refuses(&api).await;

    redis.restart();
    eventually(LONG, "the relay to be up", || async {
        let ready = down_because(&api, "refused").await;
        if relay(&ready)["state"] == "up" { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
    refuses(&api).await;
    redis.kill();

    postgres.restart(&[]);
    let ready = says(&api, "degraded").await;
    assert_eq!(ready["checks"]["store"]["state"], "ready", "{ready}");
    api.project("without a relay").await;

    redis.restart();
    says(&api, "ready").await;
    assert_eq!(api.all("/api/v1/projects", 10).await.len(), 1, "what was refused was not made");
    server.assert_running();
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[tokio::test]
async fn two_servers_do_not_share_one_data_directory_with_a_file_in_it() {
    let first = Server::start(Options::default().sqlite()).await;
    let mut second = Server::launch(Options::default().sqlite().data(first.data()));
    down_because(&second.api(), "one data directory serves one process").await;
    refuses(&second.api()).await;
    first.api().get("/api/v1/projects").await.expect(200);
    second.stop_if_running();
}
