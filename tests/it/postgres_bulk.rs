//! Rows in bulk on a PostgreSQL that dies or a client that stands still: what was acknowledged is there, and nobody waits.
//! Leaves the job machine to `jobs_replicas`. Easy to get wrong: a server that is stopped in order has everything on disk;
//! only SIGKILL shows what was still in its memory.
use crate::jobs_support::{TestJobs, files, queued};
use crate::store_support::{TestStore, wait_status};
use crate::support::postgres::{Postgres, connect};
use crate::support::{LONG, eventually, within};
use bytes::Bytes;
use futures_util::SinkExt;
use std::time::Duration;
use tieout::db::jobs::{self, JobState};
use tieout::db::records::{self, NewRecord};
use tieout::db::results::{self, ResultStatus};
use tieout::db::{Options, Status, StoreError};

const LEASE: Duration = Duration::from_secs(30);

fn quick(mut options: Options) -> Options {
    options.probe_interval = Duration::from_millis(200);
    options
}

fn rows(lines: std::ops::Range<u64>) -> Vec<NewRecord> {
    let row = |line| NewRecord { ordinal: line, record_key: format!("key {line}"), fields: format!("[\"{line}\"]") };
    lines.map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_batch_outlives_the_sudden_death_of_the_server() {
    const ROWS: u64 = 200;
    const DEATHS: u64 = 4;
    let mut server = Postgres::start();
    let kept = TestStore::at(&server.database().await, quick).await;
    let job = kept.queued_job().await;
    jobs::claim_next(&kept.store, "me", LEASE).await.unwrap().unwrap();
    for batch in 0..DEATHS {
        let lines = batch * ROWS..(batch + 1) * ROWS;
        records::insert_batch(&kept.store, job.id, 1, job.left_source_id, rows(lines)).await.unwrap();
        server.kill();
        wait_status(&kept.store, "down", |status| matches!(status, Status::Down { .. })).await;
        server.restart(&[]);
        wait_status(&kept.store, "ready", Status::is_ready).await;
        let through = records::stored_through(&kept.store, job.left_source_id).await.unwrap();
        assert_eq!(through, Some((batch + 1) * ROWS - 1), "the batch before death {batch} was acknowledged");
    }
    let all = records::get_many(&kept.store, job.left_source_id, (0..DEATHS * ROWS).collect()).await.unwrap();
    assert!(all.iter().map(|record| record.ordinal).eq(0..DEATHS * ROWS), "{} rows", all.len());
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_server_dies_in_the_middle_publishes_results_without_a_hole() {
    let mut server = Postgres::start();
    let url = server.database().await;
    let up = TestJobs::over(TestStore::at(&url, quick).await).await;
    let (left, right) = files(30_000);
    let job = queued(&up.kept, &left, &right).await;
    up.jobs.nudge();
    let store = &up.kept.store;
    for source in [job.left_source_id, job.right_source_id] {
        eventually(LONG, "a batch of the source to be stored", || async {
            match records::stored_through(store, source).await {
                Ok(Some(_)) => Ok(()),
                seen => Err(format!("{seen:?}")),
            }
        })
        .await;
        server.kill();
        wait_status(store, "down", |status| matches!(status, Status::Down { .. })).await;
        server.restart(&[]);
        wait_status(store, "ready", Status::is_ready).await;
    }
    let done = up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!(done.attempt, 1, "a server that comes back costs no attempt");
    let counts = done.counts.unwrap();
    assert_eq!((counts.left, counts.right), (29_999, 29_999));
    let (client, _task) = connect(&url).await;
    let count = async |sql: &str| client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0).unsigned_abs();
    for (side, source) in [("left", job.left_source_id), ("right", job.right_source_id)] {
        let stored = count(&format!("SELECT count(*) FROM records WHERE source_id = '{source}'")).await;
        assert_eq!(stored, 29_999, "{side} records");
        let settled = format!("SELECT count(DISTINCT record_ordinal) FROM result_lines WHERE side = '{side}'");
        assert_eq!(count(&settled).await, 29_999, "{side} records in results");
    }
    let total = counts.matched + counts.discrepancy + counts.unmatched_left + counts.unmatched_right;
    assert_eq!(count("SELECT count(*) FROM results").await, total);
    let page = results::page(store, job.id, ResultStatus::All, None, 1).await.unwrap();
    assert_eq!(page.total, total);
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_stands_still_keeps_nobody_from_taking_its_job_over() {
    let server = Postgres::start();
    let url = server.database().await;
    let (frozen, next) = (TestStore::at(&url, quick).await, TestStore::at(&url, quick).await);
    let job = frozen.queued_job().await;
    jobs::claim_next(&frozen.store, frozen.store.process(), Duration::ZERO).await.unwrap().unwrap();
    // What a process that was stopped in the middle of a batch leaves on the server: it holds the source, and waits.
    let name = format!("tieout%20{}", frozen.store.process());
    let (mut stopped, _task) = connect(&format!("{url}?application_name={name}")).await;
    let batch = stopped.transaction().await.unwrap();
    let lock = format!("SELECT 1 FROM sources WHERE id = '{}' FOR NO KEY UPDATE", job.left_source_id);
    batch.batch_execute(&lock).await.unwrap();
    let into = "COPY records (source_id, ordinal, record_key, fields) FROM STDIN";
    let mut sink = Box::pin(batch.copy_in::<_, Bytes>(into).await.unwrap());
    sink.send(Bytes::from(format!("{}\t0\tkey\t[]\n", job.left_source_id))).await.unwrap();

    let taken_over = async {
        let dead = jobs::abandoned(&next.store, next.store.process(), Vec::new(), true).await.unwrap();
        assert_eq!(dead[0].owner.as_deref(), Some(frozen.store.process()));
        jobs::take_back(&next.store, next.store.process(), dead[0].clone()).await.unwrap().expect("it was dead");
        let again = jobs::claim_next(&next.store, next.store.process(), LEASE).await.unwrap().unwrap().value;
        records::insert_batch(&next.store, job.id, again.attempt, job.left_source_id, rows(0..10)).await.unwrap();
    };
    // Without a look at who holds the source it would be the limit of waiting for a lock: 5 s.
    within(Duration::from_secs(4), "the job to be taken over and go on", taken_over).await;
    // Its own connections may have been ended as well.
    eventually(LONG, "the one that woke up to be refused", || async {
        match records::insert_batch(&frozen.store, job.id, 1, job.left_source_id, rows(0..10)).await {
            Err(StoreError::Fenced) => Ok(()),
            Err(StoreError::Unavailable { reason, .. }) => Err(reason),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert!(sink.send(Bytes::from_static(b"\n")).await.is_err() || sink.close().await.is_err(), "its session is over");
    for kept in [frozen, next] {
        kept.store.stop().await;
    }
}
