//! Faults of a replica itself: killed, frozen. Leaves an orderly stop to `rolling`. Easy to get wrong: a fault that nobody feels,
//! as a balancer hides it; each test checks what its clients went through.
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tokio_postgres::Client;

use super::{
    load::{Load, nobody},
    pair::Pair,
    presence::{shown_everywhere, users_of},
};
use crate::{
    fault_table::{Row, report},
    support::{
        LONG, Options, Run, Sample,
        balancer::Balancer,
        eventually,
        postgres::{Postgres, connect},
        redis::Redis,
        replica::Replica,
    },
    ws_auth::{secret_file, token},
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
async fn the_users_of_one_of_three_replicas_that_is_killed_show_up_elsewhere_and_were_never_gone() {
    const USERS: usize = 60;
    /// A replica that says nothing is forgotten after 20 s.
    const FORGOTTEN: Duration = Duration::from_secs(21);
    let (redis, secret) = (Redis::start(), secret_file());
    let url = Postgres::shared().database().await;
    let options = Options::default()
        .arg("--jwt-secret-file")
        .arg(secret.path().to_str().expect("a temporary path is text"))
        .env("TIEOUT_DATABASE_URL", &url)
        .env("TIEOUT_REDIS_URL", format!("redis://127.0.0.1:{}", redis.port));
    let mut running = Vec::new();
    for name in ["r1", "r2", "r3"] {
        running.push(Replica::start(name, options.clone()).await);
    }
    let addresses: Vec<_> = running.iter().map(|replica| replica.addr).collect();
    let balancer = Balancer::start(&addresses).await;
    balancer.has_ready(3, LONG).await;
    let api = balancer.api().with_token(&token("olga", "owner", 600));
    let project = api.project("killed").await;
    let users = Arc::new(|client| Some(token(&format!("user-{client}"), "viewer", 600)));
    let load = Load::start(api, &[balancer.addr], &project, USERS, users).await;
    shown_everywhere(&addresses, &project, USERS).await;
    load.swarm.settled();

    let killed = Instant::now();
    running[1].kill();
    load.published(2, LONG).await;
    let recovery = killed.elapsed();
    balancer.has_ready(2, LONG).await;
    eventually(LONG, "those who were cut off to come back", || async {
        let returns = load.swarm.returns().len();
        if returns >= USERS / 4 { Ok(()) } else { Err(format!("{returns} have")) }
    })
    .await;
    load.swarm.complete(LONG).await;
    let returns = load.swarm.returns();
    assert!(returns.iter().all(|again| again.code.is_none()), "without a word: {returns:?}");
    shown_everywhere(&[addresses[0], addresses[2]], &project, USERS).await;
    // Until the others have given the dead one up, and all that it said.
    while killed.elapsed() < FORGOTTEN {
        load.published(10, LONG).await;
    }
    running[1].start_again().await;
    balancer.has_ready(3, LONG).await;
    shown_everywhere(&addresses, &project, USERS).await;
    load.published(50, LONG).await;
    assert_eq!(users_of(load.swarm.leaves()), Vec::<String>::new(), "nobody was shown as gone");
    assert_eq!(users_of(load.swarm.repeated_joins()), Vec::<String>::new(), "nor as new");
    let (outcome, _) = load.finish_on(&url).await;
    for replica in &running {
        let log = replica.whole_log();
        assert!(!log.contains("panicked at"), "something panicked\n{log}");
    }
    assert!(recovery < Duration::from_secs(2), "it took {recovery:?} to recover");
    let fault = "one of three replicas behind a balancer killed (SIGKILL), and started again 21 s later";
    report("16-replica-killed-of-three", &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
}

/// Two replicas over one folder of uploads, clients on the second, and what a job finds that nobody disturbs.
struct AtWork {
    pair: Pair,
    load: Load,
    /// A job that the first replica has taken and is at.
    run: Run,
    /// Who has it.
    first: String,
    expected: BTreeSet<(String, String)>,
    database: Client,
    _home: TempDir,
}

impl AtWork {
    async fn start() -> AtWork {
        let sample = Sample::new(20_000, 14);
        let home = tempfile::tempdir().expect("a temporary folder");
        let postgres = Postgres::start();
        let url = postgres.database().await;
        let tuned = |_, options: Options| options.data(home.path().join("data")).env("TIEOUT_JOB_LEASE", "6s");
        let mut pair = Pair::on(postgres, &url, tuned).await;
        let load = Load::start(pair.b.api(), &[pair.b.addr], &pair.project, CLIENTS, nobody()).await;
        let undisturbed = Run::prepare(&pair.a.api(), &sample).await;
        undisturbed.start().await;
        undisturbed.completed(LONG).await;
        let expected = undisturbed.pairs().await;
        assert!(expected.len() > sample.truth.len() / 2, "{} pairs of {}", expected.len(), sample.truth.len());
        let run = Run::prepare(&pair.a.api(), &sample).await;
        let (database, _task) = connect(&pair.url()).await;
        // So that it is the first that takes the job.
        pair.b.freeze();
        run.start().await;
        run.at_work(LONG).await;
        let first = owner(&database).await.expect("a job at work has an owner");
        let run = Run { api: pair.b.api(), ..run };
        AtWork { pair, load, run, first, expected, database, _home: home }
    }

    /// Waits until the second replica has the job.
    async fn taken_over(&self) {
        eventually(LONG, "the other replica to take the job over", || async {
            match owner(&self.database).await {
                Some(now) if now != self.first => Ok(()),
                now => Err(format!("{now:?}")),
            }
        })
        .await;
    }

    /// Waits until the job is done; it was begun twice, ended once, and found what it should.
    async fn completed(&self) {
        let job = self.run.completed(LONG).await;
        assert_eq!(job["attempt"], 2, "it was begun again, once: {job}");
        assert_eq!(self.run.ends_told(self.pair.b.addr, None).await, 1, "its end was told once");
        assert_eq!(self.run.pairs().await, self.expected, "it found what an undisturbed one finds");
    }

    /// Judges what everyone else was told meanwhile, and files the row.
    async fn finish(self, name: &str, fault: &str, recovery: Duration) {
        let (outcome, _) = self.load.finish_on(&self.pair.url()).await;
        for replica in [&self.pair.a, &self.pair.b] {
            let log = replica.whole_log();
            assert!(!log.contains("panicked at"), "something panicked\n{log}");
        }
        report(name, &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
    }
}

/// Who has the only job of the queue.
async fn owner(database: &Client) -> Option<String> {
    let row = database.query_one("SELECT lease_owner FROM job_queue", &[]).await.expect("the job has a row");
    row.get::<_, Option<String>>(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_a_replica_that_was_killed_is_taken_over_by_the_other_and_completes() {
    let mut work = AtWork::start().await;
    work.pair.a.kill();
    let killed = Instant::now();
    work.pair.b.thaw();
    work.taken_over().await;
    work.completed().await;
    let recovery = killed.elapsed();
    let fault = "a replica killed in the middle of a job, which the other takes over when its lease ends and completes";
    work.finish("15-job-taken-over", fault, recovery).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_frozen_in_the_middle_of_a_job_saves_nothing_once_another_has_it() {
    const FROZEN: Duration = Duration::from_secs(10);
    let mut work = AtWork::start().await;
    work.pair.a.freeze();
    let frozen = Instant::now();
    work.pair.b.thaw();
    work.taken_over().await;
    while frozen.elapsed() < FROZEN {
        work.load.published(10, LONG).await;
    }
    // It goes on where it was, and does not know that its lease has ended.
    work.pair.a.thaw();
    let thawed = Instant::now();
    work.pair.a.ready().await;
    work.completed().await;
    let recovery = thawed.elapsed();
    // What it does next is right again.
    let next = Run::prepare(&work.pair.a.api(), &Sample::new(50, 15)).await;
    next.start().await;
    next.completed(LONG).await;
    assert_eq!(work.run.state().await["attempt"], 2, "nobody began the job once more");
    assert_eq!(work.run.pairs().await, work.expected, "nor changed what it found");
    let fault = "a replica frozen (SIGSTOP) in the middle of a job until the other had taken it over, at least 10 s";
    work.finish("17-job-of-a-zombie", fault, recovery).await;
}
