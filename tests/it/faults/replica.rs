//! Faults of a replica itself: killed, frozen. Leaves an orderly stop to `rolling`.
use std::time::{Duration, Instant};

use super::{
    load::{Load, nobody},
    pair::Pair,
};
use crate::{
    fault_table::{Row, report},
    support::{
        LONG, Options, Run, Sample, eventually,
        postgres::{Postgres, connect},
        replica::Replica,
    },
};

const CLIENTS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_killed_and_started_again_loses_and_doubles_nothing() {
    let mut replica = Replica::start("r", Options::default()).await;
    replica.ready().await;
    let project = replica.api().project("killed").await;
    let load = Load::start(replica.api(), &[replica.addr], &project, CLIENTS, nobody()).await;
    let mut recovery = Duration::ZERO;
    for _ in 0..3 {
        replica.kill();
        let started = Instant::now();
        replica.start_again().await;
        load.published(1, LONG).await;
        recovery = recovery.max(started.elapsed());
        load.published(50, LONG).await;
        load.swarm.complete(LONG).await;
    }
    let returns = load.swarm.returns();
    assert_eq!(returns.len(), 3 * CLIENTS, "every client was cut off three times");
    assert!(returns.iter().all(|again| again.code.is_none()), "and without a word: {returns:?}");
    let outcome = load.finish().await;
    assert!(outcome.told.cut + outcome.told.unavailable > 0, "the publisher felt it: {:?}", outcome.told);
    let fault = "a replica killed (SIGKILL) three times and started again";
    report("10-replica-killed", &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_frozen_for_a_while_goes_on_with_the_same_connections() {
    const FROZEN: Duration = Duration::from_secs(3);
    let mut replica = Replica::start("r", Options::default()).await;
    replica.ready().await;
    let project = replica.api().project("frozen").await;
    let load = Load::start(replica.api(), &[replica.addr], &project, CLIENTS, nobody()).await;
    replica.freeze();
    let silence = tokio::time::timeout(FROZEN, load.published(2, LONG)).await;
    assert!(silence.is_err(), "a frozen replica answers nothing more than what was under way");
    replica.thaw();
    let recovery = load.published(2, LONG).await;
    load.published(50, LONG).await;
    assert!(load.swarm.returns().is_empty(), "nobody was disconnected: {:?}", load.swarm.returns());
    let outcome = load.finish().await;
    assert!(outcome.told.slowest >= FROZEN - Duration::from_millis(100), "it was felt: {:?}", outcome.told);
    let fault = "a replica frozen (SIGSTOP) for 3 s, alone";
    report("11-replica-frozen", &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_a_replica_that_was_killed_is_taken_over_by_the_other_and_completes() {
    let sample = Sample::new(20_000, 14);
    let home = tempfile::tempdir().expect("a temporary folder");
    let postgres = Postgres::start();
    let url = postgres.database().await;
    let mut pair = Pair::on(postgres, &url, |_, options| options.data(home.path().join("data"))).await;
    let load = Load::start(pair.b.api(), &[pair.b.addr], &pair.project, CLIENTS, nobody()).await;
    let run = Run::prepare(&pair.a.api(), &sample).await;
    let (database, _task) = connect(&pair.url()).await;
    let owner = || async {
        let row = database.query_one("SELECT lease_owner FROM job_queue", &[]).await.expect("the job has a row");
        row.get::<_, Option<String>>(0)
    };
    // So that it is the first that takes the job.
    pair.b.freeze();
    run.start().await;
    run.at_work(LONG).await;
    let first = owner().await.expect("a job at work has an owner");
    pair.a.kill();
    let killed = Instant::now();
    pair.b.thaw();
    eventually(LONG, "the other replica to take the job over", || async {
        match owner().await {
            Some(now) if now != first => Ok(()),
            now => Err(format!("{now:?}")),
        }
    })
    .await;
    let run = Run { api: pair.b.api(), ..run };
    run.completed(LONG).await;
    let recovery = killed.elapsed();
    let pairs = run.pairs().await;
    assert!(pairs.len() > sample.truth.len() / 2, "{} pairs of {}", pairs.len(), sample.truth.len());
    let outcome = load.finish().await;
    let fault = "a replica killed in the middle of a job, which the other takes over (a lease is 30 s) and completes";
    report("15-job-taken-over", &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
}
