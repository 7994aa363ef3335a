//! A rolling update: clients behind a balancer, replicas restarted in turn while events flow, the first in the middle of a job.
//! Leaves kills to `replica`. Easy to get wrong: a balancer that drops the connections of a replica that drains; a job that is
//! over before its replica is told to stop.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    load::Load,
    presence::{shown_everywhere, users_of},
};
use crate::{
    fault_table::{Row, report},
    support::{
        Api, LONG, Options, Run, Sample, balancer::Balancer, eventually, postgres::Postgres, publisher::Told,
        redis::Redis, replica::Replica, swarm::Return,
    },
    ws_auth::{secret_file, token},
};

/// A replica tells a client to come back after this long at least, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Events that replicas serve before the next one is stopped: ten seconds and more, as `minReadySeconds` of deploy/k8s has it.
const SERVED: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_a_single_replica_costs_a_pause_and_no_event() {
    update("12-rolling-update", 1, 100, None, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_three_replicas_in_turn_loses_and_reorders_no_event() {
    // No Redis: what one replica commits, the others read from the database.
    update("13-rolling-update-of-three", 3, 500, Some(Postgres::shared().database().await), None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_of_three_replicas_on_one_relay_loses_and_reorders_no_event() {
    let redis = Redis::start();
    let url = Postgres::shared().database().await;
    update("14-rolling-update-of-three-redis", 3, 500, Some(url), Some(&redis)).await;
}

/// So many that a job outlasts the drain of the replica that works on it, which is more than two seconds.
const ROWS: usize = 50_000;

/// Restarts so many replicas in turn under so many clients, each a user of its own.
async fn update(name: &str, replicas: usize, clients: usize, database: Option<String>, redis: Option<&Redis>) {
    let (secret, home) = (secret_file(), tempfile::tempdir().expect("a temporary folder"));
    let mut options = Options::default()
        .arg("--jwt-secret-file")
        .arg(secret.path().to_str().expect("a temporary path is text"))
        // Uploads are for all.
        .data(home.path().join("data"))
        // A replica's share within a second, so that the test is short.
        .env("TIEOUT_DRAIN_PER_SECOND", clients / replicas)
        .env("TIEOUT_SHUTDOWN_TIMEOUT", "10s");
    options = match &database {
        Some(url) => options.env("TIEOUT_DATABASE_URL", url),
        None => options.sqlite(),
    };
    if let Some(redis) = redis {
        options = options.env("TIEOUT_REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
    }
    let mut running = Vec::new();
    for n in 1..=replicas {
        running.push(Replica::start(&format!("r{n}"), options.clone()).await);
    }
    let addresses: Vec<_> = running.iter().map(|replica| replica.addr).collect();
    let balancer = Balancer::start(&addresses).await;
    balancer.has_ready(replicas, LONG).await;

    let olga = token("olga", "owner", 600);
    let owner = |api: Api| api.with_token(&olga);
    // Jobs have nothing to do with the relay.
    let sample = redis.is_none().then(|| Sample::new(ROWS, 13));
    let mut expected = None;
    if let Some(sample) = &sample {
        expected = Some(undisturbed(&owner(balancer.api()), sample).await);
    }

    let project = owner(balancer.api()).project("update").await;
    let users = Arc::new(|client| Some(token(&format!("user-{client}"), "viewer", 600)));
    let load = Load::start(owner(balancer.api()), &[balancer.addr], &project, clients, users).await;
    let mut seen = 0;
    for replica in &mut running {
        if redis.is_some() {
            // A replica that has just started must know who is there before the next one stops: those it learns of later
            // it shows as new.
            shown_everywhere(&addresses, &project, clients).await;
            load.published(SERVED, LONG).await;
        }
        let mut interrupted = None;
        if let (Some(sample), Some(expected)) = (&sample, expected.take()) {
            interrupted = Some((at_work_at(replica, &owner(replica.api()), sample).await, expected));
        }
        load.swarm.settled();
        replica.terminate();
        let status = replica.exit(LONG).await;
        assert_eq!(status.code(), Some(0), "an orderly end: {status:?}\n{}", replica.log());
        if let Some((run, _)) = &mut interrupted {
            run.api = owner(balancer.api());
            if replicas > 1 {
                begun_again(run, replica).await;
            }
        }
        replica.start_again().await;
        balancer.has_ready(replicas, LONG).await;
        load.published(50, LONG).await;
        load.swarm.complete(LONG).await;
        let returns = load.swarm.returns();
        calm(&returns[seen..]);
        seen = returns.len();

        if let Some((run, expected)) = interrupted {
            let job = run.completed(LONG).await;
            assert_eq!(job["attempt"], 2, "the stop interrupted it: {job}");
            assert!(run.export("csv", "all").await.text == expected, "it found what an undisturbed one finds");
            assert_eq!(run.ends_told(replica.addr, Some(&olga)).await, 1, "its end was told once");
        }
    }
    assert!(seen >= clients, "every client was on a replica that was restarted: {seen}");
    let returns = load.swarm.returns();
    spread(&returns);
    assert_eq!(users_of(load.swarm.leaves()), Vec::<String>::new(), "who comes back was never shown as gone");
    if redis.is_some() {
        assert_eq!(users_of(load.swarm.repeated_joins()), Vec::<String>::new(), "nor as new");
    }
    let outcome = match &database {
        Some(url) => load.finish_on(url).await.0,
        None => load.finish().await,
    };
    println!("{:?}, {}", outcome.told, outcome.verdict);
    for replica in &running {
        let log = replica.whole_log();
        assert!(!log.contains("panicked at"), "something panicked\n{log}");
    }
    small(&outcome.told, replicas);
    let beside = if redis.is_some() { "with Redis" } else { "the first in the middle of a job" };
    let fault = format!("an update of {replicas} replica(s) one by one, {beside}, {clients} clients");
    let recovery = outcome.told.longest_gap;
    report(name, &Row { fault: &fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
}

/// What a job finds that nothing interrupts, as it is exported.
async fn undisturbed(api: &Api, sample: &Sample) -> String {
    let run = Run::prepare(api, sample).await;
    run.start().await;
    run.completed(LONG).await;
    let found = run.export("csv", "all").await.text;
    let lines = found.lines().count();
    assert!(lines > sample.truth.len() / 2, "{lines} lines of {} pairs", sample.truth.len());
    found
}

/// Waits until another replica has the job, which is before its lease ends: the replica gave it back.
async fn begun_again(run: &Run, replica: &Replica) {
    eventually(Duration::from_secs(10), "another replica to begin the job again", || async {
        let job = run.api.try_get(&run.path("")).await?.expect(200);
        if job["attempt"] == 2 { Ok(()) } else { Err(format!("{job}\n{}", replica.log())) }
    })
    .await;
}

/// A job that this replica is working on.
async fn at_work_at(replica: &Replica, api: &Api, sample: &Sample) -> Run {
    for _ in 0..5 {
        let run = Run::prepare(api, sample).await;
        // The replica that is asked looks at once; the others within half a second.
        run.start().await;
        run.at_work(LONG).await;
        if replica.log().contains(&format!("job started job={}", run.job)) {
            return run;
        }
        run.completed(LONG).await;
    }
    panic!("others took every job\n{}", replica.log());
}

/// Those who were sent away were told when to come back, went one after the other, and did not come back all at once.
fn calm(returns: &[Return]) {
    let clients: BTreeSet<usize> = returns.iter().map(|again| again.client).collect();
    assert_eq!(clients.len(), returns.len(), "each client was sent away once: {returns:#?}");
    for again in returns {
        assert!(again.code == Some(4503), "sent away by a replica that drains: {again:?}");
        let told = again.told.unwrap_or_else(|| panic!("not told when to come back: {again:?}"));
        assert!(told >= PAUSES.0 && told <= PAUSES.1, "told an odd time: {again:?}");
        assert!(again.back - again.left >= told, "back before its time: {again:?}");
    }
    // Even shares would be a quarter and a tenth; a machine that stands still for 100 ms moves a tenth of the first.
    let left = |again: &Return| again.left;
    even(returns, "left", left, Duration::from_millis(250), 7);
    // They knock when they were told to; how long it takes until they are in is the machine's, which may have a job at work.
    let knocks = |again: &Return| again.left + again.told.unwrap_or_default();
    even(returns, "knocked", knocks, Duration::from_secs(1), 3);
}

/// No more than so many tenths of them fall into one such stretch of time.
fn even(returns: &[Return], what: &str, moment: impl Fn(&Return) -> Instant, stretch: Duration, tenths: usize) {
    let Some(first) = returns.iter().map(&moment).min() else { return };
    let mut counts = BTreeMap::new();
    for again in returns {
        *counts.entry((moment(again) - first).as_millis() / stretch.as_millis()).or_insert(0) += 1;
    }
    let most = counts.values().max().copied().unwrap_or(0);
    let bound = returns.len() * tenths / 10 + 5;
    assert!(most <= bound, "{most} of {} {what} within {stretch:?}: {counts:?}", returns.len());
}

/// The pauses that clients were told fill the time that there is for them.
fn spread(returns: &[Return]) {
    let width = (PAUSES.1 - PAUSES.0) / 5;
    let mut fifths = [0; 5];
    for told in returns.iter().filter_map(|again| again.told) {
        let fifth = (told.saturating_sub(PAUSES.0).as_millis() / width.as_millis()) as usize;
        fifths[fifth.min(4)] += 1;
    }
    // An even share is 20 in a hundred; 5 or fewer come about once in a million times with a hundred clients.
    let least = returns.len() / 20;
    assert!(fifths.iter().all(|count| *count > least), "{fifths:?} of {} in each fifth", returns.len());
}

/// What an update may cost clients.
fn small(told: &Told, replicas: usize) {
    // One that is alone is away for as long as it takes to start; of several, each may hang up on one request in flight.
    let (refusals, gap) =
        if replicas == 1 { (100, Duration::from_secs(5)) } else { (5 * replicas, Duration::from_secs(3)) };
    assert!(told.unavailable + told.cut <= refusals, "more than {refusals} requests failed: {told:?}");
    assert!(told.longest_gap <= gap, "nothing was stored for longer than {gap:?}: {told:?}");
    // The longest pause that a client is told, and the way back.
    let late = PAUSES.1 + Duration::from_secs(5);
    assert!(told.slowest_event <= late, "an event came after more than {late:?}: {told:?}");
}
