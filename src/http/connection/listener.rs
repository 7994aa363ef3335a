//! The accept loop and the life of a connection, on hyper: HTTP/1.1 and HTTP/2, upgrades, limits, graceful end.
//!
//! Leaves what is answered to `pipeline`, the connection's bytes to `wire` and its HTTP/2 streams to `streams`. Easy to
//! get wrong: a connection past a limit is answered, not dropped, and those who wait for that answer must not hold the
//! loop up; and an accept error (no file descriptors left) must pause the loop, or it spins.
use super::shares::{Peer, Share, Shares};
use super::streams::{Cut, Streams};
use super::wire::Wire;
use crate::http::live::ws::Upgrading;
use crate::http::pipeline::Pipeline;
use axum::{body::Body, extract::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use std::{
    convert::Infallible,
    io::Write,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Connections past a limit whose request is read at one time before they are told so.
const MAX_REFUSALS: usize = 1024;
/// What connections past those are told, whatever they ask.
const TURNED_AWAY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
    retry-after: 2\r\nconnection: close\r\ncontent-length: 120\r\n\r\n\
    {\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"limit_exceeded\",\
    \"limit\":\"max_http_connections\"}";
/// How long a refused connection may take to send its request.
const REFUSAL_TIME: Duration = Duration::from_secs(5);
/// Largest HTTP/1 read buffer, and so the largest request head. It starts at 8 KiB and grows only for uploads.
const MAX_HTTP1_BUFFER: usize = 64 * 1024;
/// Largest sum of header bytes on HTTP/2.
const MAX_HTTP2_HEADERS: u32 = 32 * 1024;
/// Requests that one HTTP/2 connection may have open.
const MAX_HTTP2_STREAMS: u32 = 128;
/// Bytes that one HTTP/2 stream may have waiting for the socket.
const MAX_HTTP2_SEND: usize = 64 * 1024;
/// Connections that the kernel keeps for us while the loop is busy.
const BACKLOG: i32 = 4096;

/// Binds the address.
///
/// # Errors
/// The system's, such as an address in use.
pub(in crate::http) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last life to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// When to stop: first politely, then at once.
#[derive(Clone, Default)]
pub(in crate::http) struct Stop {
    /// No new connections; running requests are answered, then their connections end.
    pub gracefully: CancellationToken,
    /// Connections end where they are.
    pub now: CancellationToken,
}

/// Accepts connections until told to stop. Every connection, and every stream of one, is a task of `connections`.
pub(in crate::http) async fn serve(listener: TcpListener, pipeline: Pipeline, stop: Stop, connections: TaskTracker) {
    let limits = &pipeline.state.config.limits;
    let permits = Arc::new(Semaphore::new((limits.max_http_connections as usize).min(Semaphore::MAX_PERMITS)));
    let shares = Shares::new(limits.connections_per_address, limits.trusted_proxies.clone());
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let mut pause = Backoff::default();
    loop {
        let accepted = tokio::select! {
            () = stop.gracefully.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                pause.after(&error).await;
                continue;
            }
        };
        pause = Backoff::default();
        let (pipeline, peer) = (pipeline.clone(), shares.peer(address.ip()));
        let refusal = match (shares.enter(peer), permits.clone().try_acquire_owned()) {
            (Some(share), Ok(permit)) => {
                let connection = Connection { peer, pipeline, stop: stop.clone(), tasks: connections.clone() };
                connections.spawn(connection.admitted(stream, (share, permit)));
                continue;
            }
            (None, _) => "connections_per_address",
            (Some(_), Err(_)) => "max_http_connections",
        };
        metrics::counter!("tieout_http_refused_total").increment(1);
        match refusals.clone().try_acquire_owned() {
            Ok(permit) => {
                connections.spawn(refused(stream, pipeline, refusal, permit));
            }
            Err(_) => turn_away(stream),
        }
    }
}

fn builder<E>(header_timeout: Duration, executor: E) -> Builder<E> {
    let mut builder = Builder::new(executor);
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        // No `pipeline_flush`: with it hyper takes a body without end for a client that reads nothing.
        .max_buf_size(MAX_HTTP1_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HTTP2_HEADERS)
        .max_concurrent_streams(MAX_HTTP2_STREAMS)
        .max_send_buf_size(MAX_HTTP2_SEND)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// What a connection needs to know.
struct Connection {
    peer: Peer,
    pipeline: Pipeline,
    stop: Stop,
    tasks: TaskTracker,
}

impl Connection {
    async fn admitted(self, stream: TcpStream, _places: (Share, OwnedSemaphorePermit)) {
        let _open = OpenConnection::count();
        // Answers are written whole; waiting for more only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            log::debug!("a connection ended before it began error={error}");
            return;
        }
        let limits = &self.pipeline.state.config.limits;
        let (header_timeout, patience) = (limits.header_timeout, limits.transfer_idle_timeout);
        let cut = Cut::default();
        // However this ends, its streams end with it.
        let _end_streams = cut.clone().drop_guard();
        let streams = Streams::new(cut.clone(), self.tasks.clone(), patience);
        let asked = Arc::new(AtomicBool::new(false));
        // What follows the connection's last answer, when that was an upgrade.
        let upgrading = Arc::new(OnceLock::new());
        let service = self.service(asked.clone(), upgrading.clone(), streams.clone());
        let builder = builder(header_timeout, streams.clone());
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(Wire::new(stream, patience)), service);
        let mut connection = pin!(connection);
        let stop = self.stop;
        let (ended, idle) = tokio::select! {
            ended = connection.as_mut() => (Some(ended), false),
            () = stop.now.cancelled() => return,
            () = cut.ended() => return,
            // hyper's own limit begins with the first byte it takes for HTTP/1; this one also ends who sends nothing.
            () = silence(&asked, header_timeout) => return log::debug!("a connection sent no request in time"),
            () = stop.gracefully.cancelled() => (None, false),
            () = streams.idle_again() => (None, true),
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = stop.now.cancelled() => return,
                    () = cut.ended() => return,
                    // A client with nothing to wait for that still holds on is let go.
                    () = streams.idle(), if idle => return,
                }
            }
        };
        match (ended, upgrading.get()) {
            (Err(error), _) => log::debug!("a connection ended early error={error}"),
            (Ok(()), Some(upgrading)) => Upgrading::clone(upgrading).run().await,
            (Ok(()), None) => {}
        }
    }

    /// Answers the connection's requests, and notes that there was one and what it asks for beyond an answer.
    fn service(
        &self,
        asked: Arc<AtomicBool>,
        upgraded: Arc<OnceLock<Upgrading>>,
        streams: Streams,
    ) -> TowerToHyperService<
        impl tower::Service<
            http::Request<hyper::body::Incoming>,
            Response = http::Response<Body>,
            Error = Infallible,
            Future = impl Future<Output = Result<http::Response<Body>, Infallible>> + Send + use<>,
        > + Clone
        + use<>,
    > {
        let (pipeline, peer) = (self.pipeline.clone(), self.peer);
        TowerToHyperService::new(tower::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let (pipeline, upgraded, streams) = (pipeline.clone(), upgraded.clone(), streams.clone());
            async move {
                request.extensions_mut().insert(streams.cut());
                request.extensions_mut().insert(peer);
                let mut response = pipeline.answer(request.map(Body::new)).await;
                if let Some(upgrading) = response.extensions_mut().remove::<Upgrading>() {
                    // HTTP/1.1 has one upgrade, and HTTP/2 none.
                    upgraded.get_or_init(|| upgrading);
                }
                Ok::<_, Infallible>(response.map(|body| streams.watched(body)))
            }
        }))
    }
}

