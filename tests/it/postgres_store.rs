//! The store on a PostgreSQL that is away, dies, hangs, is full or misused: it says why, hangs nobody, and comes back.
//! Leaves what it stores to the store's tests, which run on both engines. Easy to get wrong: every call here has a limit of
//! time, for the failure to look for is the one that waits for ever.
use crate::store_support::wait_status;
use crate::support::postgres::{Postgres, connect};
use crate::support::{LONG, eventually};
use futures_util::future::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tieout::db::postgres::wakeups;
use tieout::db::postgres::wakeups::{Heard, Wakeups};
use tieout::db::{Migrations, Options, Status, Store, StoreError, events, projects};

/// No call may take longer, whatever happens to the server: two probes that time out, and what comes before the first.
const LONGEST: Duration = Duration::from_secs(7);
/// How soon after its server the store is back.
const BACK: Duration = Duration::from_secs(2);

fn options(url: &str) -> Options {
    let mut options = Options::postgres(url.parse().expect("an address"));
    options.probe_interval = Duration::from_millis(200);
    options
}

async fn ready(url: &str) -> Store {
    let store = Store::start(options(url)).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store
}

fn down(status: &Status) -> bool {
    matches!(status, Status::Down { .. })
}

fn unavailable(outcome: Result<impl std::fmt::Debug, StoreError>) -> String {
    match outcome {
        Err(StoreError::Unavailable { reason, .. }) => reason,
        other => panic!("expected unavailable, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_server_away_starting_and_refusing_take_no_time_and_it_is_back_by_itself() {
    let mut server = Postgres::start();
    let url = server.database().await;
    server.kill();
    let began = Instant::now();
    let store = Store::start(options(&url)).unwrap();
    assert!(began.elapsed() < Duration::from_millis(200), "start took {:?}", began.elapsed());
    let status = wait_status(&store, "down", down).await;
    assert!(status.reason().unwrap().contains("refused"), "{status:?}");
    assert!(!status.reason().unwrap().contains("password"), "{status:?}");
    let began = Instant::now();
    for _ in 0..1_000 {
        unavailable(projects::create(&store, "books").await);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "1,000 refusals took {:?}", began.elapsed());
    server.restart(&[]);
    let began = Instant::now();
    wait_status(&store, "ready", Status::is_ready).await;
    assert!(began.elapsed() < BACK, "it was back after {:?}", began.elapsed());
    projects::create(&store, "books").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_under_load_nothing_acknowledged_is_lost_and_nobody_waits_long() {
    let mut server = Postgres::start();
    let store = ready(&server.database().await).await;
    let (stop, all_made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let callers = (0..16).map(|caller| {
        let (store, stop, all_made) = (store.clone(), stop.clone(), all_made.clone());
        tokio::spawn(async move {
            let (mut made, mut refused, mut round) = (Vec::new(), 0, 0);
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                let name = format!("{caller}-{round}");
                let call = tokio::time::timeout(LONGEST, projects::create(&store, &name));
                match call.await.expect("a call hangs") {
                    Ok(project) => {
                        made.push(project.value.id);
                        all_made.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(StoreError::Unavailable { .. }) => {
                        refused += 1;
                        tokio::task::yield_now().await;
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
            (made, refused)
        })
    });
    let callers: Vec<_> = callers.collect();
    let busy = async || {
        let before = all_made.load(Ordering::Relaxed);
        eventually(LONG, "the callers to be at work", || async {
            let made = all_made.load(Ordering::Relaxed) - before;
            if made >= 200 { Ok(()) } else { Err(format!("{made} projects were made")) }
        })
        .await;
    };
    for _ in 0..2 {
        busy().await;
        server.kill();
        wait_status(&store, "down", down).await;
        server.restart(&[]);
        let began = Instant::now();
        wait_status(&store, "ready", Status::is_ready).await;
        assert!(began.elapsed() < BACK, "it was back after {:?}", began.elapsed());
    }
    busy().await;
    stop.store(true, Ordering::Relaxed);
    let mut refused = 0;
    for caller in callers {
        let (made, some) = caller.await.unwrap();
        refused += some;
        assert!(!made.is_empty());
        for id in made {
            let (_, off) = events::head(&store, id).await.expect("an acknowledged project is there");
            assert_eq!(off, 1, "its event is there, once");
        }
    }
    assert!(refused > 0, "the outage was not seen");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_costs_a_call_some_seconds_and_later_ones_nothing() {
    let server = Postgres::start();
    let store = ready(&server.database().await).await;
    server.freeze();
    let began = Instant::now();
    let hanging = (0..30).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { projects::create(&store, "books").await })
    });
    for call in hanging.collect::<Vec<_>>() {
        unavailable(tokio::time::timeout(LONGEST, call).await.expect("a call hangs").unwrap());
    }
    println!("frozen: the last of 30 calls was refused after {:?}", began.elapsed());
    wait_status(&store, "down", down).await;
    let began = Instant::now();
    unavailable(projects::create(&store, "books").await);
    assert!(began.elapsed() < Duration::from_millis(100), "refusing took {:?}", began.elapsed());
    server.thaw();
    let began = Instant::now();
    wait_status(&store, "ready", Status::is_ready).await;
    assert!(began.elapsed() < BACK, "it was back after {:?}", began.elapsed());
    projects::create(&store, "books").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_an_administrator_ends_are_replaced_without_an_outage() {
    let url = Postgres::shared().database().await;
    let store = ready(&url).await;
    let (admin, _task) = connect(&url).await;
    let mut status = store.status();
    status.mark_unchanged();
    for _ in 0..5 {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tieout %' \
                   AND datname = current_database()";
        admin.execute(end, &[]).await.unwrap();
        // At most the calls that met the ended connections fail, and none as a defect.
        eventually(LONG, "calls to be served again", || async {
            match projects::create(&store, "books").await {
                Ok(_) => Ok(()),
                Err(StoreError::Unavailable { reason, .. }) => Err(reason),
                Err(other) => panic!("{other:?}"),
            }
        })
        .await;
    }
    assert!(!status.has_changed().unwrap(), "{:?}", *status.borrow());
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_locks_and_a_disk_that_is_read_only_are_outages_and_not_defects() {
    let url = Postgres::shared().database().await;
    let store = ready(&url).await;
    let project = projects::create(&store, "books").await.unwrap().value.id;
    let (mut other, _task) = connect(&url).await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("SELECT 1 FROM projects FOR UPDATE").await.unwrap();
    let reason = unavailable(projects::delete(&store, project).await);
    assert!(reason.contains("55P03"), "{reason}");
    // Reading waits for no writer.
    projects::get(&store, project).await.unwrap();
    lock.rollback().await.unwrap();
    other.batch_execute("ALTER ROLE tieout SET default_transaction_read_only = on").await.unwrap();
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tieout %' \
               AND datname = current_database()";
    other.execute(end, &[]).await.unwrap();
    let status = wait_status(&store, "down", down).await;
    assert!(status.reason().unwrap().contains("takes no writes"), "{status:?}");
    other.batch_execute("ALTER ROLE tieout RESET default_transaction_read_only").await.unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_takes_too_long_is_rolled_back_and_its_caller_told_why() {
    let url = Postgres::shared().database().await;
    let mut options = options(&url);
    options.statement_timeout = Duration::from_millis(300);
    let store = Store::start(options).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    let project = projects::create(&store, "books").await.unwrap().value;
    let (other, _task) = connect(&url).await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'; \
                CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION slow()";
    other.batch_execute(slow).await.unwrap();
    let began = Instant::now();
    let reason = unavailable(projects::rename(&store, project.id, "late").await);
    assert!(reason.contains("statement timeout"), "{reason}");
    assert!(began.elapsed() < LONGEST, "it was told after {:?}", began.elapsed());
    // The first statement of the change had been carried out.
    assert_eq!(projects::get(&store, project.id).await.unwrap(), project);
    assert!(store.status().borrow().is_ready(), "a slow statement is no outage");
    other.batch_execute("DROP TRIGGER slow ON events").await.unwrap();
    assert_eq!(projects::rename(&store, project.id, "in time").await.unwrap().value.off, 2);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_free_connection_says_so_in_the_refusal() {
    let mut server = Postgres::start();
    let url = server.database().await;
    server.kill();
    server.restart(&["max_connections=8", "superuser_reserved_connections=0"]);
    let store = ready(&url).await;
    let mut taken = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        taken.push(client);
    }
    // Whoever has the store's one connection waits, so the others need more of them.
    taken[0].batch_execute("BEGIN; LOCK TABLE projects IN EXCLUSIVE MODE").await.unwrap();
    let calls = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { projects::create(&store, "books").await })
    });
    let mut said = 0;
    for call in calls.collect::<Vec<_>>() {
        let reason = unavailable(tokio::time::timeout(LONGEST, call).await.expect("a call hangs").unwrap());
        said += usize::from(reason.contains("too many clients already"));
    }
    assert!(said > 0, "no refusal named the cause");
    drop(taken);
    projects::create(&store, "books").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_replicas_that_start_at_once_migrate_once() {
    let url = Postgres::shared().database().await;
    let stores: Vec<Store> = (0..8).map(|_| Store::start(options(&url)).unwrap()).collect();
    let settled = |status: &Status| matches!(status, Status::Ready | Status::Mismatched { .. });
    // All are watched from the start: without the lock, those that come second fail once and succeed the next time.
    let first = stores.iter().map(|store| wait_status(store, "ready at the first try", settled));
    for status in join_all(first).await {
        assert!(status.is_ready(), "{status:?}");
    }
    let steps = Migrations::of(options(&url)).status().await.unwrap();
    assert!(steps.iter().all(|step| step.applied && step.known), "{steps:?}");
    let project = projects::create(&stores[0], "books").await.unwrap().value.id;
    for store in &stores {
        assert_eq!(projects::get(store, project).await.unwrap().name, "books");
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_one_project_on_several_replicas_leave_no_hole_and_no_double_in_its_events() {
    let url = Postgres::shared().database().await;
    let stores = [ready(&url).await, ready(&url).await, ready(&url).await];
    let project = projects::create(&stores[0], "books").await.unwrap().value.id;
    let writers = stores.iter().cycle().take(12).cloned().enumerate().map(|(writer, store)| {
        tokio::spawn(async move {
            for round in 0..20 {
                projects::rename(&store, project, &format!("{writer}-{round}")).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (ep, head) = events::head(&stores[1], project).await.unwrap();
    assert_eq!(head, 1 + 12 * 20);
    let events::Recovery::Recovered { events, .. } = events::since(&stores[2], project, &ep, 0, 1_000).await.unwrap()
    else {
        panic!("the whole history is stored")
    };
    assert!(events.iter().map(|event| event.off).eq(1..=head), "offsets are gapless and in order");
    for store in stores {
        store.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_wake_each_other_and_learn_when_they_may_have_missed_something() {
    let mut server = Postgres::start();
    let url = server.database().await;
    let (one, two) = (ready(&url).await, ready(&url).await);
    let Wakeups { waker, heard: mut own } = wakeups::start(&one, "one").expect("a server can wake");
    let Wakeups { waker: _other, mut heard } = wakeups::start(&two, "two").expect("a server can wake");
    let next = async |heard: &mut tokio::sync::mpsc::Receiver<Heard>| {
        tokio::time::timeout(LONGEST, heard.recv()).await.expect("something is heard").expect("the store is open")
    };
    assert_eq!((next(&mut own).await, next(&mut heard).await), (Heard::Missed, Heard::Missed));
    let project = projects::create(&one, "books").await.unwrap().value.id;
    let began = Instant::now();
    waker.wake(project);
    assert_eq!(next(&mut heard).await, Heard::Project(project));
    println!("a wake-up took {:?}", began.elapsed());
    server.kill();
    server.restart(&[]);
    assert_eq!((next(&mut own).await, next(&mut heard).await), (Heard::Missed, Heard::Missed), "and not its own word");
    waker.wake(project);
    assert_eq!(next(&mut heard).await, Heard::Project(project));
    one.stop().await;
    two.stop().await;
    assert_eq!(tokio::time::timeout(LONGEST, heard.recv()).await.expect("it ends with the store"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_schema_is_named_when_it_may_not_be_changed_and_a_newer_one_always() {
    let url = Postgres::shared().database().await;
    let mut untouched = options(&url);
    untouched.migrate = false;
    let store = Store::start(untouched).unwrap();
    let status = wait_status(&store, "failed", |status| matches!(status, Status::Mismatched { .. })).await;
    assert!(status.reason().unwrap().contains("older than this binary"), "{status:?}");
    Migrations::of(options(&url)).up().await.unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
    let later = options(&url).with_extra_migration("2999-01-01-000001_later", "SELECT 1;");
    Migrations::of(later.clone()).up().await.unwrap();
    let store = Store::start(options(&url)).unwrap();
    let status = wait_status(&store, "failed", |status| matches!(status, Status::Mismatched { .. })).await;
    assert!(status.reason().unwrap().contains("newer than this binary"), "{status:?}");
    store.stop().await;
}
