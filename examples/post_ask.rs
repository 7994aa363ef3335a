//! What an actor costs behind HTTP: `POST /inc` on a bare hyper server, answered by an atomic or by a supervised actor.
//!
//! `cargo run --release --example post_ask -- PORT atomic|ask`; `python3 benches/realtime/compare.py post-ask` compares the two.
//! Easy to get wrong: both must do the same apart from where the number comes from.
use actix::prelude::{Actor, Context, Handler, Message};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};
use tieout::runtime::{Addr, ChildSpec, Runtime};
use tokio::net::TcpListener;

struct Counter(u64);
impl Actor for Counter {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "u64")]
struct Increment;
impl Handler<Increment> for Counter {
    type Result = u64;
    fn handle(&mut self, _: Increment, _: &mut Context<Self>) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// Where the number comes from.
#[derive(Clone)]
enum Source {
    Atomic(Arc<AtomicU64>),
    Actor(Addr<Counter>),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let port: u16 = std::env::args().nth(1).unwrap_or_else(|| "9002".into()).parse()?;
    let runtime = Runtime::builder().start()?;
    let source = match std::env::args().nth(2).as_deref() {
        Some("atomic") => Source::Atomic(Arc::default()),
        _ => Source::Actor(runtime.supervise(ChildSpec::new("counter", |_: &mut Context<Counter>| Counter(0))).await?),
    };
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let source = source.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, source.clone()));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                eprintln!("a connection ended: {error}");
            }
        });
    }
}

async fn answer(request: Request<Incoming>, source: Source) -> Result<Response<Full<Bytes>>, Infallible> {
    let status = |status| Response::builder().status(status).body(Full::default()).expect("a valid response");
    if (request.method(), request.uri().path()) != (&Method::POST, "/inc") {
        return Ok(status(StatusCode::NOT_FOUND));
    }
    let number = match source {
        Source::Atomic(number) => number.fetch_add(1, Relaxed) + 1,
        Source::Actor(counter) => match counter.ask(Increment).await {
            Ok(number) => number,
            Err(_) => return Ok(status(StatusCode::SERVICE_UNAVAILABLE)),
        },
    };
    Ok(Response::new(Full::new(format!("{{\"n\":{number}}}").into())))
}
