//! Faults of PostgreSQL under two replicas. Leaves those of Redis to `redis`. Easy to get wrong: a database that is away
//! costs requests, and that is right; what is judged is that each is told so in time, and that nothing is lost.
use std::{
    os::unix::fs::{PermissionsExt, chown},
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls, error::SqlState};

use super::{
    load::{Load, Outcome},
    pair::Pair,
};
use crate::support::{
    LONG,
    postgres::{Postgres, connect},
    proxy::Mode,
    renamer::Renamer,
};

/// Longest that a request may wait for a database that is 400 ms away and back: a publication on a connection that prepares
/// its statements takes 4 rounds of that, 2 on another.
const BOUND_WHEN_SLOW: Duration = Duration::from_secs(3);
/// Longest that a request may wait while the database does not answer: for a connection, then for the database.
const BOUND: Duration = Duration::from_secs(7);
/// How soon requests must work again once the database can be reached.
const BACK: Duration = Duration::from_secs(2);
/// The same after a silence: an attempt to connect that was begun in it must first be given up.
const BACK_FROM_SILENCE: Duration = Duration::from_secs(5);

/// From now until requests work again; and they go on working.
async fn recovered(load: &Load) -> Duration {
    let recovery = load.published(2, LONG).await;
    load.published(50, LONG).await;
    recovery
}

