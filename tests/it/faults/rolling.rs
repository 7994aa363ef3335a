//! A rolling update: clients behind a balancer, replicas restarted in turn while events flow. Leaves kills to `replica`.
//! Easy to get wrong: a balancer that drops the connections of a replica that drains.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use super::load::Load;
use crate::{
    fault_table::{Row, report},
    support::{
        Api, LONG, Options, balancer::Balancer, postgres::Postgres, redis::Redis, replica::Replica, swarm::Return,
    },
    ws_auth::{secret_file, token},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_a_single_replica_costs_a_pause_and_no_event() {
    update("12-rolling-update", 1, 100, Options::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_three_replicas_in_turn_loses_and_reorders_no_event() {
    // No Redis: what one replica commits, the others read from the database.
    let options = Options::default().env("TIEOUT_DATABASE_URL", Postgres::shared().database().await);
    update("13-rolling-update-of-three", 3, 500, options).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_three_replicas_on_one_relay_loses_and_reorders_no_event() {
    let redis = Redis::start();
    let options = Options::default()
        .env("TIEOUT_DATABASE_URL", Postgres::shared().database().await)
        .env("TIEOUT_REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
    update("14-rolling-update-of-three-redis", 3, 500, options).await;
}

/// Restarts so many replicas in turn under so many clients, each a user of its own. `options` say where their stores are.
async fn update(name: &str, replicas: usize, clients: usize, options: Options) {
    let with_redis = name.ends_with("redis");
    let secret = secret_file();
    let options = options
        .arg("--jwt-secret-file")
        .arg(secret.path().to_str().expect("a temporary path is text"))
        // All within a second, so that the test is short.
        .env("TIEOUT_DRAIN_PER_SECOND", clients)
        .env("TIEOUT_SHUTDOWN_TIMEOUT", "10s");
    let mut running = Vec::new();
    for n in 1..=replicas {
        running.push(Replica::start(&format!("r{n}"), options.clone()).await);
    }
    let addresses: Vec<_> = running.iter().map(|replica| replica.addr).collect();
    let balancer = Balancer::start(&addresses).await;
    balancer.has_ready(replicas, LONG).await;

    let owner = |api: Api| api.with_token(&token("olga", "owner", 600));
    let project = owner(balancer.api()).project("update").await;
    let users = Arc::new(|client| Some(token(&format!("user-{client}"), "viewer", 600)));
    let load = Load::start(owner(balancer.api()), &[balancer.addr], &project, clients, users).await;
    let mut seen = 0;
    for replica in &mut running {
        replica.terminate();
        let status = replica.exit(LONG).await;
        assert_eq!(status.code(), Some(0), "an orderly end: {status:?}\n{}", replica.log());
        replica.start_again().await;
        balancer.has_ready(replicas, LONG).await;
        load.published(50, LONG).await;
        load.swarm.complete(LONG).await;
        let returns = load.swarm.returns();
        calm(&returns[seen..]);
        seen = returns.len();
    }
    assert!(seen >= clients, "every client was on a replica that was restarted: {seen}");
    assert_eq!(load.swarm.leaves(), Vec::<String>::new(), "who comes back was never shown as gone");
    let outcome = load.finish().await;
    let relay = if with_redis { ", with Redis" } else { "" };
    let fault = format!("an update of {replicas} replica(s) one by one, {clients} clients{relay}");
    let recovery = outcome.told.longest_gap;
    report(name, &Row { fault: &fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
}

/// Those who were sent away were told when to come back, went one after the other, and did not come back all at once.
fn calm(returns: &[Return]) {
    let clients: BTreeSet<usize> = returns.iter().map(|again| again.client).collect();
    assert_eq!(clients.len(), returns.len(), "each client was sent away once: {returns:#?}");
    for again in returns {
        assert!(again.code == Some(4503) && again.told.is_some(), "told when to come back: {again:?}");
    }
    let moments = [("left", (|again| again.left) as fn(&Return) -> Instant), ("came back", |again| again.back)];
    for (what, moment) in moments {
        let Some(first) = returns.iter().map(moment).min() else { continue };
        let mut tenths = BTreeMap::new();
        for again in returns {
            *tenths.entry((moment(again) - first).as_millis() / 100).or_insert(0) += 1;
        }
        let most = tenths.values().max().copied().unwrap_or(0);
        // An even share is a tenth; a machine at work does not keep time that well.
        let bound = returns.len() * 4 / 10 + 5;
        assert!(most <= bound, "{most} of {} {what} within a tenth of a second: {tenths:?}", returns.len());
    }
}
