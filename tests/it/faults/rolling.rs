//! A rolling update: clients behind a balancer, replicas restarted in turn while events flow. Leaves kills to `replica`.
//! Easy to get wrong: a balancer that drops the connections of a replica that drains.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::load::Load;
use crate::{
    fault_table::{Row, report},
    support::{Api, LONG, Options, balancer::Balancer, replica::Replica, swarm::Return},
    ws_auth::{secret_file, token},
};

const CLIENTS: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_a_single_replica_costs_a_pause_and_no_event() {
    let secret = secret_file();
    let options = Options::default()
        .arg("--jwt-secret-file")
        .arg(secret.path().to_str().expect("a temporary path is text"))
        .env("TIEOUT_DRAIN_WINDOW", "1s")
        .env("TIEOUT_DRAIN_PER_SECOND", CLIENTS)
        .env("TIEOUT_SHUTDOWN_TIMEOUT", "10s");
    let mut replicas = vec![Replica::start("r1", options).await];
    let addresses: Vec<_> = replicas.iter().map(|replica| replica.addr).collect();
    let balancer = Balancer::start(&addresses).await;
    balancer.has_ready(replicas.len(), LONG).await;

    let owner = |api: Api| api.with_token(&token("olga", "owner", 600));
    let project = owner(balancer.api()).project("update").await;
    let users = Arc::new(|client| Some(token(&format!("user-{client}"), "viewer", 600)));
    let load = Load::start(owner(balancer.api()), balancer.addr, &project, CLIENTS, users).await;
    let (mut recovery, mut seen) = (Duration::ZERO, 0);
    for replica in &mut replicas {
        replica.terminate();
        let status = replica.exit(LONG).await;
        assert_eq!(status.code(), Some(0), "an orderly end: {status:?}\n{}", replica.log());
        let started = Instant::now();
        replica.start_again().await;
        load.published(1, LONG).await;
        recovery = recovery.max(started.elapsed());
        balancer.has_ready(addresses.len(), LONG).await;
        load.published(50, LONG).await;
        load.swarm.complete(LONG).await;
        calm(&load.swarm.returns().split_off(seen));
        seen = load.swarm.returns().len();
    }
    assert_eq!(load.swarm.leaves(), Vec::<String>::new(), "who comes back was never shown as gone");
    let outcome = load.finish().await;
    let fault = "a rolling update of one replica with 100 clients";
    report("12-rolling-update", &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
}

/// Those who were sent away were told when to come back, went one after the other, and did not come back all at once.
fn calm(returns: &[Return]) {
    let clients: BTreeSet<usize> = returns.iter().map(|again| again.client).collect();
    assert_eq!((clients.len(), returns.len()), (CLIENTS, CLIENTS), "each client was sent away once");
    for again in returns {
        assert!(again.code == Some(4503) && again.told.is_some(), "told when to come back: {again:?}");
    }
    for (what, moment) in [("left", (|again| again.left) as fn(&Return) -> Instant), ("came back", |again| again.back)]
    {
        let first = returns.iter().map(moment).min().expect("there are clients");
        let mut tenths = BTreeMap::new();
        for again in returns {
            *tenths.entry((moment(again) - first).as_millis() / 100).or_insert(0) += 1;
        }
        let most = tenths.values().max().copied().unwrap_or(0);
        assert!(most <= CLIENTS / 2, "{most} of {CLIENTS} {what} within a tenth of a second: {tenths:?}");
    }
}
