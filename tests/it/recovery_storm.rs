//! After a restart everybody comes back at once, each from another offset, to rooms whose rings are empty: all get what they
//! missed, and the store is asked a handful of times.
//! Leaves what a single client gets to the delivery tests. Easy to get wrong: clients that come one after another would find
//! the ring filled by the first of them; and what the server asks by the clock, which is more the slower the machine is.
use crate::http_support::TestApp;
use crate::support::socket::durable;
use crate::support::{LONG, Socket, eventually};
use futures_util::{StreamExt, stream};
use serde_json::json;
use std::time::{Duration, Instant};

/// Calls of the store so far, in this process.
fn calls() -> u64 {
    let text = tieout::telemetry::render_metrics();
    let line = text.lines().find(|line| line.starts_with("tieout_store_calls_total ")).expect("the store counts calls");
    line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The mean time between two calls that the server makes by the clock, for jobs and for what is old.
async fn idle_pace() -> Duration {
    const CALLS: u64 = 4;
    let (before, began) = (calls(), Instant::now());
    let made = eventually(LONG, "the server to look for jobs", || async {
        let made = calls() - before;
        if made >= CALLS { Ok(made) } else { Err(format!("{made} calls")) }
    })
    .await;
    began.elapsed() / made as u32
}

/// Lets this process have so many descriptors: a client of this test takes two.
fn allow_descriptors(wanted: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct they are given.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0, "the limit can be read");
        limit.rlim_cur = limit.rlim_cur.max(wanted.min(limit.rlim_max));
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0, "the soft limit can be raised to the hard one");
    }
    let allowed = limit.rlim_cur;
    assert!(allowed >= wanted, "this test takes {wanted} descriptors and may have {allowed}: raise `ulimit -Hn`");
}

/// So many clients come back at once to a project of so many events, having missed as many as `missed` says of each; what that
/// cost the store.
async fn storm(clients: usize, events: u64, missed: impl Fn(u64) -> u64) -> u64 {
    let app = TestApp::start(&[("max_sockets", "20000"), ("ring_frames", "10")]).await;
    let project = app.project().await;
    for n in 1..events {
        let rename = json!({ "name": format!("books {n}") });
        let answer = app.send(app.client.patch(app.url(&format!("/api/v1/projects/{project}"))).json(&rename)).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let id = project.parse().expect("an id");
    let (ep, head) = tieout::db::events::head(app.store(), id).await.unwrap();
    assert_eq!(head, events);
    // Nobody has been in the room, so its ring is as empty as after a restart. All are connected before the first one joins.
    let address = app.address();
    let sockets = stream::iter(0..clients).map(|_| Socket::open(address)).buffer_unordered(64);
    let sockets: Vec<Socket> = sockets.collect().await;
    let idle = idle_pace().await;
    let (before, began) = (calls(), Instant::now());
    let mut asked = Vec::with_capacity(clients);
    for (client, mut socket) in sockets.into_iter().enumerate() {
        let since = head - missed(client as u64);
        let join = json!({"project_id": project, "since": {"ep": ep, "off": since}});
        socket.send_text(json!({"id": 1, "JoinProject": join}).to_string()).await;
        asked.push((since, socket));
    }
    stream::iter(asked)
        .for_each_concurrent(64, |(since, mut socket)| async move {
            let reply = socket.wait(LONG, "the reply to JoinProject", |message| message["re"] == 1).await;
            assert_eq!(reply["ProjectJoined"]["recovered"], true, "from {since}: {reply}");
            if since < head {
                socket
                    .wait(LONG, "the newest event", |message| message["off"] == head && message["re"].is_null())
                    .await;
            }
            let offsets: Vec<u64> = durable(&socket.seen).into_iter().map(|(_, off, _)| off).collect();
            assert!(offsets.iter().copied().eq(since + 1..=head), "from {since}: {offsets:?}");
        })
        .await;
    let (all, took) = (calls() - before, began.elapsed());
    let by_the_clock = (took.as_secs_f64() / idle.as_secs_f64()) as u64;
    let cost = all.saturating_sub(by_the_clock);
    println!("{clients} clients cost the store {cost} calls, and {by_the_clock} came by the clock in {took:?}");
    app.stop().await;
    cost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_clients_that_come_back_at_once_ask_the_store_a_handful_of_times() {
    allow_descriptors(11_000);
    let cost = storm(5_000, 60, |client| client % 50).await;
    // One read serves all who wait for it, so the number of reads is how often a wave of clients met an idle store: 30 to 73
    // on a slow machine, whose clients come in over 2.5 s.
    assert!(cost <= 100, "5,000 clients cost the store {cost} calls");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_missed_more_than_one_read_holds_for_others_gets_all_of_it() {
    let cost = storm(40, 1_100, |client| client * 1_000 / 39).await;
    assert!(cost <= 20, "40 clients cost the store {cost} calls");
}
