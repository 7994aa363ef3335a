//! Parts of a job's comparing: each is computed by one process, and what was computed is not computed again.
//! Leaves what a part is to the engine's own tests. Easy to get wrong: a job is compared in a second, so the runs here are held
//! at one part by a trigger that waits for a lock.
use crate::jobs_support::{TestJobs, files, queued};
use crate::store_support::{TestStore, recover};
use crate::support::postgres::{Postgres, connect};
use crate::support::{LONG, database_url, eventually};
use std::time::Duration;
use tieout::db::jobs::{self, Ending, Job, JobState};
use tieout::db::parts::{self, Taken};
use tieout::db::{Options, StoreError, projects, sweep};
use tieout::protocol::ids::JobId;
use tokio_postgres::Client;

const LEASE: Duration = Duration::from_secs(30);
/// Enough for four parts.
const ROWS: u32 = 26_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_one_holders_until_its_lease_ends_and_everybodys_once_it_is_computed() {
    let kept = TestStore::new().await;
    let store = &kept.store;
    let id = kept.queued_job().await.id;
    jobs::claim_next(store, "runner", LEASE).await.unwrap().unwrap();
    let take = async |part: i64, who: &'static str, lease| parts::take(store, id, (7, part), who, lease).await.unwrap();
    assert_eq!(take(0, "runner", LEASE).await, Taken::Gone, "none was opened");
    parts::begin(store, id, 1, 7, 3).await.unwrap();
    parts::begin(store, id, 1, 7, 3).await.unwrap();
    assert_eq!(parts::wanting(store).await.unwrap(), [id]);

    assert_eq!(take(0, "runner", LEASE).await, Taken::Yours);
    assert_eq!(take(0, "runner", LEASE).await, Taken::Yours, "it is still his");
    // On a store with one process whoever else took it is dead.
    let exclusive = database_url().is_none();
    assert_eq!(take(0, "helper", LEASE).await, if exclusive { Taken::Yours } else { Taken::Elsewhere });
    assert_eq!(take(1, "helper", Duration::ZERO).await, Taken::Yours);
    eventually(LONG, "the lease to end", || async {
        match take(1, "runner", LEASE).await {
            Taken::Yours => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    // Who stops gives back what it did not compute, and nothing of others.
    parts::release(store, id, "helper").await.unwrap();
    assert_eq!(take(1, "helper", LEASE).await, if exclusive { Taken::Yours } else { Taken::Elsewhere });
    parts::release(store, id, if exclusive { "helper" } else { "runner" }).await.unwrap();
    assert_eq!(take(1, "helper", LEASE).await, Taken::Yours);
    // The one that was late changes nothing but who did the work.
    assert!(parts::keep(store, id, (7, 1), b"same".to_vec()).await.unwrap());
    assert!(parts::keep(store, id, (7, 1), b"same".to_vec()).await.unwrap());
    assert_eq!(take(1, "helper", LEASE).await, Taken::Kept(b"same".to_vec()));
    assert_eq!(take(1, "runner", LEASE).await, Taken::Kept(b"same".to_vec()));
    assert!(!parts::keep(store, id, (8, 1), b"other".to_vec()).await.unwrap(), "a step that nobody opened");

    // Another attempt finds them as they are, and the old runner opens none.
    assert_eq!(recover(store, "next", Vec::new()).await.len(), usize::from(exclusive));
    if exclusive {
        jobs::claim_next(store, "next", LEASE).await.unwrap().unwrap();
        assert_eq!(parts::begin(store, id, 1, 9, 1).await, Err(StoreError::Fenced));
        assert_eq!(take(1, "next", LEASE).await, Taken::Kept(b"same".to_vec()));
    }
    let attempt = jobs::request_cancel(store, id).await.unwrap().value.attempt;
    jobs::finish(store, id, attempt, Ending::Cancelled).await.unwrap();
    assert_eq!(take(1, "helper", LEASE).await, Taken::Gone);
    assert!(!parts::keep(store, id, (7, 0), b"late".to_vec()).await.unwrap());
    assert!(parts::wanting(store).await.unwrap().is_empty());
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_job_whose_project_was_deleted_while_it_ran_go_with_the_job() {
    let kept = TestStore::new().await;
    let store = &kept.store;
    let job = kept.queued_job().await;
    jobs::claim_next(store, "runner", LEASE).await.unwrap().unwrap();
    parts::begin(store, job.id, 1, 7, 3).await.unwrap();
    assert!(parts::keep(store, job.id, (7, 0), b"body".to_vec()).await.unwrap());
    projects::delete(store, job.project_id).await.unwrap();
    assert!(parts::wanting(store).await.unwrap().is_empty());
    while sweep::batch(store, 10, Duration::ZERO).await.unwrap() > 0 {}
    for part in 0..3 {
        assert_eq!(parts::take(store, job.id, (7, part), "runner", LEASE).await.unwrap(), Taken::Gone, "part {part}");
    }
    kept.store.stop().await;
}

fn quick(mut options: Options) -> Options {
    options.probe_interval = Duration::from_millis(200);
    options
}

/// Holds a process where it takes a part, until the lock is given back.
struct Gate(Client);

impl Gate {
    async fn at(url: &str, part: i64, process: &str) -> Self {
        let (client, _task) = connect(url).await;
        let gate = format!(
            "SELECT pg_advisory_lock(42);
             CREATE OR REPLACE FUNCTION gate() RETURNS trigger AS $$ BEGIN
                 IF NEW.part = {part} AND NEW.holder = '{process}' AND NEW.body IS NULL THEN
                     PERFORM pg_advisory_xact_lock(42);
                 END IF;
                 RETURN NEW;
             END $$ LANGUAGE plpgsql;
             CREATE OR REPLACE TRIGGER gate BEFORE UPDATE ON job_parts FOR EACH ROW EXECUTE FUNCTION gate()"
        );
        client.batch_execute(&gate).await.unwrap();
        Self(client)
    }

    async fn open(&self) {
        self.0.batch_execute("SELECT pg_advisory_unlock(42)").await.unwrap();
    }

    /// Parts that were computed: number, by whom, and by which transaction the row was written.
    async fn computed(&self, job: JobId) -> Vec<(i64, String, String)> {
        let asked = format!(
            "SELECT part, holder, xmin::text FROM job_parts WHERE job_id = '{job}' AND body IS NOT NULL ORDER BY part"
        );
        let rows = self.0.query(&asked, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    async fn until_computed(&self, job: JobId, parts: &[i64]) -> Vec<(i64, String, String)> {
        eventually(LONG, "the parts to be computed", || async {
            let found = self.computed(job).await;
            if found.iter().map(|(part, ..)| *part).eq(parts.iter().copied()) {
                Ok(found)
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await
    }
}

async fn ended(up: &TestJobs, job: &Job, attempt: i64) {
    let done = up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!((done.attempt, done.counts.map(|counts| counts.left)), (attempt, Some(u64::from(ROWS) - 1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_nothing_to_do_computes_parts_of_anothers_job() {
    let url = Postgres::shared().database().await;
    let a = TestJobs::with(TestStore::at(&url, quick).await, Default::default()).await;
    let (left, right) = files(ROWS);
    let own = a.kept.store.process().to_owned();
    let gate = Gate::at(&url, 1, &own).await;
    let job = queued(&a.kept, &left, &right).await;
    a.jobs.nudge();
    gate.until_computed(job.id, &[0]).await;

    let kept = TestStore::at(&url, quick).await;
    std::os::unix::fs::symlink(a.kept.dir.path().join("uploads"), kept.dir.path().join("uploads")).unwrap();
    let b = TestJobs::with(kept, Default::default()).await;
    let helper = b.kept.store.process().to_owned();
    let found = gate.until_computed(job.id, &[0, 2, 3]).await;
    let by: Vec<&str> = found.iter().map(|(_, holder, _)| holder.as_str()).collect();
    assert_eq!(by, [own.as_str(), &helper, &helper]);
    assert_eq!(b.jobs.running(), 0, "help is not a job of its own");
    gate.open().await;
    ended(&a, &job, 1).await;
    assert!(gate.computed(job.id).await.is_empty(), "nobody needs them any more");
    b.stop().await.store.stop().await;
    a.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_were_computed_before_a_pause_are_not_computed_again() {
    let url = Postgres::shared().database().await;
    let up = TestJobs::with(TestStore::at(&url, quick).await, Default::default()).await;
    let (left, right) = files(ROWS);
    let process = up.kept.store.process().to_owned();
    let gate = Gate::at(&url, 2, &process).await;
    let job = queued(&up.kept, &left, &right).await;
    up.jobs.nudge();
    let before = gate.until_computed(job.id, &[0, 1]).await;
    jobs::request_pause(&up.kept.store, job.id).await.unwrap();
    up.jobs.pause(job.id, 1);
    up.wait(job.id, "paused", |job| job.state == JobState::Paused).await;
    gate.open().await;
    assert!(parts::wanting(&up.kept.store).await.unwrap().is_empty(), "a paused job wants no help");
    let taken = "SELECT part FROM job_parts WHERE body IS NULL AND until_us IS NOT NULL";
    eventually(LONG, "the part that was not computed to be given back", || async {
        match gate.0.query(taken, &[]).await.unwrap().len() {
            0 => Ok(()),
            parts => Err(format!("{parts} parts are taken")),
        }
    })
    .await;

    let gate = Gate::at(&url, 3, &process).await;
    jobs::resume(&up.kept.store, job.id).await.unwrap();
    up.jobs.nudge();
    let after = gate.until_computed(job.id, &[0, 1, 2]).await;
    assert_eq!(after[..2], before, "the rows are the very ones");
    gate.open().await;
    ended(&up, &job, 2).await;
    up.stop().await.store.stop().await;
}
