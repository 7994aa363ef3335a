//! The accept loop and the life of a connection, on hyper: HTTP/1.1 and HTTP/2, upgrades, limits, graceful end.
//!
//! Leaves what is answered to `pipeline`. Easy to get wrong: a connection past the limit is answered, not dropped; and
//! an accept error (no file descriptors left) must pause the loop, or it spins.
use super::{pipeline::Pipeline, ws::Upgrading};
use axum::{body::Body, extract::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use std::{
    convert::Infallible,
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

/// Connections past the limit that are told so at one time; while they are, the next ones wait in the kernel's queue.
const MAX_REFUSALS: usize = 64;
/// How long a refused connection may take to send its request.
const REFUSAL_TIME: Duration = Duration::from_secs(5);
/// Largest HTTP/1 read buffer, and so the largest request head. It starts at 8 KiB and grows only for uploads.
const MAX_HTTP1_BUFFER: usize = 64 * 1024;
/// Largest sum of header bytes on HTTP/2.
const MAX_HTTP2_HEADERS: u32 = 32 * 1024;
/// Requests that one HTTP/2 connection may have open.
const MAX_HTTP2_STREAMS: u32 = 128;
/// Connections that the kernel keeps for us while the loop is busy.
const BACKLOG: i32 = 4096;

/// Binds the address.
///
/// # Errors
/// The system's, such as an address in use.
pub(super) fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
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
pub(super) struct Stop {
    /// No new connections; running requests are answered, then their connections end.
    pub gracefully: CancellationToken,
    /// Connections end where they are.
    pub now: CancellationToken,
}

/// Ends the TCP connection that a request came on; for streams whose client reads nothing. In the request's extensions.
#[derive(Clone)]
pub(super) struct Cut(CancellationToken);

impl Cut {
    /// Ends it where it is.
    pub fn now(&self) {
        self.0.cancel();
    }
}

/// Accepts connections until told to stop. Every connection is a task of `connections`.
pub(super) async fn serve(listener: TcpListener, pipeline: Pipeline, stop: Stop, connections: TaskTracker) {
    let limit = pipeline.state.config.limits.max_http_connections as usize;
    let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
    let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
    let builder = Arc::new(builder(pipeline.state.config.limits.header_timeout));
    let mut pause = Backoff::default();
    loop {
        let accepted = tokio::select! {
            () = stop.gracefully.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause.after(&error).await;
                continue;
            }
        };
        pause = Backoff::default();
        let (pipeline, builder, stop) = (pipeline.clone(), builder.clone(), stop.clone());
        match permits.clone().try_acquire_owned() {
            Ok(permit) => {
                connections.spawn(admitted(stream, builder, pipeline, stop, permit));
            }
            Err(_) => {
                metrics::counter!("tieout_http_refused_total").increment(1);
                let Ok(permit) = refusals.clone().acquire_owned().await else { return };
                connections.spawn(refused(stream, builder, pipeline, permit));
            }
        }
    }
}

fn builder(header_timeout: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
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
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn admitted(
    stream: TcpStream,
    builder: Arc<Builder<TokioExecutor>>,
    pipeline: Pipeline,
    stop: Stop,
    _permit: OwnedSemaphorePermit,
) {
    let _open = OpenConnection::count();
    // Answers are written whole; waiting for more only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        log::debug!("a connection ended before it began error={error}");
        return;
    }
    let header_timeout = pipeline.state.config.limits.header_timeout;
    let asked = Arc::new(AtomicBool::new(false));
    let first_request = asked.clone();
    let cut = Cut(CancellationToken::new());
    let own_cut = cut.clone();
    // What follows the connection's last answer, when that was an upgrade.
    let upgrading = Arc::new(OnceLock::new());
    let upgraded = upgrading.clone();
    let service = tower::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
        first_request.store(true, Ordering::Relaxed);
        let (pipeline, upgraded) = (pipeline.clone(), upgraded.clone());
        request.extensions_mut().insert(cut.clone());
        async move {
            let mut response = pipeline.answer(request.map(Body::new)).await;
            if let Some(upgrading) = response.extensions_mut().remove::<Upgrading>() {
                // HTTP/1.1 has one upgrade, and HTTP/2 none.
                upgraded.get_or_init(|| upgrading);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.now.cancelled() => return,
        () = own_cut.0.cancelled() => return,
        // hyper's own limit begins with the first byte it takes for HTTP/1; this one also ends who sends nothing.
        () = silence(&asked, header_timeout) => return log::debug!("a connection sent no request in time"),
        () = stop.gracefully.cancelled() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.now.cancelled() => return,
                () = own_cut.0.cancelled() => return,
            }
        }
    };
    match (ended, upgrading.get()) {
        (Err(error), _) => log::debug!("a connection ended early error={error}"),
        (Ok(()), Some(upgrading)) => Upgrading::clone(upgrading).run().await,
        (Ok(()), None) => {}
    }
}

async fn refused(
    stream: TcpStream,
    builder: Arc<Builder<TokioExecutor>>,
    pipeline: Pipeline,
    _permit: OwnedSemaphorePermit,
) {
    let service = tower::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let answer = pipeline.refuse(&request.map(Body::new) as &Request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if timeout(REFUSAL_TIME, connection).await.is_err() {
        log::debug!("a refused connection sent no request in time");
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
