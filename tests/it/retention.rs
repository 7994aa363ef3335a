//! What the janitor keeps of events and idempotency keys, and what a client is told who asks for what is gone.
//! Leaves rows of deleted things to the jobs' and the store's tests. Easy to get wrong: a history that lost its beginning
//! must be refused whole, not told with a hole.
use crate::http_support::TestApp;
use crate::store_support::TestStore;
use crate::support::{LONG, Socket, eventually};
use std::time::Duration;
use tieout::db::events::{self, Recovery};
use tieout::db::projects::{self, Project};
use tieout::db::publications::{self, Once, Published};

/// A project with twenty-one events, which no room has seen.
async fn project(app: &TestApp) -> Project {
    let made = projects::create(app.store(), "books").await.unwrap().value;
    for round in 0..20 {
        projects::rename(app.store(), made.id, &format!("books {round}")).await.unwrap();
    }
    made
}

/// Whether a client that has seen the event at `off` is given the rest.
async fn recovers(app: &TestApp, project: &Project, off: u64) -> bool {
    let mut socket = Socket::open(app.address()).await;
    let joined = socket.join(&project.id.to_string(), Some((&project.ep, off))).await;
    assert_eq!(joined["off"], 21, "{joined}");
    joined["recovered"].as_bool().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_number_of_events_kept_a_client_starts_from_a_snapshot() {
    let app = TestApp::start(&[("events_per_project", "5"), ("ring_frames", "0")]).await;
    let (long, other) = (project(&app).await, project(&app).await);
    assert!(recovers(&app, &long, 1).await);
    assert_eq!(app.janitor().sweep().await.unwrap().events, 2 * 16);
    for project in [&long, &other] {
        assert!(!recovers(&app, project, 15).await, "the sixteenth event is gone");
        assert!(recovers(&app, project, 16).await, "the newest five are kept");
    }
    assert_eq!(app.janitor().sweep().await.unwrap().events, 0);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn past_the_age_of_events_a_client_starts_from_a_snapshot() {
    let app = TestApp::start(&[("event_age", "1s"), ("ring_frames", "0")]).await;
    let project = project(&app).await;
    assert!(recovers(&app, &project, 1).await);
    eventually(LONG, "all events to be too old", || async {
        app.janitor().sweep().await.unwrap();
        match events::since(app.store(), project.id, &project.ep, 20, 1).await.unwrap() {
            Recovery::Unrecoverable { .. } => Ok(()),
            Recovery::Recovered { .. } => Err("the newest is still there".into()),
        }
    })
    .await;
    assert!(!recovers(&app, &project, 20).await, "nothing that anybody missed is left");
    assert!(recovers(&app, &project, 21).await, "who missed nothing goes on");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_idempotency_keys_are_forgotten_in_batches_and_young_ones_kept() {
    let kept = TestStore::new().await;
    let project = projects::create(&kept.store, "books").await.unwrap().value.id;
    let publish = async |key: u32| {
        let once = Once { user_id: "ana".into(), key: key.to_string(), request_hash: "same".into() };
        publications::publish(&kept.store, project, None, Some(once)).await.unwrap()
    };
    for key in 0..5 {
        assert!(matches!(publish(key).await, Published::Now(..)));
    }
    assert_eq!(publications::trim(&kept.store, Duration::from_secs(3600), 2).await.unwrap(), 0);
    assert!(matches!(publish(0).await, Published::Before(_)));
    let mut forgotten = Vec::new();
    while let went @ 1.. = publications::trim(&kept.store, Duration::ZERO, 2).await.unwrap() {
        forgotten.push(went);
    }
    assert_eq!(forgotten, [2, 2, 1]);
    assert!(matches!(publish(0).await, Published::Now(..)), "the key means a new request");
    kept.store.stop().await;
}
