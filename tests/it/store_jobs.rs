//! The job machine and its results in the store: fences, fairness, recovery, atomic publishing.
use crate::store_support::{TestStore, new_job, recover};
use std::time::Duration;
use tieout::db::jobs::{self, Counts, Ending, JobState, Lease};
use tieout::db::records::{self, NewRecord};
use tieout::db::results::{self, ResultStatus, RowProblem};
use tieout::db::staging::{self, NewLine, NewResult};
use tieout::db::{StoreError, checkpoints, sweep};
use tieout::reconcile::Side;

const LEASE: Duration = Duration::from_secs(30);
/// The lease of a runner that died: on a shared store others learn of it when it has lapsed.
const LAPSED: Duration = Duration::ZERO;

#[tokio::test(flavor = "multi_thread")]
async fn projects_take_turns_however_many_jobs_one_of_them_has() {
    let kept = TestStore::new().await;
    let (greedy, left, right) = kept.project().await;
    for _ in 0..3 {
        kept.queued_job_of(greedy, left, right).await;
    }
    let modest = kept.queued_job().await.project_id;
    let mut order = Vec::new();
    while let Some(claimed) = jobs::claim_next(&kept.store, "me", LEASE).await.unwrap() {
        order.push(claimed.value.project_id);
    }
    assert_eq!(order, [greedy, modest, greedy, greedy]);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn past_open_jobs_a_start_is_refused_with_the_limits_name() {
    let kept = TestStore::with(|mut options| {
        options.open_jobs = 2;
        options
    })
    .await;
    let (project, left, right) = kept.project().await;
    let first = kept.queued_job_of(project, left, right).await;
    kept.queued_job_of(project, left, right).await;
    let third = jobs::create(&kept.store, new_job(project, left, right)).await.unwrap().value;
    let refused = jobs::enqueue(&kept.store, third.id).await;
    let full = StoreError::LimitExceeded { limit: "max_open_jobs", max: 2 };
    assert_eq!(refused, Err(full.clone()));
    // A job that is made to be started is not made at all: else each try would leave one behind.
    assert_eq!(jobs::create_queued(&kept.store, new_job(project, left, right)).await, Err(full));
    assert_eq!(jobs::list(&kept.store, project, None, 10).await.unwrap().items.len(), 3);
    jobs::request_cancel(&kept.store, first.id).await.unwrap();
    jobs::enqueue(&kept.store, third.id).await.unwrap();
    jobs::request_cancel(&kept.store, third.id).await.unwrap();
    let made = jobs::create_queued(&kept.store, new_job(project, left, right)).await.unwrap();
    assert_eq!(made.value.state, JobState::Queued);
    assert!(made.event.is_some_and(|event| event.body.contains("\"created\"")));
    assert_eq!(jobs::enqueue(&kept.store, made.value.id).await.unwrap().event, None, "it has its place already");
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_under_an_old_fence_changes_nothing() {
    let kept = TestStore::new().await;
    let queued = kept.queued_job().await;
    let dead = jobs::claim_next(&kept.store, "dead process", LAPSED).await.unwrap().unwrap().value;
    assert_eq!(dead.attempt, 1);
    let events = recover(&kept.store, "me", Vec::new()).await;
    assert_eq!(events.len(), 1);
    let alive = jobs::claim_next(&kept.store, "me", LEASE).await.unwrap().unwrap().value;
    assert_eq!((alive.id, alive.attempt), (queued.id, 2));
    let store = &kept.store;
    let id = queued.id;
    let row = NewRecord { ordinal: 2, record_key: "a".into(), fields: "[]".into() };
    let fenced = Err(StoreError::Fenced);
    assert_eq!(records::insert_batch(store, id, 1, queued.left_source_id, vec![row]).await, fenced);
    let marked = records::mark_ingested(store, id, 1, queued.left_source_id, 1, 0).await;
    assert_eq!(marked.unwrap_err(), StoreError::Fenced);
    assert_eq!(staging::stage(store, id, 1, vec![found(0, 2, 3)]).await, fenced);
    assert_eq!(jobs::set_phase(store, id, 1, JobState::Scoring).await, fenced);
    assert_eq!(staging::publish(store, id, 1, Counts::default()).await.unwrap_err(), StoreError::Fenced);
    assert_eq!(jobs::finish(store, id, 1, Ending::Cancelled).await.unwrap_err(), StoreError::Fenced);
    let renewed = jobs::renew(store, "me", vec![(id, 1), (id, 2)], LEASE).await.unwrap();
    assert_eq!(renewed, [(id, 1, Lease::Lost), (id, 2, Lease::Held)]);
    assert_eq!(jobs::get(store, id).await.unwrap().state, JobState::Ingesting);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_keeps_killing_the_process_is_given_up_and_a_cancelled_one_stays_cancelled() {
    let kept = TestStore::new().await;
    let deadly = kept.queued_job().await;
    for process in 0..3 {
        jobs::claim_next(&kept.store, &format!("process {process}"), LAPSED).await.unwrap().unwrap();
        recover(&kept.store, "next", Vec::new()).await;
    }
    let given_up = jobs::get(&kept.store, deadly.id).await.unwrap();
    assert_eq!(given_up.state, JobState::Failed);
    assert!(given_up.error.unwrap().contains("died 3 times"));
    jobs::enqueue(&kept.store, deadly.id).await.unwrap();
    jobs::claim_next(&kept.store, "process", LAPSED).await.unwrap().unwrap();
    assert_eq!(jobs::request_cancel(&kept.store, deadly.id).await.unwrap().value.state, JobState::Cancelling);
    let renewed = jobs::renew(&kept.store, "process", vec![(deadly.id, 4)], LAPSED).await.unwrap();
    assert_eq!(renewed, [(deadly.id, 4, Lease::CancelRequested)]);
    let events = recover(&kept.store, "next", Vec::new()).await;
    assert!(events[0].body.contains("\"terminal\":true"), "{}", events[0].body);
    assert_eq!(jobs::get(&kept.store, deadly.id).await.unwrap().state, JobState::Cancelled);
    // Also at the death at which it would be given up.
    jobs::enqueue(&kept.store, deadly.id).await.unwrap();
    for death in 1..=3 {
        jobs::claim_next(&kept.store, "process", LAPSED).await.unwrap().unwrap();
        if death == 3 {
            jobs::request_cancel(&kept.store, deadly.id).await.unwrap();
        }
        recover(&kept.store, "next", Vec::new()).await;
    }
    let ended = jobs::get(&kept.store, deadly.id).await.unwrap();
    assert_eq!((ended.state, ended.error), (JobState::Cancelled, None));
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_job_gives_its_place_up_and_a_wish_outlives_the_process_that_was_to_fulfil_it() {
    let kept = TestStore::with(|mut options| {
        options.open_jobs = 1;
        options
    })
    .await;
    let store = &kept.store;
    let (project, left, right) = kept.project().await;
    let created = jobs::create(store, new_job(project, left, right)).await.unwrap().value;
    let id = created.id;
    for refused in [jobs::request_pause(store, id).await, jobs::resume(store, id).await] {
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    jobs::enqueue(store, id).await.unwrap();
    assert_eq!(jobs::resume(store, id).await.unwrap().event, None, "it waits for its turn already");
    let paused = jobs::request_pause(store, id).await.unwrap();
    assert_eq!(paused.value.state, JobState::Paused);
    assert!(paused.event.is_some_and(|event| event.body.contains("\"paused\"")));
    assert_eq!(jobs::request_pause(store, id).await.unwrap().event, None);
    assert_eq!(jobs::claim_next(store, "me", LEASE).await.unwrap(), None);
    // Its place is somebody else's; until that one is gone it stays paused.
    let other = kept.queued_job_of(project, left, right).await;
    let full = jobs::resume(store, id).await;
    assert_eq!(full, Err(StoreError::LimitExceeded { limit: "max_open_jobs", max: 1 }));
    assert_eq!(jobs::get(store, id).await.unwrap().state, JobState::Paused);
    jobs::request_cancel(store, other.id).await.unwrap();

    assert_eq!(jobs::resume(store, id).await.unwrap().value.state, JobState::Queued);
    let run = jobs::claim_next(store, "me", LEASE).await.unwrap().unwrap().value;
    assert_eq!(jobs::request_pause(store, id).await.unwrap().value.state, JobState::Pausing);
    assert_eq!(jobs::leases(store, vec![(id, run.attempt)]).await.unwrap(), [(id, run.attempt, Lease::PauseRequested)]);
    jobs::set_phase(store, id, run.attempt, JobState::Scoring).await.unwrap();
    assert_eq!(jobs::get(store, id).await.unwrap().state, JobState::Pausing);
    for refused in [jobs::resume(store, id).await, staging::publish(store, id, run.attempt, Counts::default()).await] {
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    let ended = jobs::finish(store, id, run.attempt, Ending::Paused).await.unwrap();
    assert_eq!((ended.value.state, ended.value.finished_at_ms), (JobState::Paused, None));
    assert!(ended.event.is_some_and(|event| event.body.starts_with("\"DataUpdate\"")), "a pause is no end");

    // A process that dies before it has paused leaves a paused job; to cancel goes before to pause.
    for (cancel, state) in [(false, JobState::Paused), (true, JobState::Cancelled)] {
        jobs::resume(store, id).await.unwrap();
        jobs::claim_next(store, "dead", LAPSED).await.unwrap().unwrap();
        jobs::request_pause(store, id).await.unwrap();
        if cancel {
            assert_eq!(jobs::request_cancel(store, id).await.unwrap().value.state, JobState::Cancelling);
            let refused = jobs::request_pause(store, id).await;
            assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
        }
        recover(store, "next", Vec::new()).await;
        assert_eq!(jobs::get(store, id).await.unwrap().state, state);
    }
    let refused = jobs::resume(store, id).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_by_a_wish_ends_as_its_row_says_whatever_it_was_told() {
    use {Ending::Cancelled, Ending::Paused, JobState as S};
    let kept = TestStore::new().await;
    let store = &kept.store;
    let id = kept.queued_job().await.id;
    for (wish, told, becomes) in [
        // A wish of the attempt before: nobody wants it now.
        (None, Paused, S::Queued),
        (None, Cancelled, S::Queued),
        (Some(S::Pausing), Cancelled, S::Paused),
        (Some(S::Pausing), Paused, S::Paused),
        (Some(S::Cancelling), Paused, S::Cancelled),
    ] {
        if jobs::get(store, id).await.unwrap().state == S::Paused {
            jobs::resume(store, id).await.unwrap();
        }
        let run = jobs::claim_next(store, "me", LEASE).await.unwrap().unwrap().value;
        let wished = match wish {
            None => run.state,
            Some(S::Pausing) => jobs::request_pause(store, id).await.unwrap().value.state,
            Some(_) => jobs::request_cancel(store, id).await.unwrap().value.state,
        };
        assert_eq!(wished, wish.unwrap_or(S::Ingesting));
        let ended = jobs::finish(store, id, run.attempt, told.clone()).await.unwrap().value;
        assert_eq!(ended.state, becomes, "{wish:?} and {told:?}");
    }
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_that_nobody_goes_on_from_go_a_few_parts_at_a_time_and_the_others_stay() {
    let kept = TestStore::new().await;
    let store = &kept.store;
    let sweep = || async { sweep::batch(store, 1_000, Duration::from_secs(60)).await.unwrap() };
    let claim = || async { jobs::claim_next(store, "me", LEASE).await.unwrap().unwrap().value };
    let keep = |id, attempt, parts, whole| async move {
        for part in 1..=parts {
            checkpoints::store_part(store, id, attempt, part, format!("part {part}")).await.unwrap();
        }
        if whole {
            checkpoints::store_head(store, id, attempt, "head".into()).await.unwrap();
        }
    };
    // One that a runner is just writing, and a whole one of a paused job.
    kept.queued_job().await;
    let writing = claim().await;
    keep(writing.id, 1, 3, false).await;
    kept.queued_job().await;
    let paused = claim().await;
    keep(paused.id, 1, 2, true).await;
    jobs::request_pause(store, paused.id).await.unwrap();
    jobs::finish(store, paused.id, 1, Ending::Paused).await.unwrap();
    // A completed one is void at once; what it leaves is not removed by those who wait for the commit.
    kept.queued_job().await;
    let done = claim().await;
    keep(done.id, 1, 9, true).await;
    staging::publish(store, done.id, 1, Counts::default()).await.unwrap();
    assert_eq!(checkpoints::head(store, done.id).await.unwrap(), None);
    assert_eq!(checkpoints::part(store, done.id, 1, 9).await.unwrap(), "part 9");
    // A replica that knows no checkpoints ended this one: its head is there and of no use.
    kept.queued_job().await;
    let elsewhere = claim().await;
    keep(elsewhere.id, 1, 1, true).await;
    kept.sql(&format!("UPDATE jobs SET state = 'completed' WHERE id = '{}'", elsewhere.id)).await;
    let mut batches = Vec::new();
    while let went @ 1.. = sweep().await {
        batches.push(went);
    }
    assert_eq!(batches.iter().sum::<usize>(), 9 + 2, "{batches:?}");
    assert!(batches.iter().all(|went| *went <= 4), "{batches:?}");
    assert_eq!(checkpoints::head(store, elsewhere.id).await.unwrap(), None);
    assert_eq!(checkpoints::part(store, done.id, 1, 9).await, Err(StoreError::NotFound));
    assert_eq!(checkpoints::part(store, writing.id, 1, 3).await.unwrap(), "part 3");
    assert_eq!(checkpoints::part(store, paused.id, 1, 2).await.unwrap(), "part 2");
    assert!(checkpoints::head(store, paused.id).await.unwrap().is_some());
    // The writer died, and what it wrote is half of something.
    jobs::finish(store, writing.id, 1, Ending::Requeued).await.unwrap();
    assert_eq!(sweep().await, 3);
    jobs::request_cancel(store, paused.id).await.unwrap();
    assert_eq!(sweep().await, 2);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_given_back_is_tried_again_a_few_times_and_then_fails_with_the_reason() {
    let kept = TestStore::new().await;
    let job = kept.queued_job().await;
    let back = || Ending::GivenBack { error: "no file here".into() };
    let mut states = Vec::new();
    while let Some(claimed) = jobs::claim_next(&kept.store, "me", LEASE).await.unwrap() {
        let ended = jobs::finish(&kept.store, job.id, claimed.value.attempt, back()).await.unwrap().value;
        states.push((ended.state, ended.error));
    }
    let failed = (JobState::Failed, Some("no file here".to_owned()));
    assert_eq!(states, [(JobState::Queued, None), (JobState::Queued, None), failed]);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_visible_whole_or_not_at_all_and_show_their_records() {
    let kept = TestStore::new().await;
    let store = &kept.store;
    let job = kept.queued_job().await;
    let dead = jobs::claim_next(store, "dead", LAPSED).await.unwrap().unwrap().value;
    staging::stage(store, job.id, dead.attempt, vec![found(0, 2, 3), found(1, 3, 2)]).await.unwrap();
    recover(store, "me", Vec::new()).await;
    let run = jobs::claim_next(store, "me", LEASE).await.unwrap().unwrap().value;
    for source in [job.left_source_id, job.right_source_id] {
        let rows = (2..5).map(|line| NewRecord {
            ordinal: line,
            record_key: format!("key {line}"),
            fields: format!("[\"id {line}\",\"1.5{line}\"]"),
        });
        records::insert_batch(store, job.id, run.attempt, source, rows.clone().collect()).await.unwrap();
        // A second ingest after a dead one writes the same rows again.
        records::insert_batch(store, job.id, run.attempt, source, rows.collect()).await.unwrap();
        records::mark_ingested(store, job.id, run.attempt, source, 3, 0).await.unwrap();
        assert_eq!(records::ingested(store, source).await.unwrap(), Some(3));
    }
    staging::stage(store, job.id, run.attempt, vec![found(0, 2, 4)]).await.unwrap();
    let lonely = NewResult {
        status: ResultStatus::UnmatchedLeft,
        match_id: None,
        kind: "missing",
        state: "unmatched",
        probability: None,
        lines: vec![NewLine { side: Side::Left, record_ordinal: 3, allocated_minor: None }],
        ..found(1, 0, 0)
    };
    staging::stage(store, job.id, run.attempt, vec![lonely]).await.unwrap();
    let problem = RowProblem {
        side: "left".into(),
        line: 9,
        column: "amount".into(),
        value: "x".into(),
        reason: "not an amount".into(),
    };
    staging::stage_row_errors(store, job.id, run.attempt, run.attempt, 0, vec![problem.clone()]).await.unwrap();
    assert!(results::page(store, job.id, ResultStatus::All, None, 10).await.unwrap().items.is_empty());

    let counts = Counts { left: 3, right: 3, matched: 1, unmatched_left: 1, errors: 1, ..Counts::default() };
    let done = staging::publish(store, job.id, run.attempt, counts).await.unwrap();
    assert_eq!((done.value.state, done.value.counts), (JobState::Completed, Some(counts)));
    let body = done.event.unwrap().body;
    assert!(body.starts_with("\"JobProgressUpdate\"") && body.contains("\"terminal\":true"), "{body}");
    let first = results::page(store, job.id, ResultStatus::All, None, 1).await.unwrap();
    assert_eq!((first.total, first.next.as_deref()), (2, Some("0")));
    let item = &first.items[0];
    assert_eq!((item.left[0].id.as_str(), item.right[0].id.as_str()), ("id 2", "id 4"));
    assert_eq!(item.left[0].fields["amount"], "1.52");
    let second = results::page(store, job.id, ResultStatus::All, first.next.as_deref(), 1).await.unwrap();
    assert_eq!((second.items[0].status, second.next), (ResultStatus::UnmatchedLeft, None));
    let left = results::page(store, job.id, ResultStatus::UnmatchedLeft, None, 10).await.unwrap();
    assert_eq!((left.items.len(), left.total), (1, 1));
    assert_eq!(results::row_errors(store, job.id, None, 10).await.unwrap().items, [problem]);

    // The dead attempt's rows go, the published ones stay.
    let mut swept = 0;
    while let went @ 1.. = sweep::batch(store, 1, Duration::from_secs(60)).await.unwrap() {
        swept += went;
    }
    assert_eq!(swept, 2 + 4 + 1, "two results, four lines and the note of the attempt");
    assert_eq!(results::page(store, job.id, ResultStatus::All, None, 10).await.unwrap().items.len(), 2);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_cancelled_before_publishing_publishes_nothing() {
    let kept = TestStore::new().await;
    let job = kept.queued_job().await;
    let run = jobs::claim_next(&kept.store, "me", LEASE).await.unwrap().unwrap().value;
    jobs::request_cancel(&kept.store, job.id).await.unwrap();
    let refused = staging::publish(&kept.store, job.id, run.attempt, Counts::default()).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    jobs::finish(&kept.store, job.id, run.attempt, Ending::Cancelled).await.unwrap();
    assert!(matches!(jobs::request_cancel(&kept.store, job.id).await, Ok(done) if done.event.is_none()));
    kept.store.stop().await;
}

fn found(ordinal: u64, left: u64, right: u64) -> NewResult {
    NewResult {
        ordinal,
        status: ResultStatus::Matched,
        match_id: Some(format!("m{ordinal}")),
        kind: "one_to_one",
        related_id: None,
        state: "auto",
        probability: Some(0.99),
        comparisons: "[]".into(),
        explanation: "the same".into(),
        text: None,
        lines: vec![
            NewLine { side: Side::Left, record_ordinal: left, allocated_minor: Some(150) },
            NewLine { side: Side::Right, record_ordinal: right, allocated_minor: None },
        ],
    }
}
