//! Jobs that stand still and go on: what is kept, who goes on with it, and what never comes back.
//! Leaves the rows' life to `store_jobs` and real kills to the outer door. Easy to get wrong: that nothing is computed again is
//! proved by taking the files away.
use crate::jobs_support::{TestJobs, all, files, queued};
use crate::store_support::{DEADLINE, TestStore, recover};
use std::time::{Duration, Instant};
use tieout::actors::janitor::{self, Janitor};
use tieout::db::jobs::{self, Job, JobState};
use tieout::db::results::{self, ResultItem, ResultStatus};
use tieout::db::{checkpoints, sources, staging};
use tieout::protocol::ids::JobId;

const ROWS: u32 = 30_000;

impl TestJobs {
    /// Waits until the run is somewhere, by its live progress.
    async fn progress_at(&self, id: JobId, what: &str, wanted: impl Fn(&str, u64) -> bool) {
        let began = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        loop {
            tick.tick().await;
            let progress = self.jobs.progress(id);
            if progress.as_ref().is_some_and(|now| wanted(&now.phase, now.done)) {
                return;
            }
            assert!(began.elapsed() < DEADLINE * 6, "waited for the run to be at {what}: {progress:?}");
        }
    }

    async fn pause(&self, id: JobId) -> Duration {
        let began = Instant::now();
        let wished = jobs::request_pause(&self.kept.store, id).await.unwrap().value;
        self.jobs.pause(id, wished.attempt);
        self.wait(id, "paused", |job| job.state == JobState::Paused).await;
        began.elapsed()
    }

    async fn resume(&self, id: JobId) -> Job {
        jobs::resume(&self.kept.store, id).await.unwrap();
        self.jobs.nudge();
        self.wait(id, "completed", |job| job.state == JobState::Completed).await
    }

    /// No run can read the files of a job any more.
    async fn take_files_away(&self, job: &Job) {
        for source in [job.left_source_id, job.right_source_id] {
            std::fs::remove_file(self.kept.dir.path().join("uploads").join(source.to_string())).unwrap();
        }
    }
}

/// Every result once, as many as the counts say, and the same as of a job that nobody disturbed.
async fn assert_whole(kept: &TestStore, done: &Job, undisturbed: &[ResultItem]) {
    let counts = done.counts.unwrap();
    let items = all(kept, done.id).await;
    let total = counts.matched + counts.discrepancy + counts.unmatched_left + counts.unmatched_right;
    assert!(items.iter().map(|item| item.ordinal).eq(0..total), "{} results, {counts:?}", items.len());
    let other = items.iter().zip(undisturbed).find(|(item, undisturbed)| item != undisturbed);
    assert!(other.is_none() && items.len() == undisturbed.len(), "{} of {}: {other:?}", items.len(), undisturbed.len());
}

