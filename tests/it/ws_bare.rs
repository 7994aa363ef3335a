//! Clients without the subprotocol get the original frames alone; the others in the same room miss nothing by it.
use crate::ws_support::{Client, WsServer};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SIBLINGS: [&str; 7] = ["id", "re", "ep", "off", "ts", "by", "tr"];
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn assert_bare(message: &Value) {
    if let Some(fields) = message.as_object() {
        assert_eq!(fields.len(), 1, "one message and nothing else: {message}");
        assert!(SIBLINGS.iter().all(|name| !fields.contains_key(*name)), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_subprotocol_frames_are_bare_and_with_it_they_have_their_siblings() {
    let server = WsServer::new().await;
    let project = server.project().await;
    let (mut plain, chosen) = Client::offering(server.address, None).await;
    assert_eq!(chosen, None);
    let hello = plain.message().await;
    assert_bare(&hello);
    assert_eq!(hello["AuthSuccess"]["role"], "owner", "{hello}");
    plain.send(json!({"JoinProject": {"project_id": project}})).await;
    let joined = plain.message().await;
    assert_bare(&joined);
    let start = joined["ProjectJoined"]["off"].as_u64().expect("the position is in the body");
    let (mut full, _) = server.joined(project).await;

    for name in ["one", "two", "three"] {
        server.change(project, name).await;
    }
    full.send(
        json!({"id": 9, "tr": TRACE, "Collaboration": {"project_id": project, "action": "wave", "data": {"off": 1}}}),
    )
    .await;
    let mut seen = Vec::new();
    loop {
        let message = plain.message().await;
        assert_bare(&message);
        if message["Collaboration"].is_object() {
            assert_eq!(message["Collaboration"]["data"], json!({"off": 1}), "only siblings are cut");
            break;
        }
        seen.extend(message["DataUpdate"]["data"]["name"].as_str().map(str::to_owned));
    }
    assert_eq!(seen, ["one", "two", "three"]);
    assert_eq!(full.offsets_until(start + 3).await, [start + 1, start + 2, start + 3]);
    let said = full.wait(|message| message["Collaboration"].is_object() && message["re"].is_null()).await;
    assert_eq!(said["tr"], TRACE, "the trace goes on with what it caused: {said}");

    plain.send_text("\"Ping\"").await;
    assert_eq!(plain.message().await, json!("Pong"));
    plain.send(json!({"id": 4, "Ping": {}})).await;
    let refused = plain.message().await;
    assert_bare(&refused);
    assert_eq!(refused["Error"]["code"], "INVALID_FORMAT", "nobody waits for a `re` that never comes: {refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_subprotocol_is_not_negotiated() {
    let server = WsServer::new().await;
    for (offer, chosen) in [("chat", None), ("chat, tieout.v1+json", Some("tieout.v1+json")), ("tieout.v2+json", None)]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {offer}\r\n\r\n",
            server.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 101"), "{head}");
        let line = head.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
        assert_eq!(line, chosen, "{offer}");
    }
}
