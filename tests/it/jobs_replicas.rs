//! Several processes over one PostgreSQL: each job is run by one of them, and by another one when that one is gone.
//! Leaves real processes and signals to `faults`. Easy to get wrong: a job that is over before the test has looked proves
//! nothing, so the runs here are held in the middle of their files by a lock on the source's row.
use crate::jobs_support::{TestJobs, files, queued};
use crate::store_support::{TestStore, new_job, wait_status};
use crate::support::postgres::{Postgres, connect};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{LONG, eventually};
use std::time::{Duration, Instant};
use tieout::actors::jobs::Limits;
use tieout::db::jobs::{self, Counts, Ending, Job, JobState, Lease};
use tieout::db::records::{self, NewRecord};
use tieout::db::results::RowProblem;
use tieout::db::staging::{self, NewResult, ResultText};
use tieout::db::{Options, Status, Store, StoreError, checkpoints, projects};
use tokio_postgres::Client;

const LEASE: Duration = Duration::from_secs(2);

fn limits() -> Limits {
    Limits { lease: LEASE, ..Limits::default() }
}

fn quick(mut options: Options) -> Options {
    options.probe_interval = Duration::from_millis(200);
    options
}

/// The address with another port: through a proxy.
fn through(url: &str, server: &Postgres, proxy: &Proxy) -> String {
    url.replace(&format!(":{}/", server.port), &format!(":{}/", proxy.port))
}

/// Holds every job of a source where it stores that source, until it is dropped.
struct Held {
    client: Client,
}

impl Held {
    async fn source_of(url: &str, job: &Job) -> Self {
        let (client, _task) = connect(url).await;
        let lock = format!("BEGIN; SELECT 1 FROM sources WHERE id = '{}' FOR NO KEY UPDATE", job.left_source_id);
        client.batch_execute(&lock).await.unwrap();
        Self { client }
    }

    async fn release(self) {
        self.client.batch_execute("COMMIT").await.unwrap();
    }
}

/// Who has the job, and until when (microseconds); the server's time with it.
async fn lease(client: &Client, job: &Job) -> (Option<String>, i64, i64) {
    let asked = format!(
        "SELECT lease_owner, coalesce(lease_until_us, 0), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint \
         FROM job_queue WHERE job_id = '{}'",
        job.id
    );
    let row = client.query_one(&asked, &[]).await.expect("the job is queued or runs");
    (row.get(0), row.get(1), row.get(2))
}

async fn owned_by(client: &Client, job: &Job, process: &str) -> i64 {
    eventually(LONG, "the process to have the job", || async {
        match lease(client, job).await {
            (Some(owner), until, _) if owner == process => Ok(until),
            seen => Err(format!("{seen:?}, not {process}")),
        }
    })
    .await
}

