//! Replicas whose clocks are wrong, five minutes each its own way. Leaves the clock itself to libfaketime. Easy to get wrong: an
//! end of a lease said in the replica's time; what counts is how long the lease lasts, so it is timed by the test's clock.
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::pair::Pair;
use crate::support::{
    LONG, Socket,
    postgres::Postgres,
    replica::{Replica, with_clock},
};

const WRONG: Duration = Duration::from_secs(300);
const TTL: Duration = Duration::from_secs(6);

async fn say(socket: &mut Socket, project: &str, action: &str) -> Value {
    socket.ask("Collaboration", json!({ "project_id": project, "action": action, "entity_id": "m1" })).await
}

async fn refused(socket: &mut Socket, project: &str) {
    let reply = say(socket, project, "claim").await;
    assert_eq!(reply["Error"]["code"], "ALREADY_CLAIMED", "{reply}");
}

async fn granted(socket: &mut Socket, project: &str) {
    let reply = say(socket, project, "claim").await;
    assert_eq!(reply["Collaboration"]["action"], "claimed", "{reply}");
}

/// What a replica takes for the time, in seconds of the day.
async fn time_of(replica: &Replica) -> u64 {
    let answer = replica.api().get("/api/health").await;
    let date = answer.header("date").expect("an answer has a date");
    let time = date.split(' ').nth(4).expect("a date has a time");
    time.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().expect("a number"))
}

/// The replica that is ahead, the one behind: whoever holds the claim and goes, the other gets it when the lease ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_whose_clocks_are_wrong_agree_on_events_and_on_who_has_what() {
    let postgres = Postgres::start();
    let url = postgres.database().await;
    let pair =
        Pair::on(postgres, &url, |n, options| with_clock(options.env("TIEOUT_CLAIM_TTL", "6s"), n == 0, WRONG)).await;
    let load = pair.load().await;
    // Seconds of the day, which may end between the two.
    let apart = (time_of(&pair.a).await + 86_400 - time_of(&pair.b).await) % 86_400;
    assert!(apart.abs_diff(2 * WRONG.as_secs()) < 20, "the clocks are wrong: {apart} s apart");

    for (holder, other) in [(&pair.a, &pair.b), (&pair.b, &pair.a)] {
        let (mut ana, mut bob) = (Socket::open(holder.addr).await, Socket::open(other.addr).await);
        ana.join(&pair.project, None).await;
        bob.join(&pair.project, None).await;
        granted(&mut ana, &pair.project).await;
        refused(&mut bob, &pair.project).await;
        say(&mut ana, &pair.project, "release").await;
        granted(&mut bob, &pair.project).await;
        refused(&mut ana, &pair.project).await;
        say(&mut bob, &pair.project, "release").await;

        granted(&mut ana, &pair.project).await;
        let start = Instant::now();
        // Bob is the same user and could take it over from the lost connection; here he waits for the end of the lease.
        drop(ana);
        let freed = |m: &Value| m["Collaboration"]["action"] == "released" && m["Collaboration"]["entity_id"] == "m1";
        bob.wait(LONG, "the lease to end", freed).await;
        let lasted = start.elapsed();
        assert!(lasted > TTL - Duration::from_secs(1), "a lease ended after {lasted:?}");
        assert!(lasted < TTL + Duration::from_secs(8), "a lease lasted {lasted:?}");
        bob.close().await;
    }
    let recovery = load.published(2, LONG).await;
    assert!(recovery <= Duration::from_secs(2), "requests were slow: {recovery:?}");
    let fault = "the clocks of two replicas wrong by 5 min, one ahead, one behind";
    let outcome = pair.judge(load, "40-clocks", fault, recovery, Duration::from_secs(2)).await;
    assert_eq!((outcome.told.unavailable, outcome.told.cut), (0, 0), "no request felt it: {:?}", outcome.told);
}