/// The publisher was told that the database is away, and soon after it was back all worked.
fn refused_and_back(outcome: &Outcome, recovery: Duration, within: Duration) {
    assert!(outcome.told.unavailable > 0, "it was felt: {:?}", outcome.told);
    assert_eq!(outcome.told.cut, 0, "nobody was hung up on: {:?}", outcome.told);
    assert!(recovery <= within, "it took {recovery:?} to recover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_and_started_again_loses_and_doubles_nothing() {
    let mut pair = Pair::start().await;
    let load = pair.load_of_many().await;
    let renamer = Renamer::start(pair.b.api(), &pair.project);
    load.published(50, LONG).await;
    pair.postgres.kill();
    pair.both_say("unavailable").await;
    pair.postgres.restart(&[]);
    let recovery = recovered(&load).await;
    let renames = renamer.stop().await;
    let fault = "PostgreSQL killed (SIGKILL) and started again, under four publishers and one who renames the project";
    let (outcome, events) = pair.judge_events(load, "20-postgres-killed", fault, recovery, BOUND).await;
    assert!(!renames.stored.is_empty() && !renames.unknown.is_empty(), "it was felt: {renames:?}");
    assert_eq!(renames.broken(&events), Vec::<String>::new());
    refused_and_back(&outcome, recovery, BACK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_frozen_keeps_nobody_waiting() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    pair.postgres.freeze();
    let silence = tokio::time::timeout(Duration::from_secs(10), load.published(3, LONG)).await;
    pair.postgres.thaw();
    assert!(silence.is_err(), "a frozen database stores nothing");
    let recovery = recovered(&load).await;
    let fault = "PostgreSQL frozen (SIGSTOP) for 10 s";
    let outcome = pair.judge(load, "21-postgres-frozen", fault, recovery, BOUND).await;
    refused_and_back(&outcome, recovery, BACK_FROM_SILENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_the_database_that_are_reset_are_replaced() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    let before = pair.to_postgres.accepted();
    for _ in 0..5 {
        pair.to_postgres.reset().await;
        load.published(20, LONG).await;
    }
    assert!(pair.to_postgres.accepted() > before, "new ones were opened");
    pair.to_postgres.reset().await;
    let recovery = recovered(&load).await;
    let fault = "every connection to PostgreSQL reset, six times";
    pair.judge(load, "22-postgres-reset", fault, recovery, BOUND).await;
    assert!(recovery <= BACK, "it took {recovery:?} to recover");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_way_to_the_database_makes_answers_slow_and_no_more() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    pair.to_postgres.set(Mode::Latency(Duration::from_millis(200))).await;
    load.published(5, LONG).await;
    pair.to_postgres.set(Mode::Pass).await;
    let recovery = recovered(&load).await;
    let fault = "200 ms more to and from PostgreSQL, each way";
    let outcome = pair.judge(load, "23-postgres-latency", fault, recovery, BOUND_WHEN_SLOW).await;
    assert!(recovery <= BACK, "it took {recovery:?} to recover");
    assert!(outcome.told.slowest >= Duration::from_millis(400), "it was felt: {:?}", outcome.told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_behind_a_black_hole_keeps_nobody_waiting() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    pair.to_postgres.set(Mode::Blackhole).await;
    let silence = tokio::time::timeout(Duration::from_secs(8), load.published(3, LONG)).await;
    pair.to_postgres.set(Mode::Pass).await;
    assert!(silence.is_err(), "nothing reaches the database");
    let recovery = recovered(&load).await;
    let fault = "no packet to or from PostgreSQL for 8 s";
    let outcome = pair.judge(load, "24-postgres-blackhole", fault, recovery, BOUND).await;
    refused_and_back(&outcome, recovery, BACK_FROM_SILENCE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_somebody_else_has_locked_ends_in_a_refusal() {
    let pair = Pair::start().await;
    let load = pair.load().await;
    let (other, _task) = connect(&pair.url()).await;
    other.batch_execute("BEGIN; SELECT FROM projects FOR UPDATE").await.expect("the rows can be locked");
    let silence = tokio::time::timeout(Duration::from_secs(8), load.published(3, LONG)).await;
    other.batch_execute("ROLLBACK").await.expect("the lock is given up");
    assert!(silence.is_err(), "a locked project stores nothing");
    let recovery = recovered(&load).await;
    let fault = "the project's row locked by somebody else for 8 s (lock_timeout is 5 s)";
    let outcome = pair.judge(load, "26-postgres-locked", fault, recovery, BOUND).await;
    refused_and_back(&outcome, recovery, BACK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_takes_too_long_is_ended_and_rolled_back() {
    const LIMIT: Duration = Duration::from_secs(2);
    let postgres = Postgres::start();
    let url = postgres.database().await;
    let pair = Pair::on(postgres, &url, |_, options| options.env("TIEOUT_DATABASE_STATEMENT_TIMEOUT", "2s")).await;
    let load = pair.load().await;
    let (other, _task) = connect(&pair.url()).await;
    let slow = format!(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.project_id = '{}') EXECUTE FUNCTION slow()",
        pair.project
    );
    other.batch_execute(&slow).await.expect("a trigger can be made");
    let silence = tokio::time::timeout(Duration::from_secs(8), load.published(3, LONG)).await;
    other.batch_execute("DROP TRIGGER slow ON events").await.expect("a trigger can be dropped");
    assert!(silence.is_err(), "what takes too long is not stored");
    let recovery = recovered(&load).await;
    let fault = "a statement of every publication slower than the statement timeout (2 s here) for 8 s";
    let outcome = pair.judge(load, "27-postgres-statement-timeout", fault, recovery, BOUND).await;
    assert!(outcome.told.slowest >= LIMIT, "the limit was felt: {:?}", outcome.told);
    assert_eq!(outcome.verdict.unknown_stored, 0, "what was ended is rolled back: {}", outcome.verdict);
    refused_and_back(&outcome, recovery, BACK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_a_free_connection_is_away_and_comes_back() {
    const MOST: usize = 40;
    let mut postgres = Postgres::start();
    let url = postgres.database().await;
    postgres.kill();
    postgres.restart(&[&format!("max_connections={MOST}")]);
    let pair = Pair::on(postgres, &url, |_, options| options).await;
    let load = pair.load().await;
    let taken = take_all_connections(&pair.url(), MOST).await;
    pair.both_say("unavailable").await;
    drop(taken);
    let recovery = recovered(&load).await;
    let fault = "every connection that PostgreSQL allows taken by others";
    let outcome = pair.judge(load, "28-postgres-connections", fault, recovery, BOUND).await;
    refused_and_back(&outcome, recovery, BACK);
}

/// Takes what is free and cuts the others off, until all of so many are ours. One that a replica is just opening is not listed yet, so that
/// nobody is there to cut off does not say that nobody is coming.
async fn take_all_connections(url: &str, most: usize) -> Vec<Client> {
    let url = format!("{url}?application_name=taker");
    let others = "FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'taker'";
    let (mut taken, start) = (Vec::<Client>::new(), Instant::now());
    loop {
        assert!(start.elapsed() < LONG, "the replicas are quicker than we are");
        match tokio_postgres::connect(&url, NoTls).await {
            Ok((client, connection)) => {
                // It ends with its client.
                tokio::spawn(connection);
                taken.push(client);
            }
            Err(error) => {
                assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS), "{error}");
                let first = taken.first().expect("one was free");
                let ask = format!("SELECT count(pg_terminate_backend(pid)) {others}");
                let cut: i64 = first.query_one(&ask, &[]).await.expect("a superuser may").get(0);
                if cut == 0 && taken.len() == most {
                    return taken;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_whose_disk_is_full_refuses_and_works_again_when_there_is_room() {
    let postgres = Postgres::start();
    let disk = SmallDisk::mount(&postgres);
    let (admin, _task) = connect(&postgres.url("postgres")).await;
    let place = format!("CREATE TABLESPACE small LOCATION '{}'", disk.place.display());
    admin.batch_execute(&place).await.expect("a tablespace");
    admin.batch_execute("CREATE DATABASE small TABLESPACE small").await.expect("a database");
    let url = postgres.url("small");
    let pair = Pair::on(postgres, &url, |_, options| options).await;
    let load = pair.load().await;
    let (other, _task) = connect(&pair.url()).await;
    let make = "CREATE TABLE junk (t text); ALTER TABLE junk ALTER t SET STORAGE PLAIN";
    other.batch_execute(make).await.expect("room for a table");
    let row = "SELECT string_agg(md5(n::text || m::text), '') FROM generate_series(1, 200) m";
    let mut silence = Ok(Duration::ZERO);
    for rows in [1000, 100, 10, 1] {
        let fill = format!("INSERT INTO junk SELECT ({row}) FROM generate_series(1, {rows}) n");
        loop {
            if let Err(error) = other.batch_execute(&fill).await {
                assert_eq!(error.code(), Some(&SqlState::DISK_FULL), "{error}");
                break;
            }
        }
    }
    // What is left of pages in use is used first.
    for _ in 0..400 {
        silence = tokio::time::timeout(Duration::from_secs(2), load.published(1, LONG)).await;
        if silence.is_err() {
            break;
        }
    }
    other.batch_execute("DROP TABLE junk").await.expect("junk can be dropped");
    assert!(silence.is_err(), "a full disk stores nothing");
    let recovery = recovered(&load).await;
    let fault = "the disk of PostgreSQL full";
    let outcome = pair.judge(load, "25-postgres-disk-full", fault, recovery, BOUND).await;
    refused_and_back(&outcome, recovery, BACK);
}

/// A file system of 40 MB; it is gone with the value.
struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    /// Beside the server's directory, which is removed when the server ends.
    fn mount(postgres: &Postgres) -> SmallDisk {
        let place = postgres.dir.with_extension("small");
        std::fs::create_dir(&place).expect("a directory of ours");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=40m", "tieout-test"]).arg(&place).output();
        let mounted = mount.map_err(|error| error.to_string()).and_then(|done| {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            if done.status.success() { Ok(()) } else { Err(said) }
        });
        if let Err(why) = mounted {
            std::fs::remove_dir(&place).expect("a directory of ours");
            panic!("a full disk can't be tried here: a tmpfs of 40 MB could not be mounted, which takes root: {why}");
        }
        let owner =
            std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(&postgres.dir).expect("the server's directory"));
        chown(&place, Some(owner), Some(owner)).expect("root may give a directory away");
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o700)).expect("its mode can be set");
        SmallDisk { place }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the server may have a file open still. It may be in the middle of a failed test, so nothing panics here.
        let done = Command::new("umount").arg("-l").arg(&self.place).status();
        println!("the small disk is unmounted: {done:?}, removed: {:?}", std::fs::remove_dir(&self.place));
    }
}
