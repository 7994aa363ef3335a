//! How long a message takes from one replica to another over a Redis that runs already.
//!
//!     cargo run --release --example relay_latency -- redis://127.0.0.1:6379 [MESSAGES_A_SECOND] [SECONDS] [BYTES]
//!
//! Two relays in this process, one that publishes at an even pace (1,000 a second for 10 s, 512 bytes, unless said
//! otherwise) and one that receives; then as fast as the receiver can take it. Easy to get wrong: the sender and Redis share
//! the machine's processors with whatever else runs on it, so say what did.
use anyhow::{Context, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use std::time::{Duration, Instant};
use tieout::cluster::{Channel, Link, Options, Relay, ReplicaId};
use tieout::protocol::ids::ProjectId;
use tokio::time::{interval, sleep, timeout};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().context("the address of a Redis is missing")?;
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (rate, seconds, bytes) = (number(1_000)?, number(10)?, number(512)?);

    let start = |name| {
        let mut options = Options::new(ReplicaId::new(name));
        options.urls = url.split(',').map(str::to_owned).collect();
        options.prefix = format!("latency-{}", std::process::id());
        Relay::start(&options)
    };
    let (from, to) = (start("from")?, start("to")?);
    let mut incoming = to.incoming().context("taken once")?;
    let room = Channel::Room(ProjectId::generate());
    to.follow(room);
    for relay in [&from, &to] {
        timeout(Duration::from_secs(5), relay.link().wait_for(Link::is_up)).await.context("Redis is away")??;
    }
    // A follow takes a moment; until the first message is heard none counts.
    while timeout(Duration::from_millis(20), incoming.recv()).await.is_err() {
        from.publish(room, Bytes::new());
    }
    sleep(Duration::from_millis(100)).await;
    while incoming.try_recv().is_ok() {}

    let epoch = Instant::now();
    let message = move |due: Duration| {
        let mut payload = BytesMut::zeroed(0);
        payload.put_u64(due.as_nanos() as u64);
        payload.resize((bytes as usize).max(8), b'x');
        payload.freeze()
    };
    let many = rate * seconds;
    let sender = from.clone();
    tokio::spawn(async move {
        let mut tick = interval(Duration::from_millis(1));
        let mut sent = 0;
        while sent < many {
            tick.tick().await;
            while sent < many && Duration::from_secs_f64(sent as f64 / rate as f64) <= epoch.elapsed() {
                sender.publish(room, message(epoch.elapsed()));
                sent += 1;
            }
        }
    });
    let mut took = Vec::with_capacity(many as usize);
    while took.len() < many as usize {
        let next = timeout(Duration::from_secs(5), incoming.recv()).await;
        let Ok(Some(next)) = next else { break };
        let sent = u64::from_be_bytes(next.payload[..8].try_into()?);
        took.push(epoch.elapsed().saturating_sub(Duration::from_nanos(sent)));
    }
    ensure!(!took.is_empty(), "nothing arrived");
    took.sort();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("{} of {many} messages of {bytes} bytes at {rate}/s arrived", took.len());
    println!("p50 {:?}  p99 {:?}  max {:?}", at(0.5), at(0.99), at(1.0));

    // Flat out: windows that no queue overflows.
    let (window, windows) = (2_000, 50);
    let began = Instant::now();
    for _ in 0..windows {
        (0..window).for_each(|_| from.publish(room, message(Duration::ZERO)));
        for _ in 0..window {
            timeout(Duration::from_secs(5), incoming.recv()).await.context("a message was lost")?;
        }
    }
    println!("flat out {:.0} messages/s", f64::from(window * windows) / began.elapsed().as_secs_f64());
    from.stop().await;
    to.stop().await;
    Ok(())
}
