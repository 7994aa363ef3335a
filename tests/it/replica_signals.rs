//! The replica harness keeps its promises: alive without stores, frozen and thawed, a wrong clock, no process left.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::support::{
    Options, SHORT, eventually,
    postgres::Postgres,
    replica::{Replica, with_clock},
};

/// Nobody listens on the port of the echo service.
const NOWHERE: &str = "postgres://nobody@127.0.0.1:7/nothing";

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_alive_without_its_database_and_ready_once_it_has_one() {
    let away = Replica::start("r1", Options::default().env("TIEOUT_DATABASE_URL", NOWHERE)).await;
    let answer = away.api().get("/api/ready").await;
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert!(answer.text.contains("\"store\""), "{}", answer.text);

    let url = Postgres::shared().database().await;
    let here = Replica::start("r2", Options::default().env("TIEOUT_DATABASE_URL", url)).await;
    here.ready().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_is_silent_and_goes_on_after_it_is_thawed() {
    let mut replica = Replica::start("r", Options::default().sqlite()).await;
    replica.ready().await;
    replica.freeze();
    let asked = tokio::time::timeout(Duration::from_millis(300), replica.api().try_get("/api/health")).await;
    assert!(asked.is_err(), "a frozen process answers nothing");
    replica.thaw();
    eventually(SHORT, "the thawed replica to answer", || async {
        let answer = replica.api().try_get("/api/health").await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    replica.freeze();
    replica.kill();
    replica.start_again().await;
    replica.ready().await;
    // Dropped while frozen: it is thawed, told to stop, and ends cleanly.
    replica.freeze();
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_with_clocks_ten_minutes_apart_serve_one_database() {
    const SKEW: Duration = Duration::from_secs(300);
    let url = Postgres::shared().database().await;
    let options = || Options::default().env("TIEOUT_DATABASE_URL", &url);
    let ahead = Replica::start("ahead", with_clock(options(), true, SKEW)).await;
    let behind = Replica::start("behind", with_clock(options(), false, SKEW)).await;
    for replica in [&ahead, &behind] {
        replica.ready().await;
    }
    ahead.api().project("clocks").await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    for (replica, off_by) in [(&ahead, 300), (&behind, -300)] {
        let answer = replica.api().get("/api/health").await;
        let date = answer.header("date").expect("every answer has a date");
        let date = jiff::fmt::rfc2822::parse(date).unwrap_or_else(|e| panic!("{date}: {e}"));
        let seconds = date.timestamp().as_second() - now;
        assert!((seconds - off_by).abs() < 60, "its clock is off by {seconds} s, not {off_by}");
    }
    let found = behind.api().get("/api/v1/projects").await.expect(200);
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "one database: {found}");
}
