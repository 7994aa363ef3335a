//! How long a committed event takes to a client of another replica: two whole servers in this process over a PostgreSQL and a
//! Redis that run already.
//!
//!     cargo run --release --example replicas -- postgres://user@host/db redis://host:6379 [EVENTS_A_SECOND] [SECONDS] [ROOMS]
//!
//! Events are committed through one replica at an even pace, in turn to each of the rooms (1,000 a second for 10 s, 20 rooms,
//! unless said otherwise), and a WebSocket on the other replica is in every room. What is measured begins when the commit was
//! acknowledged and ends when the client has the frame. Easy to get wrong: servers, database, Redis and client share the
//! machine, so say how many processors it has.
use anyhow::{Context, ensure};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tieout::app::App;
use tieout::config::{Config, Overrides};
use tieout::db::projects;
use tieout::db::publications::{self, Published};
use tieout::protocol::ids::ProjectId;
use tokio_tungstenite::{connect_async, tungstenite::Message, tungstenite::client::IntoClientRequest};

/// When an event's commit was acknowledged, by room and offset.
type Commits = Arc<Mutex<HashMap<(String, u64), Instant>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let database = arguments.next().context("the address of a PostgreSQL is missing")?;
    let redis = arguments.next().context("the address of a Redis is missing")?;
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (rate, seconds, rooms) = (number(1_000)?, number(10)?, number(20)?);
    let data = std::env::temp_dir().join(format!("tieout-replicas-{}", std::process::id()));
    let (here, there) = (replica(&database, &redis, &data).await?, replica(&database, &redis, &data).await?);
    let mut ids = Vec::new();
    for room in 0..rooms {
        ids.push(projects::create(&here.state().store, &format!("room {room}")).await?.value.id);
    }

    let mut request = format!("ws://{}/ws", there.address()).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", "tieout.v1+json".parse()?);
    let (mut socket, _) = connect_async(request).await?;
    for id in &ids {
        socket.send(Message::text(json!({"id": 1, "JoinProject": {"project_id": id}}).to_string())).await?;
    }
    let mut joined = 0;
    while joined < ids.len() {
        let frame: Value = serde_json::from_str(socket.next().await.context("the socket ended")??.to_text()?)?;
        joined += usize::from(frame.get("ProjectJoined").is_some());
    }
    // A room is followed at the other replica's own pace; the first events would measure that.
    tokio::time::sleep(Duration::from_millis(500)).await;

    let commits = Commits::default();
    let many = rate * seconds;
    let publisher = tokio::spawn(publish(here, ids, commits.clone(), rate, many));
    let mut took = Vec::new();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    while (took.len() as u64) < many {
        let frame = tokio::time::timeout(Duration::from_secs(10), socket.next()).await.context("events are missing")?;
        let received = Instant::now();
        let frame: Value = serde_json::from_str(frame.context("the socket ended")??.to_text()?)?;
        let Some(off) = frame["off"].as_u64() else { continue };
        let Some(room) = frame["Notification"]["project_id"].as_str() else { continue };
        let before = last.insert(room.to_owned(), off);
        ensure!(before.is_none_or(|before| before + 1 == off), "{room}: {off} came after {before:?}");
        let commit = commits.lock().unwrap_or_else(PoisonError::into_inner).remove(&(room.to_owned(), off));
        // None when it came before its own commit was acknowledged: with a later event, whose hole was read from the store.
        took.push(commit.map_or(Duration::ZERO, |commit| received.duration_since(commit)));
    }
    let (here, spent) = publisher.await??;
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "events {many} in {:.1} s, rooms {rooms}, processors {}",
        spent.as_secs_f64(),
        std::thread::available_parallelism()?
    );
    println!(
        "commit -> client of the other replica: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    drop(socket);
    here.stop().await;
    there.stop().await;
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    Ok(())
}

async fn replica(database: &str, redis: &str, data: &std::path::Path) -> anyhow::Result<App> {
    let values = BTreeMap::from([
        ("listen", "127.0.0.1:0".to_owned()),
        ("data_dir", data.display().to_string()),
        ("database_url", database.to_owned()),
        ("redis_url", redis.to_owned()),
        ("relay_prefix", format!("replicas-{}", std::process::id())),
    ]);
    let app = App::start(Config::load_from(&Overrides { config: None, values }, &|_| None)?).await?;
    ensure!(app.state().store.ready_within(Duration::from_secs(10)).await, "the store did not come up");
    Ok(app)
}

/// Commits events at an even pace and hands them to the replica's rooms, as `POST /api/realtime/publish` does.
async fn publish(
    app: App,
    rooms: Vec<ProjectId>,
    commits: Commits,
    rate: u64,
    many: u64,
) -> anyhow::Result<(App, Duration)> {
    let began = Instant::now();
    let mut tick = tokio::time::interval(Duration::from_millis(1));
    let mut running = tokio::task::JoinSet::new();
    let mut sent = 0;
    while sent < many {
        tick.tick().await;
        while sent < many && Duration::from_secs_f64(sent as f64 / rate as f64) <= began.elapsed() {
            let room = rooms[(sent % rooms.len() as u64) as usize];
            let (state, commits) = (app.state().clone(), commits.clone());
            running.spawn(async move {
                let body = json!({"project_id": room, "level": "info", "message": format!("event {sent}")});
                let durable = Some(format!("\"Notification\":{body}"));
                let published = publications::publish(&state.store, room, durable, None).await?;
                let Published::Now(_, Some(event)) = published else { anyhow::bail!("no event") };
                commits
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert((room.to_string(), event.off), Instant::now());
                state.realtime.publish(event);
                Ok(())
            });
            sent += 1;
        }
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok((app, began.elapsed()))
}
