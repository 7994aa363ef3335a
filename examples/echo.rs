//! Sends every WebSocket message back, through the very socket code of `/ws`: what the conformance cases drive.
//!
//! `cargo run --example echo -- 127.0.0.1:9001`, then `kosoku -p 4 127.0.0.1:9001`. Only the dialogue differs from the
//! server's: [`Echo`] stands where the protocol stands there. It prints its address once it listens, so that port 0 works.
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{convert::Infallible, sync::Arc};
use tieout::actors::rooms::{Limits, Shared};
use tieout::actors::sockets::Peer;
use tieout::http::live::ws::{Listener, Socket};
use tieout::protocol::frame;
use tieout::protocol::ids::ConnId;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The longest message: the cases go up to 16 MiB.
const LONGEST: usize = 16 * 1024 * 1024;

/// Answers every message with itself.
struct Echo(Arc<Peer>);

impl Listener for Echo {
    fn text(&mut self, text: &str) {
        self.0.control(frame::text(text.as_bytes()));
    }

    fn binary(&mut self, bytes: &[u8]) {
        self.0.control(frame::binary(bytes));
    }

    fn longest(&self) -> usize {
        LONGEST
    }

    /// One answer at a time: who does not read is not read from.
    fn waits_for_writes(&self) -> bool {
        true
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".into());
    let listener = TcpListener::bind(&address).await?;
    println!("{}", listener.local_addr()?);
    let queue_bytes = 2 * LONGEST;
    let shared = Arc::new(Shared::new(Limits { queue_bytes, queue_frames: 1 << 20, ..Limits::default() }));
    for number in 0.. {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let shared = shared.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| upgrade(request, ConnId(number), shared.clone()));
            let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
            if let Err(error) = served.await {
                eprintln!("connection {number}: {error}");
            }
        });
    }
    Ok(())
}

async fn upgrade(
    mut request: Request<Incoming>,
    conn: ConnId,
    shared: Arc<Shared>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut response = Response::new(Empty::new());
    let Some(key) = key(request.headers()) else {
        *response.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return Ok(response);
    };
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgrading.await else { return };
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else { return };
        let (reading, writing) = parts.io.into_inner().into_split();
        let peer = Peer::new(conn, 0, writing, shared);
        Socket::new(peer.clone(), reading, &parts.read_buf, Echo(peer)).await;
    });
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    for (name, value) in [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "websocket")] {
        headers.insert(name, value.parse().expect("a fixed word"));
    }
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, key.parse().expect("base64"));
    Ok(response)
}

/// The answer to the client's key.
fn key(headers: &HeaderMap) -> Option<String> {
    headers.get(header::SEC_WEBSOCKET_KEY).map(|key| derive_accept_key(key.as_bytes()))
}
