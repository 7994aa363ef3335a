//! Clients that ask and do not read: pages, sockets, windows and streams that hold what nobody takes.
use std::{
    fmt::Write as _,
    net::SocketAddr,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::{
    http2::{DATA, Http2, RST_STREAM},
    sized,
    victim::{Victim, memory_back},
};
use crate::support::{LONG, Options, Run, SHORT, Server, eventually, http::text as text_of, within};

/// A page's bound.
const PAGE_MIB: u64 = 4;

/// A completed job of so many pairs, each record with a text of so many bytes, which no rule looks at.
async fn job_with_long_texts(server: &Server, pairs: usize, bytes: usize) -> Run {
    let (mut ledger, mut bank) = (String::from("id,amount,memo\n"), String::from("ref,amount,text\n"));
    let text = "x".repeat(bytes);
    for n in 0..pairs {
        writeln!(ledger, "L{n},{}.00,{n}{text}", 100 + n).expect("a String takes it");
        writeln!(bank, "B{n},{}.00,{n}{text}", 100 + n).expect("a String takes it");
    }
    let api = server.api();
    let project = api.project("long texts").await;
    let left = text_of(&api.upload(&project, "ledger.csv", ledger).await.expect(201), "id");
    let right = text_of(&api.upload(&project, "bank.csv", bank).await.expect(201), "id");
    let rules = json!({"left_id": "id", "right_id": "ref",
        "compare": [{"kind": "tolerance", "left": "amount", "right": "amount", "tolerance": "0"}]});
    let asked = json!({"left": left, "right": right, "rules": rules});
    let job = api.post(&format!("/api/v1/projects/{project}/jobs"), asked).await.expect(201);
    let run = Run { job: text_of(&job, "id"), api, project, left, right };
    run.start().await;
    run.completed(LONG).await;
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_long_texts_end_at_four_mebibytes_and_their_memory_is_given_back() {
    let (pairs, at_once) = sized((40, 4), (100, 8));
    let bytes = 200_000;
    let server = Server::start(Options::default().sqlite()).await;
    let run = job_with_long_texts(&server, pairs, bytes).await;
    let victim = Victim::begin(server);
    let page = |path: String| {
        let api = run.api.clone();
        tokio::spawn(async move { api.get(&path).await })
    };
    let asked: Vec<_> = (0..at_once).map(|_| page(run.path("/results?limit=1000"))).collect();
    let (mut largest, mut answered) = (0, 0);
    for asked in asked {
        let answer = asked.await.expect("a request ends");
        if answer.status != 200 {
            assert_eq!((answer.status, &answer.json()["limit"]), (503, &json!("answer_budget")), "{}", answer.text);
            continue;
        }
        largest = largest.max(answer.text.len());
        answered += 1;
        let seen = answer.json();
        assert!(seen["next"].is_string() && !seen["items"].as_array().expect("items").is_empty(), "there is more");
    }
    assert!(answered > 0 && largest as u64 <= (PAGE_MIB + 1) << 20, "{answered} answered, {largest} bytes");
    // Nothing is lost by it: following `next` gives every result once.
    let all = run.api.all(&run.path("/results"), 1000).await;
    let mut ordinals: Vec<_> = all.iter().map(|item| item["ordinal"].as_u64().expect("an ordinal")).collect();
    ordinals.dedup();
    assert_eq!((ordinals.len(), ordinals.is_sorted()), (all.len(), true), "every result once, in order");
    let exported = run.export("jsonl", "all").await;
    assert_eq!(exported.text.lines().count(), all.len(), "an export has them all");
    let start = Instant::now();
    memory_back(&victim, 48, Duration::from_secs(10)).await;
    let back = start.elapsed();
    let (_server, cost) = victim.cost().await;
    cost.at_most(sized(160, 256), LONG);
    let size = format!("texts of {} KB, {at_once} at once, then all, then an export", bytes / 1000);
    let told = format!(
        "pages of {} MiB at most, with `next`; memory given back after {:.1} s",
        largest.div_ceil(1 << 20),
        back.as_secs_f64()
    );
    cost.report("20-pages", "`results?limit=1000` of long texts", &size, &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_that_never_read_are_closed_and_their_address_has_a_share_only() {
    let (places, idle) = (sized(50, 400), Duration::from_millis(sized(1_000, 30_000)));
    let options = Options::default().env("TIEOUT_MAX_HTTP_CONNECTIONS", places);
    let options = options.env("TIEOUT_TRANSFER_IDLE_TIMEOUT", format!("{}ms", idle.as_millis()));
    let victim = Victim::start(options).await;
    // Another address than the honest client's, as far as one machine has them.
    let mut open = Vec::new();
    for _ in 0..places {
        open.push(never_read(victim.server.addr, [127, 0, 0, 2]).await);
    }
    let began = Instant::now();
    let mut refused = 0;
    for mut stream in open {
        // What the server sent before it let go, and then the end.
        let mut first = [0; 64];
        within(idle * 4 + LONG, "a socket that never reads to be closed", async {
            while !is_gone(&stream) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        let read = stream.read(&mut first).await.unwrap_or(0);
        refused += usize::from(first[..read].starts_with(b"HTTP/1.1 503 "));
    }
    let closed = began.elapsed();
    assert!(refused >= places / 2, "half of the places are all that an address gets: {refused} of {places} refused");
    let (_server, cost) = victim.cost().await;
    assert_eq!((cost.seen.refused, cost.seen.cut), (0, 0), "another address is not kept out: {}", cost.seen);
    cost.at_most(64, LONG);
    let size = format!("{places} for {places} places");
    let told =
        format!("{refused} refused (`connections_per_address`), the others closed after {:.1} s", closed.as_secs_f64());
    cost.report("21-never-read", "sockets of one address that ask and never read", &size, &told);
}

/// A connection from this address with many requests on it, and a small buffer for what comes.
async fn never_read(addr: SocketAddr, from: [u8; 4]) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((from, 0))).expect("a loopback address is ours");
    socket.set_recv_buffer_size(4_096).expect("a small buffer");
    let mut stream = within(SHORT, "a connection", socket.connect(addr)).await.expect("the server accepts");
    let asked = format!("GET /openapi.json HTTP/1.1\r\nhost: localhost:{}\r\n\r\n", addr.port()).repeat(60);
    // A server that refused it may have closed it already.
    let _sent = stream.write_all(asked.as_bytes()).await;
    stream
}

/// Whether the server has closed the connection, without reading from it.
fn is_gone(stream: &TcpStream) -> bool {
    const CLOSED: u8 = 7;
    const CLOSE_WAIT: u8 = 8;
    use std::os::fd::AsRawFd;
    // SAFETY: an all-zero tcp_info is one, and the kernel writes no more than the length that it is given.
    let state = unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let info_at = std::ptr::from_mut(&mut info).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info_at, &mut length);
        info.tcpi_state
    };
    matches!(state, CLOSED | CLOSE_WAIT)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_that_takes_no_answer_holds_little_and_is_closed() {
    let idle = Duration::from_millis(sized(1_000, 30_000));
    let options = Options::default().env("TIEOUT_TRANSFER_IDLE_TIMEOUT", format!("{}ms", idle.as_millis()));
    let server = Server::start(options.sqlite()).await;
    let run = job_with_long_texts(&server, 24, 200_000).await;
    let victim = Victim::begin(server);
    let mut client = Http2::connect(victim.server.addr, 0).await;
    for n in 0..100 {
        client.get(2 * n + 1, &run.path("/results?limit=1000")).await;
    }
    let began = Instant::now();
    let reset = client.ended(idle * 4 + LONG).await;
    let closed = began.elapsed();
    assert!(!reset.is_empty() || closed < idle * 4, "{reset:?} {closed:?}");
    let (_server, cost) = victim.cost().await;
    cost.at_most(192, LONG);
    assert_eq!((cost.seen.refused, cost.seen.cut), (0, 0), "{}", cost.seen);
    let told = format!(
        "at most 16 MiB of answers wait, the rest 503 `answer_budget`; closed after {:.1} s",
        closed.as_secs_f64()
    );
    cost.report("22-window", "HTTP/2 with a window of 0", "100 requests for pages of 4 MiB", &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_event_stream_is_reset_and_the_other_streams_of_its_connection_go_on() {
    let options = Options::default().env("TIEOUT_SLOW_NO_PROGRESS", "500ms").env("TIEOUT_SLOW_FULL_FOR", "1s");
    let server = Server::start(options.sqlite()).await;
    let api = server.api();
    let project = api.project("streams").await;
    let victim = Victim::begin(server);
    let mut client = Http2::connect(victim.server.addr, 65_535).await;
    let path = format!("/events?project={project}");
    client.get(1, &path).await;
    client.get(3, &path).await;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let publishing = tokio::spawn({
        let (api, project) = (api.clone(), project.clone());
        async move {
            let message = json!({"DataUpdate": {"project_id": project, "entity": "note", "entity_id": "n",
                "action": "updated", "data": {"text": "x".repeat(30_000)}}});
            let publish = async {
                loop {
                    api.post("/api/realtime/publish", message.clone()).await.expect(200);
                }
            };
            tokio::select! { () = publish => {}, _ = stopped => {} }
        }
    });
    let (mut reset, mut after) = (false, 0);
    let seeing = async {
        while after < 2_000_000 {
            let frame = client.next().await.expect("the connection stays");
            match (frame.kind, frame.stream) {
                (RST_STREAM, 1) => reset = true,
                (RST_STREAM, other) => panic!("stream {other} was reset"),
                (DATA, 1) => client.grant(0, 0x7fff).await,
                (DATA, 3) => {
                    client.grant(3, frame.payload.len() as u32).await;
                    after += if reset { frame.payload.len() } else { 0 };
                }
                _ => {}
            }
        }
    };
    within(LONG, "the stalled stream to be reset and the other to go on", seeing).await;
    stop.send(()).expect("the publisher still runs");
    publishing.await.expect("the publisher ends");
    drop(client);
    eventually(SHORT, "the last stream to be gone", || async {
        let metrics = api.try_get("/metrics").await?.text;
        if metrics.contains("tieout_rt_connections 0") { Ok(()) } else { Err("it is counted".into()) }
    })
    .await;
    let (_server, cost) = victim.cost().await;
    cost.at_most(64, LONG);
    cost.report(
        "23-stream",
        "an event stream that is not read beside one that is, over HTTP/2",
        "one connection",
        "that stream is reset; the other goes on",
    );
}
