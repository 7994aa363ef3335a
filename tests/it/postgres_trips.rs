//! How many ways to the server a change takes, and what that makes of many publishers in one project.
//! Easy to get wrong: a statement that is not prepared yet takes one way more, once a connection.
use crate::store_support::wait_status;
use crate::support::postgres::Postgres;
use crate::support::proxy::{Mode, Proxy};
use futures_util::future::join_all;
use std::time::{Duration, Instant};
use tieout::db::publications::{Once, Published, publish};
use tieout::db::{Options, Status, Store, projects};
use tieout::protocol::ids::ProjectId;

/// To the server and back.
const TRIP: Duration = Duration::from_millis(200);

async fn far_away() -> (Store, Proxy, ProjectId) {
    let server = Postgres::shared();
    let proxy = Proxy::start(server.port);
    let url = server.database().await.replace(&format!(":{}/", server.port), &format!(":{}/", proxy.port));
    let store = Store::start(Options::postgres(url.parse().unwrap())).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    let project = projects::create(&store, "books").await.unwrap().value.id;
    (store, proxy, project)
}

fn once(key: &str) -> Option<Once> {
    Some(Once { user_id: "ana".into(), key: key.into(), request_hash: format!("hash of {key}") })
}

async fn published(store: &Store, project: ProjectId, key: &str) -> Published {
    publish(store, project, Some("\"Notification\":{}".into()), once(key)).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_takes_at_most_four_ways_to_the_server_and_holds_its_project_for_none() {
    let (store, proxy, project) = far_away().await;
    // Every connection has its statements prepared.
    join_all((0..40).map(|n| {
        let store = &store;
        async move { published(store, project, &format!("warm {n}")).await }
    }))
    .await;
    proxy.set(Mode::Latency(TRIP / 2)).await;
    let began = Instant::now();
    published(&store, project, "one").await;
    let one = began.elapsed();
    assert!(one <= TRIP * 4, "one took {one:?}");
    // Ten at once wait for each other no longer than the server takes.
    let began = Instant::now();
    join_all((0..10).map(|n| {
        let store = &store;
        async move { published(store, project, &format!("many {n}")).await }
    }))
    .await;
    let ten = began.elapsed();
    println!("ways of {TRIP:?}: one publication {one:?}, ten at once in one project {ten:?}");
    assert!(ten <= TRIP * 6, "ten took {ten:?}");
    let began = Instant::now();
    projects::rename(&store, project, "ledgers").await.unwrap();
    let first = began.elapsed();
    let began = Instant::now();
    projects::rename(&store, project, "journals").await.unwrap();
    let second = began.elapsed();
    println!("a change of name {first:?}, with prepared statements {second:?}");
    proxy.set(Mode::Pass).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_at_once_for_two_projects_is_used_once_and_reused_for_the_other() {
    let server = Postgres::shared();
    let store = Store::start(Options::postgres(server.database().await.parse().unwrap())).unwrap();
    wait_status(&store, "ready", Status::is_ready).await;
    let first = projects::create(&store, "books").await.unwrap().value.id;
    let second = projects::create(&store, "ledgers").await.unwrap().value.id;
    for round in 0..30 {
        let ask = |project: ProjectId| {
            let key = Once { user_id: "ana".into(), key: round.to_string(), request_hash: project.to_string() };
            publish(&store, project, Some("\"Notification\":{}".into()), Some(key))
        };
        let told = join_all([ask(first), ask(second), ask(first), ask(second)]).await;
        let told: Vec<_> = told.into_iter().map(Result::unwrap).collect();
        let now = told.iter().filter(|told| matches!(told, Published::Now(..))).count();
        let before = told.iter().filter(|told| matches!(told, Published::Before(_))).count();
        let reused = told.iter().filter(|told| matches!(told, Published::KeyReused)).count();
        assert_eq!((now, before, reused), (1, 1, 2), "{told:?}");
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_publishers_in_one_project_are_not_slowed_by_the_way_to_the_server() {
    const EACH: usize = 60;
    const PUBLISHERS: usize = 16;
    let (store, proxy, project) = far_away().await;
    let publisher = |name: usize| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                published(&store, project, &format!("{name}-{n}")).await;
            }
        })
    };
    published(&store, project, "warm").await;
    proxy.set(Mode::Latency(Duration::from_micros(500))).await;
    let began = Instant::now();
    for done in (0..PUBLISHERS).map(publisher).collect::<Vec<_>>() {
        done.await.unwrap();
    }
    let rate = (EACH * PUBLISHERS) as f64 / began.elapsed().as_secs_f64();
    println!("{rate:.0} events/s in one project, {PUBLISHERS} publishers, 1 ms to PostgreSQL and back");
    // Of an unoptimized build, among other tests.
    assert!(rate >= 150.0, "{rate:.0} events/s");
    proxy.set(Mode::Pass).await;
    store.stop().await;
}
