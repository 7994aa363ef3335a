//! Faults of Redis under two replicas: no request fails, and the clients of the other replica miss nothing. Leaves the
//! relay alone to `relay_faults`. Easy to get wrong: a fault that is over before the replicas look; each test waits until
//! they say `degraded`, or counts what they had to open again.
use std::time::{Duration, Instant};

use super::{load::Outcome, pair::Pair};
use crate::support::{LONG, eventually, proxy::Mode, redis::Redis, replica::Replica};

/// Redis is asked by no request, so none waits for it.
const BOUND: Duration = Duration::from_secs(2);
/// How soon both replicas must say `ready` again: an attempt to connect may have begun a moment before, and the next one comes
/// after a pause.
const BACK: Duration = Duration::from_secs(5);

/// Nobody was refused, and everyone saw everything in time.
fn unfelt_by_requests(outcome: &Outcome) {
    let told = &outcome.told;
    assert_eq!((told.unavailable, told.cut), (0, 0), "no request felt it: {told:?}");
    assert!(told.slowest_event < Duration::from_secs(7), "an event came late: {told:?}");
}

/// Until both replicas say that the relay works; and events flow.
async fn recovered(pair: &Pair, load: &super::load::Load) -> Duration {
    let recovery = pair.both_say("ready").await;
    assert!(recovery <= BACK, "it took {recovery:?} to recover");
    load.published(50, LONG).await;
    recovery
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_killed_and_started_again_costs_no_event() {
    let mut pair = Pair::start().await;
    let load = pair.load().await;
    pair.redis.kill();
    pair.both_say("degraded").await;
    load.published(50, LONG).await;
    pair.redis.restart();
    let recovery = recovered(&pair, &load).await;
    let fault = "Redis killed (SIGKILL) and started again";
    unfelt_by_requests(&pair.judge(load, "30-redis-killed", fault, recovery, BOUND).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_started_again_empty_costs_no_event() {
    let mut pair = Pair::start().await;
    let load = pair.load().await;
    pair.redis.kill();
    pair.both_say("degraded").await;
    pair.redis.restart_empty();
    let recovery = recovered(&pair, &load).await;
    let fault = "Redis killed and started again without its data";
    unfelt_by_requests(&pair.judge(load, "36-redis-empty", fault, recovery, BOUND).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_frozen_costs_no_event() {
    let mut pair = Pair::start().await;
    let load = pair.load().await;
    let start = Instant::now();
    pair.redis.freeze();
    pair.both_say("degraded").await;
    while start.elapsed() < Duration::from_secs(10) {
        load.published(10, LONG).await;
    }
    pair.redis.thaw();
    let recovery = recovered(&pair, &load).await;
    let fault = "Redis frozen (SIGSTOP) for 10 s";
    unfelt_by_requests(&pair.judge(load, "31-redis-frozen", fault, recovery, BOUND).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_relay_that_are_reset_cost_no_event() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    for _ in 0..3 {
        let before = pair.redis_connections();
        pair.reset_redis().await;
        pair.reconnected(before).await;
        load.published(20, LONG).await;
    }
    let recovery = recovered(&pair, &load).await;
    let fault = "every connection to Redis reset, three times";
    unfelt_by_requests(&pair.judge(load, "32-redis-reset", fault, recovery, BOUND).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_way_to_the_relay_makes_events_slow_and_no_more() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    pair.set_redis(Mode::Latency(Duration::from_millis(200))).await;
    load.published(200, LONG).await;
    pair.set_redis(Mode::Pass).await;
    let recovery = recovered(&pair, &load).await;
    let fault = "200 ms more to and from Redis, each way";
    let outcome = pair.judge(load, "33-redis-latency", fault, recovery, BOUND).await;
    unfelt_by_requests(&outcome);
    assert!(outcome.told.slowest_event >= Duration::from_millis(200), "it was felt: {:?}", outcome.told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_behind_a_black_hole_costs_no_event() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    pair.set_redis(Mode::Blackhole).await;
    pair.both_say("degraded").await;
    load.published(100, LONG).await;
    pair.set_redis(Mode::Pass).await;
    let recovery = recovered(&pair, &load).await;
    let fault = "no packet to or from Redis, until noticed and 2 s more";
    unfelt_by_requests(&pair.judge(load, "34-redis-blackhole", fault, recovery, BOUND).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_that_the_relay_ends_are_taken_up_again() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    for _ in 0..3 {
        let before = pair.redis_connections();
        let killed = pair.redis.command("CLIENT KILL TYPE pubsub");
        assert!(killed[0].parse::<u32>().is_ok_and(|count| count >= 2), "both were subscribed: {killed:?}");
        pair.reconnected(before).await;
        load.published(20, LONG).await;
    }
    let recovery = recovered(&pair, &load).await;
    let fault = "CLIENT KILL TYPE pubsub on Redis, three times";
    unfelt_by_requests(&pair.judge(load, "35-redis-pubsub-killed", fault, recovery, BOUND).await);
}

/// Messages of other replicas that this one was given so far.
async fn received(replica: &Replica) -> u64 {
    let metrics = replica.api().get("/metrics").await.text;
    let counted = metrics.lines().find_map(|line| line.strip_prefix("tieout_relay_received_total "));
    counted.and_then(|number| number.parse().ok()).expect("the relay counts what it receives")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_of_the_relay_costs_no_event() {
    let mut pair = Pair::start().await;
    let second = Redis::start();
    second.follow(&pair.redis);
    eventually(LONG, "the second Redis to follow", || async {
        let role = second.command("ROLE");
        if role.iter().any(|word| word == "connected") { Ok(()) } else { Err(role.join(" ")) }
    })
    .await;
    let load = pair.load().await;
    pair.redis.kill();
    pair.both_say("degraded").await;
    load.published(20, LONG).await;
    second.promote();
    let before = received(&pair.b).await;
    pair.switch_redis(second.port).await;
    let recovery = recovered(&pair, &load).await;
    // Both listen at the heir, and what one commits crosses through it.
    let channels = second.command("PUBSUB CHANNELS");
    let listeners = |channel: &String| second.command(&format!("PUBSUB NUMSUB {channel}"))[1].parse() == Ok(2);
    assert!(channels.iter().any(listeners), "both replicas listen to one of {channels:?}");
    eventually(LONG, "messages to cross through the heir", || async {
        let now = received(&pair.b).await;
        if now >= before + 20 { Ok(()) } else { Err(format!("{} have", now - before)) }
    })
    .await;
    let fault = "Redis killed, its replica promoted in its place";
    unfelt_by_requests(&pair.judge(load, "37-redis-failover", fault, recovery, BOUND).await);
}
