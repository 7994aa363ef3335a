//! The store comes up, stays up and says why not, whatever the file system does to it.
use crate::store_support::{DEADLINE, TestStore, database, wait_status};
use std::time::{Duration, Instant};
use tieout::db::{Options, Status, Store, StoreError, projects};

fn reason(status: &Status) -> String {
    status.reason().expect("a status that is not ready has a reason")
}

#[tokio::test(flavor = "multi_thread")]
async fn starting_returns_at_once_and_calls_fail_at_once_with_the_reason_until_the_directory_can_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let blocker = dir.path().join("data");
    std::fs::write(&blocker, "a file where the directory should be").unwrap();
    let began = Instant::now();
    let store = Store::start(Options::sqlite(blocker.join("tieout.sqlite"))).unwrap();
    assert!(began.elapsed() < Duration::from_millis(100), "start took {:?}", began.elapsed());
    let down = wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
    assert!(reason(&down).contains("directory cannot be made"), "{down:?}");
    let began = Instant::now();
    let refused = projects::create(&store, "books").await.unwrap_err();
    assert!(matches!(&refused, StoreError::Unavailable { reason, .. } if reason.contains("directory")), "{refused}");
    assert!(began.elapsed() < Duration::from_millis(100), "refusing took {:?}", began.elapsed());
    std::fs::remove_file(&blocker).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    projects::create(&store, "books").await.unwrap();
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_named_and_a_good_one_in_its_place_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let path = database(&dir);
    std::fs::write(&path, vec![b'x'; 8192]).unwrap();
    let store = Store::start(Options::sqlite(&path)).unwrap();
    let down = wait_status(&store, "down", |status| matches!(status, Status::Down { .. })).await;
    assert!(reason(&down).contains("tieout.sqlite") && reason(&down).contains("not a database"), "{down:?}");
    std::fs::remove_file(&path).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_migration_is_named_rolled_back_and_retried_and_earlier_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let bad = "CREATE TABLE half (id BIGINT); INSERT INTO missing_relation VALUES (1);";
    let options = Options::sqlite(database(&dir)).with_extra_migration("2999-01-01-000001_broken", bad);
    let store = Store::start(options).unwrap();
    let failed = wait_status(&store, "failed", |status| matches!(status, Status::MigrationFailed { .. })).await;
    let Status::MigrationFailed { migration, reason } = failed else { unreachable!() };
    assert_eq!(migration, "2999-01-01-000001_broken");
    assert!(reason.contains("missing_relation"), "{reason}");
    assert!(matches!(projects::create(&store, "books").await, Err(StoreError::Unavailable { .. })));
    store.stop().await;
    // Its first statement is gone with it: the repaired migration makes the same table again.
    let good = "CREATE TABLE half (id BIGINT);";
    let options = Options::sqlite(database(&dir)).with_extra_migration("2999-01-01-000001_broken", good);
    let store = Store::start(options).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_newer_than_the_binary_is_refused_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options::sqlite(database(&dir)).with_extra_migration("2999-01-01-000001_later", "SELECT 1;");
    let store = Store::start(options).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    store.stop().await;
    let store = Store::start(Options::sqlite(database(&dir))).unwrap();
    let refused = wait_status(&store, "refused", |status| matches!(status, Status::Mismatched { .. })).await;
    assert!(reason(&refused).contains("newer than this binary"), "{refused:?}");
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_one_data_directory_says_who_has_it_and_takes_over_when_it_is_free() {
    let first = TestStore::sqlite(|options| options).await;
    let second = Store::start(Options::sqlite(database(&first.dir))).unwrap();
    let refused = wait_status(&second, "refused", |status| matches!(status, Status::Down { .. })).await;
    assert!(reason(&refused).contains("another tieout process"), "{refused:?}");
    assert!(reason(&refused).contains(&std::process::id().to_string()), "{refused:?}");
    first.store.stop().await;
    wait_status(&second, "ready", Status::is_ready).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_vanishes_is_not_replaced_by_an_empty_one_and_is_served_again_when_it_is_back() {
    let kept = TestStore::sqlite(|mut options| {
        options.probe_interval = Duration::from_millis(50);
        options
    })
    .await;
    let id = projects::create(&kept.store, "books").await.unwrap().value.id;
    let (path, away) = (database(&kept.dir), kept.dir.path().join("away"));
    std::fs::create_dir(&away).unwrap();
    let parts = ["", "-wal", "-shm"].map(|end| format!("tieout.sqlite{end}"));
    for part in &parts {
        std::fs::rename(kept.dir.path().join(part), away.join(part)).unwrap();
    }
    let down = wait_status(&kept.store, "down", |status| matches!(status, Status::Down { .. })).await;
    assert!(reason(&down).contains("gone"), "{down:?}");
    assert!(!path.exists(), "an empty database was made in its place");
    for part in parts.iter().filter(|part| away.join(part).exists()) {
        std::fs::rename(away.join(part), kept.dir.path().join(part)).unwrap();
    }
    wait_status(&kept.store, "ready", Status::is_ready).await;
    assert_eq!(projects::get(&kept.store, id).await.unwrap().name, "books");
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_no_transaction_behind() {
    let kept = TestStore::new().await;
    for round in 0..200 {
        let store = kept.store.clone();
        let name = format!("books {round}");
        let call = tokio::spawn(async move { projects::create(&store, &name).await });
        tokio::task::yield_now().await;
        call.abort();
        // Aborted or done in time: both are answers.
        drop(call.await);
    }
    tokio::time::timeout(DEADLINE, projects::create(&kept.store, "last")).await.expect("no lane is stuck").unwrap();
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_callers_on_one_writer_all_get_their_turn() {
    let kept = TestStore::new().await;
    let calls = (0..64).map(|caller| {
        let store = kept.store.clone();
        tokio::spawn(async move {
            for round in 0..5 {
                projects::create(&store, &format!("{caller}-{round}")).await.unwrap();
            }
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
    let page = projects::list(&kept.store, None, 1_000).await.unwrap();
    assert_eq!(page.items.len(), 320);
    kept.store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_too_much_to_do_refuses_some_callers_and_is_not_taken_for_one_that_is_away() {
    let kept = TestStore::sqlite(|mut options| {
        options.connections = 1;
        options.probe_interval = Duration::from_millis(50);
        options
    })
    .await;
    for round in 0..200 {
        projects::create(&kept.store, &format!("books {round}")).await.unwrap();
    }
    let mut status = kept.store.status();
    status.mark_unchanged();
    // More wait at once than any machine serves in the 2 s that a caller, or a probe, waits.
    let callers = (0..20_000).map(|_| {
        let store = kept.store.clone();
        tokio::spawn(async move {
            match projects::list(&store, None, 1_000).await {
                Ok(_) => 0,
                Err(StoreError::Unavailable { reason, .. }) => {
                    assert!(reason.contains("no connection became free"), "{reason}");
                    1
                }
                Err(other) => panic!("{other:?}"),
            }
        })
    });
    let mut refused = 0;
    for caller in callers.collect::<Vec<_>>() {
        refused += caller.await.unwrap();
    }
    assert!(refused > 0, "it was not too much");
    assert!(!status.has_changed().unwrap(), "{:?}", *status.borrow());
    kept.store.stop().await;
}