/// The results of a job for these files that runs to its end.
async fn undisturbed(up: &TestJobs, left: &[u8], right: &[u8]) -> Vec<ResultItem> {
    let job = queued(&up.kept, left, right).await;
    up.jobs.nudge();
    up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    all(&up.kept, job.id).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_paused_while_it_compares_keeps_its_records_and_ends_as_if_it_had_never_been_paused() {
    let up = TestJobs::new().await;
    let (left, right) = files(ROWS);
    let undisturbed = queued(&up.kept, &left, &right).await;
    let job = queued(&up.kept, &left, &right).await;
    up.jobs.nudge();
    up.wait(undisturbed.id, "completed", |job| job.state == JobState::Completed).await;
    let comparing = ["indexing", "scoring", "training", "assigning", "summing"];
    up.progress_at(job.id, "comparing", |phase, _| comparing.contains(&phase)).await;
    let took = up.pause(job.id).await;
    println!("paused in {took:?}");
    // 200 ms is the promise; the rest is for a machine that runs other tests.
    assert!(took < Duration::from_secs(1), "pausing took {took:?}");
    let paused = jobs::get(&up.kept.store, job.id).await.unwrap();
    assert_eq!((paused.counts, paused.finished_at_ms, paused.error), (None, None, None));
    for source in [job.left_source_id, job.right_source_id] {
        assert_eq!(sources::get(&up.kept.store, source).await.unwrap().rows, Some(u64::from(ROWS) - 1));
    }
    // It stays so through a restart, and whoever comes next goes on.
    let up = TestJobs::over(up.stop().await).await;
    assert_eq!(jobs::get(&up.kept.store, job.id).await.unwrap().state, JobState::Paused);
    let done = up.resume(job.id).await;
    assert_eq!(done.attempt, 2);
    let (first, second) = (all(&up.kept, undisturbed.id).await, all(&up.kept, job.id).await);
    let ids = |items: &[ResultItem]| items.iter().map(|item| item.match_id.clone()).collect::<Vec<_>>();
    assert!(ids(&first) == ids(&second), "{} results undisturbed, {} with a pause", first.len(), second.len());
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_before_a_pause_is_not_computed_again_and_what_was_written_stays() {
    let up = TestJobs::new().await;
    let (left, right) = files(ROWS);
    let job = queued(&up.kept, &left, &right).await;
    up.jobs.nudge();
    up.progress_at(job.id, "writing", |phase, done| phase == "publishing" && done > 0).await;
    let took = up.pause(job.id).await;
    assert!(took < Duration::from_secs(1), "pausing took {took:?}");
    let store = &up.kept.store;
    let staged = staging::staged_results(store, job.id, 1).await.unwrap();
    assert!(staged > 0 && staged < u64::from(ROWS), "{staged} results were written before the pause");
    assert!(results::page(store, job.id, ResultStatus::All, None, 1).await.unwrap().items.is_empty());
    // What is kept for a paused job is no rubbish.
    let janitor =
        Janitor::start(&up.runtime, store.clone(), up.kept.dir.path(), janitor::Options::default()).await.unwrap();
    assert_eq!(janitor.sweep().await.unwrap().rows, 0);
    up.take_files_away(&job).await;

    // Another process goes on, which has the store and nothing else.
    janitor.stop().await;
    let up = TestJobs::over(up.stop().await).await;
    let done = up.resume(job.id).await;
    assert_eq!((done.attempt, done.error), (2, None));
    let counts = done.counts.unwrap();
    let items = all(&up.kept, job.id).await;
    assert_eq!(
        items.len() as u64,
        counts.matched + counts.discrepancy + counts.unmatched_left + counts.unmatched_right
    );
    assert!(items.iter().map(|item| item.ordinal).eq(0..items.len() as u64), "each result once");
    for item in &items {
        assert!(!item.explanation.is_empty(), "{item:?}");
        if item.match_id.is_some() {
            let amount = item.comparisons.as_array().unwrap().iter().find(|said| said["label"] == "amount").unwrap();
            assert_eq!(amount["left"], item.left[0].fields["amount"], "{item:?}");
            assert_eq!(amount["right"], item.right[0].fields["amount"], "{item:?}");
        }
    }
    let store = &up.kept.store;
    assert_eq!(checkpoints::head(store, job.id).await.unwrap(), None, "what is visible needs no checkpoint");
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_died_while_it_wrote_its_results_goes_on_where_it_was() {
    let up = TestJobs::new().await;
    let (left, right) = files(ROWS);
    let whole = undisturbed(&up, &left, &right).await;
    let job = queued(&up.kept, &left, &right).await;
    up.jobs.nudge();
    up.progress_at(job.id, "writing", |phase, done| phase == "publishing" && done > 0).await;
    up.take_files_away(&job).await;
    // It goes back into the queue, as a dead one does.
    let up = TestJobs::over(up.stop().await).await;
    let done = up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!(done.attempt, 2);
    assert_whole(&up.kept, &done, &whole).await;
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_for_rubbish_while_a_job_stood_still_is_written_again() {
    let up = TestJobs::new().await;
    let (left, right) = files(ROWS);
    let whole = undisturbed(&up, &left, &right).await;
    // As the janitor of a version that knows no checkpoints goes about it: lines first, from the front.
    for gone in [
        "DELETE FROM result_lines WHERE job_id = 'JOB' AND result_ordinal < 700",
        "DELETE FROM result_lines WHERE job_id = 'JOB'; DELETE FROM results WHERE job_id = 'JOB' AND ordinal < 700",
    ] {
        let job = queued(&up.kept, &left, &right).await;
        up.jobs.nudge();
        up.progress_at(job.id, "writing", |phase, done| phase == "publishing" && done > 0).await;
        up.pause(job.id).await;
        assert!(staging::staged(&up.kept.store, job.id, 1).await.unwrap().results > 700);
        up.kept.sql(&gone.replace("JOB", &job.id.to_string())).await;
        up.take_files_away(&job).await;
        let done = up.resume(job.id).await;
        assert_whole(&up.kept, &done, &whole).await;
    }
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_that_comes_late_does_not_meet_the_next_attempt() {
    let up = TestJobs::new().await;
    let (left, right) = files(ROWS);
    let job = queued(&up.kept, &left, &right).await;
    up.jobs.nudge();
    up.progress_at(job.id, "at work", |_, done| done > 0).await;
    up.pause(job.id).await;
    jobs::resume(&up.kept.store, job.id).await.unwrap();
    up.jobs.nudge();
    up.wait(job.id, "at work again", |job| job.attempt == 2 && job.state.is_running()).await;
    // What the first attempt was told comes once more; it may still be on its way out.
    up.jobs.pause(job.id, 1);
    up.jobs.cancel(job.id, 1);
    let done = up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!(done.attempt, 2);
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_that_is_cancelled_leaves_nothing_and_a_restart_of_it_begins_anew() {
    let up = TestJobs::new().await;
    let (left, right) = files(ROWS);
    let job = queued(&up.kept, &left, &right).await;
    up.jobs.nudge();
    up.progress_at(job.id, "writing", |phase, done| phase == "publishing" && done > 0).await;
    up.pause(job.id).await;
    let store = up.kept.store.clone();
    assert!(checkpoints::head(&store, job.id).await.unwrap().is_some_and(|head| head.attempt == 1));
    assert_eq!(jobs::request_cancel(&store, job.id).await.unwrap().value.state, JobState::Cancelled);
    assert_eq!(checkpoints::head(&store, job.id).await.unwrap(), None);
    let options = janitor::Options { batch: 5_000, ..janitor::Options::default() };
    let janitor = Janitor::start(&up.runtime, store.clone(), up.kept.dir.path(), options).await.unwrap();
    let swept = janitor.sweep().await.unwrap().rows;
    assert!(swept > 0, "what was staged goes");
    assert_eq!(staging::staged_results(&store, job.id, 1).await.unwrap(), 0);
    jobs::enqueue(&store, job.id).await.unwrap();
    up.jobs.nudge();
    up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    janitor.stop().await;
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_of_another_version_is_dropped_and_the_work_done_anew() {
    let kept = TestStore::new().await;
    let (left, right) = files(300);
    let job = queued(&kept, &left, &right).await;
    let dead = jobs::claim_next(&kept.store, "a killed process", Duration::ZERO).await.unwrap().unwrap().value;
    let head = r#"{"made_by":"0.0.1 an older one","parts":[],"results":0,"matches":0,"counts":{"left":0,"right":0,"matched":0,
        "discrepancy":0,"review":0,"unmatched_left":0,"unmatched_right":0,"errors":0}}"#;
    checkpoints::store_head(&kept.store, job.id, dead.attempt, head.into()).await.unwrap();
    recover(&kept.store, "next", Vec::new()).await;
    let up = TestJobs::over(kept).await;
    let done = up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!(done.counts.map(|counts| counts.left), Some(299));
    assert_eq!(checkpoints::head(&up.kept.store, job.id).await.unwrap(), None);
    up.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_is_seen_at_once_in_every_phase() {
    const PHASES: [&str; 10] = [
        "ingesting",
        "storing",
        "indexing",
        "scoring",
        "training",
        "assigning",
        "summing",
        "classifying",
        "saving",
        "publishing",
    ];
    let up = TestJobs::new().await;
    let (left, right) = files(ROWS);
    let mut seen = Vec::new();
    for phase in PHASES {
        let job = queued(&up.kept, &left, &right).await;
        up.jobs.nudge();
        let mut tick = tokio::time::interval(Duration::from_millis(1));
        let began = Instant::now();
        // A phase of a millisecond may be over before it is seen; then the job is cancelled in a later one, or has ended.
        loop {
            tick.tick().await;
            let now = up.jobs.progress(job.id).map(|now| now.phase);
            let at = |name: &str| PHASES.iter().position(|phase| *phase == name);
            if now.is_some_and(|now| at(&now) >= at(phase)) {
                break;
            }
            if up.jobs.running() == 0 && jobs::get(&up.kept.store, job.id).await.unwrap().state.is_terminal() {
                break;
            }
            assert!(began.elapsed() < DEADLINE * 6, "waited for {phase}");
        }
        let asked = Instant::now();
        if jobs::request_cancel(&up.kept.store, job.id).await.is_err() {
            continue;
        }
        up.jobs.cancel(job.id, 1);
        while jobs::get(&up.kept.store, job.id).await.unwrap().state != JobState::Cancelled {
            tick.tick().await;
            assert!(asked.elapsed() < DEADLINE, "waited for a cancel in {phase}");
        }
        seen.push((asked.elapsed(), phase));
        // What it computes ends too, or the next job would wait for it.
        while up.jobs.running() > 0 {
            tick.tick().await;
            assert!(asked.elapsed() < DEADLINE, "waited for the work of a job that was cancelled in {phase} to end");
        }
    }
    seen.sort();
    println!("cancels: {seen:?}");
    assert!(seen.len() >= 7, "cancelled in {seen:?} only");
    // 200 ms is the promise; the rest is for a machine that runs other tests.
    assert!(seen[seen.len() / 2].0 < Duration::from_millis(200), "{seen:?}");
    assert!(seen.iter().all(|(took, _)| *took < Duration::from_secs(1)), "{seen:?}");
    up.stop().await.store.stop().await;
}
