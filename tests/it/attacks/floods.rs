//! Floods of what asks for nothing: fragments and pongs of WebSockets, frames of HTTP/2, connections past the limit.
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    http2::{Http2, PRIORITY, WINDOW_UPDATE, frame},
    sized,
    victim::Victim,
};
use crate::support::{LONG, Options, SHORT, eventually, within};

/// Longer than it takes to notice a flood, and much less than one would last.
const NOTICED: Duration = Duration::from_secs(10);
/// What noticing one may cost.
const LITTLE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn websockets_that_flood_fragments_or_control_frames_are_closed() {
    const PONG: &[u8] = &[0x8a, 0x80, 0, 0, 0, 0];
    const PING: &[u8] = &[0x89, 0x80, 0, 0, 0, 0];
    const FRAGMENT: &[u8] = &[0x00, 0x80, 0, 0, 0, 0];
    const TEXT: &[u8] = &[0x01, 0x80, 0, 0, 0, 0];
    let victim = Victim::start(Options::default()).await;
    let fragments_and_pongs = [FRAGMENT, PONG].concat();
    let floods = [(TEXT, FRAGMENT), (&[][..], PONG), (&[], PING), (TEXT, &fragments_and_pongs)];
    for (first, flood) in floods {
        let code = websocket_flood(victim.server.addr, first, flood).await;
        assert_eq!(code, 4429, "{flood:?}");
    }
    let (_server, cost) = victim.cost().await;
    cost.at_most(32, LITTLE);
    cost.report(
        "30-websocket",
        "WebSockets that flood empty fragments, pings, pongs",
        "without end",
        "closed with 4429",
    );
}

/// The code with which a connection is closed that sends `flood` for ever.
async fn websocket_flood(addr: SocketAddr, first: &[u8], flood: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(addr).await.expect("the server accepts");
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nhost: localhost:{}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        addr.port()
    );
    stream.write_all(upgrade.as_bytes()).await.expect("the upgrade is sent");
    let (mut reading, mut writing) = stream.into_split();
    let (first, flood) = (first.to_vec(), flood.repeat(4_096));
    let flooding = tokio::spawn(async move {
        writing.write_all(&first).await?;
        loop {
            writing.write_all(&flood).await?;
        }
        #[expect(unreachable_code, reason = "names the type of what a closed connection ends")]
        std::io::Result::Ok(())
    });
    let mut seen = Vec::new();
    // A reset may follow the close at once: what came before it is what counts.
    within(NOTICED, "the flood to be noticed", async {
        while reading.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    flooding.abort();
    let head = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("the upgrade was answered") + 4;
    let mut frames = &seen[head..];
    while let [kind, length, rest @ ..] = frames {
        assert!(*length < 126, "a short frame");
        if *kind == 0x88 {
            return u16::from_be_bytes([rest[0], rest[1]]);
        }
        frames = &rest[usize::from(*length)..];
    }
    panic!("no close frame in {} bytes", seen.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_connections_that_flood_frames_which_ask_for_nothing_are_closed() {
    const UNKNOWN: u8 = 0xbb;
    let victim = Victim::start(Options::default()).await;
    let floods = [
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]),
        frame(UNKNOWN, 0, 0, &[]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
    ];
    for flood in &floods {
        let mut client = Http2::connect(victim.server.addr, 65_535).await;
        client.get(1, "/api/health").await;
        let many = flood.repeat(1_000);
        let flooding = async { while client.writing.write_all(&many).await.is_ok() {} };
        within(NOTICED, "the flood to be noticed", flooding).await;
    }
    let api = victim.server.api();
    let metrics = api.get("/metrics").await.text;
    let counted = metrics.lines().find_map(|line| line.strip_prefix("tieout_http_cut_total{reason=\"flood\"} "));
    assert_eq!(counted, Some("3"), "each is counted");
    let (_server, cost) = victim.cost().await;
    cost.at_most(32, LITTLE);
    cost.report(
        "31-http2",
        "HTTP/2 that floods PRIORITY, WINDOW_UPDATE, frames of unknown kind",
        "without end",
        "closed after some 10,000",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections_that_say_nothing_do_not_hold_up_the_others() {
    let silent = sized(1_100, 4_000);
    let places = 4;
    let options = Options::default().env("TIEOUT_MAX_HTTP_CONNECTIONS", places).env("TIEOUT_HEADER_TIMEOUT", "60s");
    let server = crate::support::Server::start(options.sqlite()).await;
    let mut holding = Vec::new();
    for _ in 0..places {
        holding.push(TcpStream::connect(server.addr).await.expect("the server accepts"));
    }
    // Past the places whose request is read, an answer comes without one.
    let mut open = Vec::new();
    for _ in 0..silent {
        open.push(within(SHORT, "a connection", TcpStream::connect(server.addr)).await.expect("the kernel accepts"));
    }
    let mut last = open.pop().expect("there are some");
    let mut answer = [0; 12];
    within(SHORT, "an answer to the last", last.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");
    drop(holding);
    let start = Instant::now();
    eventually(LONG, "a place that was given back to be taken", || async {
        let answer = server.api().try_get("/api/health").await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(2), "an honest client waited {waited:?}");
    let victim = Victim::begin(server);
    let more: Vec<_> = open;
    eventually(SHORT, "answers beside those who say nothing", || async {
        victim.server.api().try_get("/api/health").await
    })
    .await;
    drop(more);
    let (_server, cost) = victim.cost().await;
    let told = format!("503; a place that became free was an honest client's after {} ms", waited.as_millis());
    cost.report("32-refused", "connections past the limit that say nothing", &silent.to_string(), &told);
}