async fn refused(stream: TcpStream, pipeline: Pipeline, limit: &'static str, _permit: OwnedSemaphorePermit) {
    let header_timeout = pipeline.state.config.limits.header_timeout;
    let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let answer = pipeline.refuse(&request.map(Body::new) as &Request, limit);
        async move { Ok::<_, Infallible>(answer) }
    });
    let builder = builder(header_timeout, TokioExecutor::new());
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if timeout(REFUSAL_TIME, connection).await.is_err() {
        log::debug!("a refused connection sent no request in time");
    }
}

/// Answers without waiting for a request.
fn turn_away(stream: TcpStream) {
    if let Err(error) = stream.into_std().and_then(|mut stream| stream.write_all(TURNED_AWAY)) {
        log::debug!("a refused connection was dropped error={error}");
    }
}

/// Ends when no request came within `limit`; never when one did.
async fn silence(asked: &AtomicBool, limit: Duration) {
    sleep(limit).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Counts a connection for as long as it lives.
struct OpenConnection;

impl OpenConnection {
    fn count() -> Self {
        metrics::gauge!("tieout_http_connections").increment(1.0);
        Self
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        metrics::gauge!("tieout_http_connections").decrement(1.0);
    }
}

/// The pause after an accept error: the peer's own errors need none, a lack of descriptors needs time.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    async fn after(&mut self, error: &std::io::Error) {
        use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
        if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
            return;
        }
        metrics::counter!("tieout_http_accept_errors_total").increment(1);
        // A full second between tries at most, and a log line only for powers of two: it may last for hours.
        self.failures = self.failures.saturating_add(1);
        if self.failures.is_power_of_two() {
            log::error!("no connection can be accepted failures={} error={error}", self.failures);
        }
        sleep(Duration::from_millis(10 << self.failures.min(7)).min(Duration::from_secs(1))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::TURNED_AWAY;

    #[test]
    fn what_is_answered_unread_has_the_length_that_it_says_and_is_a_problem() {
        let text = std::str::from_utf8(TURNED_AWAY).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())), "{head} {}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&body["status"], &body["limit"]), (&503.into(), &"max_http_connections".into()));
    }
}