/// Waits until the lease ends so much later than `from`.
async fn renewed(client: &Client, job: &Job, from: i64, by: Duration) {
    eventually(LONG, "the lease to be renewed", || async {
        let (_, until, _) = lease(client, job).await;
        if until > from + by.as_micros() as i64 { Ok(()) } else { Err(format!("{until}, from {from}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_claim_at_once_get_each_job_once_and_projects_take_turns() {
    let url = Postgres::shared().database().await;
    let (a, b) = (TestStore::at(&url, quick).await, TestStore::at(&url, quick).await);
    const EACH: usize = 12;
    for _ in 0..2 {
        let (project, left, right) = a.project().await;
        for _ in 0..EACH {
            jobs::create_queued(&a.store, new_job(project, left, right)).await.unwrap();
        }
    }
    let claim_all = |store: Store| async move {
        let mut claimed = Vec::new();
        while let Some(next) = jobs::claim_next(&store, store.process(), LEASE).await.unwrap() {
            claimed.push(next.value.id);
        }
        claimed
    };
    let (by_a, by_b) = tokio::join!(tokio::spawn(claim_all(a.store.clone())), tokio::spawn(claim_all(b.store.clone())));
    let (by_a, by_b) = (by_a.unwrap(), by_b.unwrap());
    assert!(!by_a.is_empty() && !by_b.is_empty(), "{} and {}", by_a.len(), by_b.len());
    let mut all = [by_a, by_b].concat();
    all.sort();
    let claims = all.len();
    all.dedup();
    assert_eq!((claims, all.len()), (2 * EACH, 2 * EACH), "each job once");
    let (client, _task) = connect(&url).await;
    let order = client.query("SELECT project_id::text FROM jobs ORDER BY started_us", &[]).await.unwrap();
    let order: Vec<String> = order.iter().map(|row| row.get(0)).collect();
    for seen in 1..order.len() {
        let of_first = order[..seen].iter().filter(|project| **project == order[0]).count();
        // In turns; one more for the few milliseconds by which two processes disagree about the server's time.
        assert!(of_first.abs_diff(seen - of_first) <= 2, "after {seen} claims: {order:?}");
    }
    for kept in [a, b] {
        kept.store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_queue_at_once_never_pass_the_limit() {
    const OPEN: usize = 5;
    let url = Postgres::shared().database().await;
    let few = |mut options: Options| {
        options.open_jobs = OPEN as u64;
        quick(options)
    };
    let (a, b) = (TestStore::at(&url, few).await, TestStore::at(&url, few).await);
    let mut tries = tokio::task::JoinSet::new();
    let mut projects = Vec::new();
    for turn in 0..12 {
        let (project, left, right) = a.project().await;
        projects.push(project);
        let new = new_job(project, left, right);
        let store = if turn % 2 == 0 { a.store.clone() } else { b.store.clone() };
        tries.spawn(async move { jobs::create_queued(&store, new).await });
    }
    let outcomes = tries.join_all().await;
    let full = StoreError::LimitExceeded { limit: "max_open_jobs", max: OPEN as u64 };
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), OPEN);
    assert!(outcomes.into_iter().filter_map(Result::err).all(|error| error == full));
    let mut there = 0;
    for project in projects {
        there += jobs::list(&b.store, project, None, 10).await.unwrap().items.len();
    }
    assert_eq!(there, OPEN, "what was refused left nothing behind");
    for kept in [a, b] {
        kept.store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_longer_than_its_lease_keeps_it_also_while_its_process_drains() {
    let url = Postgres::shared().database().await;
    let (client, _task) = connect(&url).await;
    let a = TestJobs::with(TestStore::at(&url, quick).await, limits()).await;
    let (left, right) = files(300);
    let long = queued(&a.kept, &left, &right).await;
    let held = Held::source_of(&url, &long).await;
    a.jobs.nudge();
    let until = owned_by(&client, &long, a.kept.store.process()).await;
    a.jobs.claim_nothing();
    let other = queued(&a.kept, &left, &right).await;
    a.jobs.nudge();
    let kept = TestStore::at(&url, quick).await;
    std::os::unix::fs::symlink(a.kept.dir.path().join("uploads"), kept.dir.path().join("uploads")).unwrap();
    let b = TestJobs::with(kept, limits()).await;
    // Longer than the lease, and than the time after which a new process believes in leases that lapsed.
    renewed(&client, &long, until, 3 * LEASE).await;
    assert_eq!(lease(&client, &long).await.0.as_deref(), Some(a.kept.store.process()));
    let done = b.wait(other.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!(done.attempt, 1, "the one that drains took nothing more");
    held.release().await;
    let done = a.wait(long.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!(done.attempt, 1);
    b.stop().await.store.stop().await;
    a.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_cut_off_loses_its_job_and_whatever_it_writes_afterwards_is_refused() {
    let server = Postgres::start();
    let url = server.database().await;
    let (client, _task) = connect(&url).await;
    let proxy = Proxy::start(server.port);
    let a = TestJobs::with(TestStore::at(&through(&url, &server, &proxy), quick).await, limits()).await;
    let (left, right) = files(300);
    let job = queued(&a.kept, &left, &right).await;
    let held = Held::source_of(&url, &job).await;
    a.jobs.nudge();
    owned_by(&client, &job, a.kept.store.process()).await;
    let kept = TestStore::at(&url, quick).await;
    std::os::unix::fs::symlink(a.kept.dir.path().join("uploads"), kept.dir.path().join("uploads")).unwrap();
    let b = TestJobs::with(kept, limits()).await;
    proxy.set(Mode::Blackhole).await;
    owned_by(&client, &job, b.kept.store.process()).await;
    proxy.set(Mode::Pass).await;
    wait_status(&a.kept.store, "ready", Status::is_ready).await;
    eventually(LONG, "the one that was cut off to stop", || async {
        if a.jobs.running() == 0 { Ok(()) } else { Err("it runs".into()) }
    })
    .await;
    // A probe that was on its way through the black hole may still come to its end.
    let seen = eventually(LONG, "the store to answer", || async {
        jobs::get(&a.kept.store, job.id).await.map_err(|error| error.to_string())
    });
    assert_eq!(seen.await.attempt, 2);
    refused_everything(&a.kept.store, &job).await;
    held.release().await;
    let done = b.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!((done.attempt, done.counts.unwrap().left), (2, 299));
    refused_everything(&a.kept.store, &job).await;
    b.stop().await.store.stop().await;
    a.stop().await.store.stop().await;
}

/// Every write under the first attempt's fence.
async fn refused_everything(store: &Store, job: &Job) {
    let (id, source) = (job.id, job.left_source_id);
    let row = NewRecord { ordinal: 2, record_key: "late".into(), fields: "[]".into() };
    let found = NewResult {
        ordinal: 0,
        status: tieout::db::results::ResultStatus::Matched,
        match_id: None,
        kind: "one_to_one",
        related_id: None,
        state: "auto",
        probability: None,
        comparisons: "[]".into(),
        explanation: "late".into(),
        text: None,
        lines: Vec::new(),
    };
    let text = ResultText { comparisons: "[]".into(), explanation: "late".into() };
    let problem =
        RowProblem { side: "left".into(), line: 2, column: String::new(), value: String::new(), reason: "late".into() };
    let outcomes = [
        records::insert_batch(store, id, 1, source, vec![row]).await,
        records::mark_ingested(store, id, 1, source, 1, 0).await.map(drop),
        staging::stage(store, id, 1, vec![found.clone()]).await,
        staging::stage_under(store, id, 1, 1, vec![found]).await,
        staging::stage_texts(store, id, 1, 1, 0, vec![text]).await,
        staging::stage_row_errors(store, id, 1, 1, 0, vec![problem]).await,
        checkpoints::store_part(store, id, 1, 1, "late".into()).await,
        checkpoints::store_head(store, id, 1, "late".into()).await,
        checkpoints::discard(store, id, 1).await,
        jobs::set_phase(store, id, 1, JobState::Scoring).await,
        staging::publish(store, id, 1, Counts::default()).await.map(drop),
        staging::publish_under(store, id, 1, 1, Counts::default()).await.map(drop),
        jobs::finish(store, id, 1, Ending::Cancelled).await.map(drop),
        jobs::finish(store, id, 1, Ending::Paused).await.map(drop),
    ];
    assert!(outcomes.iter().all(|outcome| *outcome == Err(StoreError::Fenced)), "{outcomes:?}");
    assert_eq!(jobs::leases(store, vec![(id, 1)]).await.unwrap(), [(id, 1, Lease::Lost)]);
    assert_eq!(jobs::renew(store, store.process(), vec![(id, 1)], LEASE).await.unwrap(), [(id, 1, Lease::Lost)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_takes_its_time_keeps_nobody_from_the_project_and_a_late_one_is_refused() {
    let url = Postgres::shared().database().await;
    let (client, _task) = connect(&url).await;
    let kept = TestStore::at(&url, quick).await;
    let job = kept.queued_job().await;
    let run = jobs::claim_next(&kept.store, "me", LEASE).await.unwrap().unwrap().value;
    // Megabytes on their way, as far as others can see.
    let held = "BEGIN; LOCK TABLE job_checkpoints IN SHARE MODE";
    let part = |number| {
        let store = kept.store.clone();
        tokio::spawn(async move { checkpoints::store_part(&store, job.id, run.attempt, number, "part".into()).await })
    };
    let waiting = || async {
        eventually(LONG, "the part to be on its way", || async {
            let asked = "SELECT count(*) FROM pg_locks WHERE relation = 'job_checkpoints'::regclass AND NOT granted";
            let waiting: i64 = client.query_one(asked, &[]).await.map_err(|error| error.to_string())?.get(0);
            if waiting > 0 { Ok(()) } else { Err("nobody waits".into()) }
        })
        .await;
    };
    client.batch_execute(held).await.unwrap();
    let on_its_way = part(1);
    waiting().await;
    projects::rename(&kept.store, job.project_id, "while it is on its way").await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    on_its_way.await.unwrap().unwrap();
    assert_eq!(checkpoints::part(&kept.store, job.id, run.attempt, 1).await.unwrap(), "part");
    // The attempt ends meanwhile.
    client.batch_execute(held).await.unwrap();
    let late = part(2);
    waiting().await;
    jobs::finish(&kept.store, job.id, run.attempt, Ending::Requeued).await.unwrap();
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(late.await.unwrap(), Err(StoreError::Fenced));
    assert_eq!(checkpoints::part(&kept.store, job.id, run.attempt, 2).await, Err(StoreError::NotFound));
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_on_one_process_stops_the_run_on_another_within_a_second_or_two() {
    let url = Postgres::shared().database().await;
    let (client, _task) = connect(&url).await;
    // The lease is long: that the job is to stop is not learned by renewing it.
    let long = Limits { lease: Duration::from_secs(600), ..Limits::default() };
    let a = TestJobs::with(TestStore::at(&url, quick).await, long).await;
    let b = TestStore::at(&url, quick).await;
    let (left, right) = files(300);
    let job = queued(&a.kept, &left, &right).await;
    let held = Held::source_of(&url, &job).await;
    a.jobs.nudge();
    owned_by(&client, &job, a.kept.store.process()).await;
    let began = Instant::now();
    jobs::request_cancel(&b.store, job.id).await.unwrap();
    let stopped = eventually(LONG, "the job to be cancelled", || async {
        let state = jobs::get(&b.store, job.id).await.map_err(|error| error.to_string())?.state;
        if state == JobState::Cancelled { Ok(began.elapsed()) } else { Err(state.to_string()) }
    });
    let took = stopped.await;
    // It does not even wait for the row that its batch waits for (5 s).
    assert!(took < Duration::from_secs(2), "cancelling took {took:?}");
    held.release().await;
    b.store.stop().await;
    a.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_lease_leaves_running_jobs_where_they_are() {
    let server = Postgres::start();
    let url = server.database().await;
    let (client, _task) = connect(&url).await;
    let (to_a, to_b) = (Proxy::start(server.port), Proxy::start(server.port));
    let a = TestJobs::with(TestStore::at(&through(&url, &server, &to_a), quick).await, limits()).await;
    let (left, right) = files(300);
    let job = queued(&a.kept, &left, &right).await;
    let held = Held::source_of(&url, &job).await;
    a.jobs.nudge();
    let until = owned_by(&client, &job, a.kept.store.process()).await;
    let kept = TestStore::at(&through(&url, &server, &to_b), quick).await;
    let b = TestJobs::with(kept, limits()).await;
    // Until the second one would take over what has lapsed.
    renewed(&client, &job, until, 3 * LEASE).await;
    for proxy in [&to_a, &to_b] {
        proxy.set(Mode::Refuse).await;
    }
    eventually(LONG, "the lease to have lapsed for a second", || async {
        let (_, until, now) = lease(&client, &job).await;
        if now > until + 1_000_000 { Ok(()) } else { Err(format!("until {until}, now {now}")) }
    })
    .await;
    // The one that could take it over comes back first.
    to_b.set(Mode::Pass).await;
    wait_status(&b.kept.store, "ready", Status::is_ready).await;
    to_a.set(Mode::Pass).await;
    wait_status(&a.kept.store, "ready", Status::is_ready).await;
    let (_, until, _) = lease(&client, &job).await;
    renewed(&client, &job, until, 3 * LEASE).await;
    held.release().await;
    let done = a.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!(done.attempt, 1, "nobody had died");
    b.stop().await.store.stop().await;
    a.stop().await.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_cannot_be_taken_back_keeps_no_other_from_it() {
    let url = Postgres::shared().database().await;
    let (client, _task) = connect(&url).await;
    let kept = TestStore::at(&url, quick).await;
    let (stuck, free) = (kept.queued_job().await, kept.queued_job().await);
    for _ in 0..2 {
        jobs::claim_next(&kept.store, "dead", Duration::ZERO).await.unwrap().unwrap();
    }
    let lock = format!("BEGIN; SELECT 1 FROM projects WHERE id = '{}' FOR UPDATE", stuck.project_id);
    client.batch_execute(&lock).await.unwrap();
    let mut outcomes = Vec::new();
    for dead in jobs::abandoned(&kept.store, "me", Vec::new(), true).await.unwrap() {
        let id = dead.id;
        outcomes.push((id == stuck.id, jobs::take_back(&kept.store, "me", dead).await));
    }
    assert_eq!(outcomes.len(), 2);
    for (is_stuck, outcome) in outcomes {
        match outcome {
            Err(StoreError::Unavailable { .. }) if is_stuck => {}
            Ok(Some(_)) if !is_stuck => {}
            other => panic!("stuck: {is_stuck}, {other:?}"),
        }
    }
    assert_eq!(jobs::get(&kept.store, free.id).await.unwrap().state, JobState::Queued);
    assert_eq!(jobs::get(&kept.store, stuck.id).await.unwrap().state, JobState::Ingesting);
    client.batch_execute("COMMIT").await.unwrap();
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_file_one_process_cannot_open_is_run_by_another() {
    let url = Postgres::shared().database().await;
    let with_files = TestStore::at(&url, quick).await;
    let (left, right) = files(300);
    let job = queued(&with_files, &left, &right).await;
    let without = TestJobs::with(TestStore::at(&url, quick).await, limits()).await;
    let given_back = eventually(LONG, "the one without the file to give the job back", || async {
        let job = jobs::get(&with_files.store, job.id).await.map_err(|error| error.to_string())?;
        if job.attempt == 1 && job.state == JobState::Queued { Ok(job) } else { Err(format!("{job:?}")) }
    });
    given_back.await;
    let up = TestJobs::with(with_files, limits()).await;
    let done = up.wait(job.id, "completed", |job| job.state == JobState::Completed).await;
    assert_eq!((done.error, done.counts.unwrap().left), (None, 299));
    // Where nobody has it, it ends with a text that says what to do.
    let elsewhere = TestStore::at(&url, quick).await;
    let lost = queued(&elsewhere, &left, &right).await;
    let ended = eventually(LONG, "the job to end", || async {
        let job = jobs::get(&up.kept.store, lost.id).await.map_err(|error| error.to_string())?;
        if job.state.is_terminal() { Ok(job) } else { Err(format!("{job:?}")) }
    });
    let ended = ended.await;
    let error = ended.error.unwrap();
    assert!(error.contains("left.csv") && error.contains("must share"), "{error}");
    elsewhere.store.stop().await;
    up.stop().await.store.stop().await;
    without.stop().await.store.stop().await;
}
