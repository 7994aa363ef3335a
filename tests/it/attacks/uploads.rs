//! Uploads that cost more than they bring: fields, headers and heads without end, and clients that send by drops.
use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    sized,
    victim::{Victim, refused, upload_of},
};
use crate::support::{LONG, Options, SHORT, Server, eventually, http::text, within};

/// What an attack may take above what the server took before.
const FEW_MIB: u64 = 32;

#[tokio::test(flavor = "multi_thread")]
async fn a_quote_that_is_never_closed_is_refused_where_it_opens() {
    let megabytes = sized(48, 400);
    let victim = Victim::start(Options::default()).await;
    victim.limit_memory(900 << 20);
    let api = victim.server.api();
    let project = api.project("quote").await;
    let answer = upload_of(&api, &project, "id,t\n1,\"", b'a', megabytes << 20).await;
    let detail = text(&refused(answer, 413, "max_field_bytes"), "detail");
    assert!(detail.contains("line 2, column \"t\", where a quote opens"), "{detail}");
    let (_server, cost) = victim.cost().await;
    cost.at_most(FEW_MIB, LONG);
    let attack = "a CSV with one quote that is never closed, to a server with 900 MB of address space";
    cost.report("10-quote", attack, &format!("{megabytes} MB"), "413 `max_field_bytes`, line 2, where the quote opens");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_without_end_is_refused() {
    let megabytes = sized(24, 150);
    let victim = Victim::start(Options::default()).await;
    let api = victim.server.api();
    let project = api.project("header").await;
    let answer = upload_of(&api, &project, "id,", b'a', megabytes << 20).await;
    refused(answer, 413, "max_name_bytes");
    let answer = upload_of(&api, &project, "id,\"", b'a', 2 << 20).await;
    refused(answer, 413, "max_name_bytes");
    let answer = upload_of(&api, &project, "id,t\n1", b',', 4 << 20).await;
    refused(answer, 413, "max_columns");
    let (_server, cost) = victim.cost().await;
    cost.at_most(FEW_MIB, LONG);
    cost.report("11-header", "a CSV header without end", &format!("{megabytes} MB"), "413 `max_name_bytes`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multipart_head_without_end_is_refused_and_the_rest_is_thrown_away() {
    let (connections, megabytes) = sized((4, 8), (4, 180));
    let victim = Victim::start(Options::default()).await;
    let project = victim.server.api().project("head").await;
    let attackers: Vec<_> = (0..connections)
        .map(|_| {
            let (addr, project) = (victim.server.addr, project.clone());
            tokio::spawn(async move { endless_head(addr, &project, megabytes << 20).await })
        })
        .collect();
    for attacker in attackers {
        let answer = attacker.await.expect("an attacker ends");
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("multipart_head_bytes"), "{answer}");
    }
    let (_server, cost) = victim.cost().await;
    cost.at_most(FEW_MIB, sized(Duration::from_secs(5), LONG));
    let size = format!("{megabytes} MB on each of {connections} connections");
    cost.report("12-head", "a multipart head without end", &size, "413 `multipart_head_bytes` after 64 KiB");
}

/// The answer to a form whose first part's head has so many bytes.
async fn endless_head(addr: std::net::SocketAddr, project: &str, bytes: usize) -> String {
    let stream = TcpStream::connect(addr).await.expect("the server accepts");
    let (mut reading, mut writing) = stream.into_split();
    let head = format!(
        "POST /api/v1/projects/{project}/sources HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: multipart/form-data; boundary=XX\r\ncontent-length: 2000000000\r\n\r\n\
         --XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\nX: "
    );
    let sending = tokio::spawn(async move {
        writing.write_all(head.as_bytes()).await?;
        let piece = vec![b'A'; 64 * 1024];
        for _ in 0..bytes / piece.len() {
            writing.write_all(&piece).await?;
        }
        std::io::Result::Ok(writing)
    });
    let mut answer = vec![0; 2_048];
    let read = within(LONG, "the answer", reading.read(&mut answer)).await.expect("an answer, not a reset");
    // What is sent after the answer may meet a closed connection.
    let _sent = sending.await.expect("the sender ends");
    String::from_utf8_lossy(&answer[..read]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_by_drops_take_a_share_of_the_places_and_are_ended() {
    let (places, least, window) = (16, 60 * 1024, Duration::from_millis(sized(1_500, 60_000)));
    let options = Options::default().env("TIEOUT_MAX_TRANSFERS", places).env("TIEOUT_TRANSFER_LEAST_BYTES", least);
    let options = options.env("TIEOUT_TRANSFER_WINDOW", format!("{}ms", window.as_millis()));
    let server = Server::start(options.sqlite()).await;
    let project = server.api().project("drops").await;
    let victim = Victim::begin(server);
    let mut dripping = Vec::new();
    for _ in 0..places {
        let (addr, project) = (victim.server.addr, project.clone());
        dripping.push(tokio::spawn(async move { drip(addr, &project).await }));
    }
    let mut statuses = Vec::new();
    for dripped in dripping {
        statuses.push(within(window + LONG, "a dripping upload to be ended", dripped).await.expect("it ends"));
    }
    let (ended, turned_away): (Vec<_>, Vec<_>) = statuses.iter().partition(|answer| answer["status"] == 408);
    assert!(ended.iter().all(|answer| answer["limit"] == "transfer_least_bytes"), "{ended:?}");
    assert!(turned_away.iter().all(|answer| answer["limit"] == "transfers_per_user"), "{turned_away:?}");
    assert_eq!(ended.len(), 6, "three quarters of a half are one user's uploads");
    let api = victim.server.api();
    eventually(SHORT, "an honest upload", || async {
        let answer = api.upload(&project, "f.csv", "a,b\n1,2\n").await;
        if answer.status == 201 { Ok(()) } else { Err(answer.text) }
    })
    .await;
    let (_server, cost) = victim.cost().await;
    cost.at_most(FEW_MIB, LONG);
    let told = format!("{} let in, 408 `transfer_least_bytes`; the others 429 `transfers_per_user`", ended.len());
    cost.report("13-drops", "uploads by drops", &format!("{places} for {places} places"), &told);
}

/// The problem that an upload is answered which sends a byte now and then.
async fn drip(addr: std::net::SocketAddr, project: &str) -> Value {
    let mut stream = TcpStream::connect(addr).await.expect("the server accepts");
    let head = format!(
        "POST /api/v1/projects/{project}/sources HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\na,b\n"
    );
    stream.write_all(head.as_bytes()).await.expect("the head is sent");
    let mut answer = Vec::new();
    loop {
        let mut piece = [0; 2_048];
        tokio::select! {
            read = stream.read(&mut piece) => {
                let read = read.expect("an answer, not a reset");
                answer.extend_from_slice(&piece[..read]);
                let all = String::from_utf8_lossy(&answer);
                if let Some((_, body)) = all.split_once("\r\n\r\n")
                    && let Ok(body) = serde_json::from_str(body)
                {
                    return body;
                }
                assert!(read > 0, "no whole answer: {all}");
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                stream.write_all(b"1").await.expect("a drop is sent");
            }
        }
    }
}
