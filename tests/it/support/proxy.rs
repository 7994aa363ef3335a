//! A TCP proxy between the product and a store, through which a test breaks the network: latency, blackhole, resets,
//! refusals, another server behind the same address. Leaves killing servers to their own files. Easy to get wrong: a
//! proxy on the test's own runtime stands still when the test blocks, so this one has a thread and a runtime of its own.
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::process::free_address;

/// Bytes that are passed on at a time.
const CHUNK: usize = 16 << 10;
/// Chunks on their way in one direction of one connection; past it the sender is made to wait, as by a full window.
const CHUNKS: usize = 1024;

/// What the network does to every connection, those that are open included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Passes everything on.
    Pass,
    /// Passes everything on so much later, in each direction.
    Latency(Duration),
    /// Drops every packet: nothing moves and nothing ends; new connections open and hear nothing. What was sent arrives
    /// when it is over, as TCP would send it again.
    Blackhole,
    /// Nobody listens: open connections are reset, new ones refused.
    Refuse,
}

enum Order {
    Set(Mode),
    Switch(SocketAddr),
    Reset,
    Halve,
}

/// A running proxy; it ends with the value.
pub(crate) struct Proxy {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    orders: Option<mpsc::Sender<(Order, oneshot::Sender<()>)>>,
    accepted: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of this port of 127.0.0.1, which need not be open yet.
    pub(crate) fn start(upstream_port: u16) -> Self {
        let address = free_address();
        let (orders, taken) = mpsc::channel(1);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let (up, is_up) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(address).await.expect("a free port can be bound");
                up.send(()).expect("whoever starts a proxy waits for it");
                serve(listener, local(upstream_port), taken, count).await;
            });
        });
        is_up.recv().expect("the proxy starts");
        Self { port: address.port(), orders: Some(orders), accepted, thread: Some(thread) }
    }

    /// Changes what the network does. In force when it returns.
    pub(crate) async fn set(&self, mode: Mode) {
        self.order(Order::Set(mode)).await;
    }

    /// New connections go to this port of 127.0.0.1; open ones stay where they are.
    pub(crate) async fn switch(&self, upstream_port: u16) {
        self.order(Order::Switch(local(upstream_port))).await;
    }

    /// Resets every open connection, on both sides; new ones are served.
    pub(crate) async fn reset(&self) {
        self.order(Order::Reset).await;
    }

    /// Ends the upstream side of every open connection and leaves the client's side as it is: open, and silent for ever, as when a
    /// machine in between has forgotten it. New ones are served.
    pub(crate) async fn halve(&self) {
        self.order(Order::Halve).await;
    }

    /// Connections taken since the start.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }

    async fn order(&self, order: Order) {
        let (done, is_done) = oneshot::channel();
        let orders = self.orders.as_ref().expect("orders are taken until drop");
        assert!(orders.send((order, done)).await.is_ok(), "the proxy runs");
        is_done.await.expect("the proxy does what it is told");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.orders.take();
        let ended = self.thread.take().expect("a thread until drop").join();
        assert!(ended.is_ok() || std::thread::panicking(), "the proxy panicked");
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn serve(
    listener: TcpListener,
    mut upstream: SocketAddr,
    mut orders: mpsc::Receiver<(Order, oneshot::Sender<()>)>,
    accepted: Arc<AtomicUsize>,
) {
    let address = listener.local_addr().expect("a bound socket has an address");
    let mut listener = Some(listener);
    let (mode, _) = watch::channel(Mode::Pass);
    let (cut, _) = watch::channel(());
    let (halved, _) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            order = orders.recv() => {
                let Some((order, done)) = order else { return };
                let resets = matches!(order, Order::Reset | Order::Set(Mode::Refuse));
                match order {
                    Order::Set(Mode::Refuse) => listener = None,
                    Order::Set(_) if listener.is_none() => {
                        listener = Some(TcpListener::bind(address).await.expect("our own port can be bound again"));
                    }
                    Order::Switch(to) => upstream = to,
                    Order::Halve => {
                        halved.send_replace(());
                    }
                    Order::Set(_) | Order::Reset => {}
                }
                if let Order::Set(to) = order {
                    mode.send_replace(to);
                }
                if resets {
                    cut.send_replace(());
                    while connections.join_next().await.is_some() {}
                }
                // Whoever gave the order may have given up waiting for it.
                let _ = done.send(());
            }
            taken = accept(listener.as_ref()) => {
                accepted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(connection(taken, upstream, mode.subscribe(), cut.subscribe(), halved.subscribe()));
            }
            Some(ended) = connections.join_next() => ended.expect("a connection does not panic"),
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.expect("a connection can be taken").0,
        None => std::future::pending().await,
    }
}

async fn connection(
    client: TcpStream,
    upstream: SocketAddr,
    mut mode: watch::Receiver<Mode>,
    mut cut: watch::Receiver<()>,
    mut halved: watch::Receiver<()>,
) {
    let server = tokio::select! {
        server = async { moves(&mut mode).await; TcpStream::connect(upstream).await } => server,
        _ = cut.changed() => return reset(&client),
    };
    let Ok(server) = server else { return reset(&client) };
    for side in [&client, &server] {
        side.set_nodelay(true).expect("a socket of ours");
    }
    let both = async { tokio::try_join!(pass(&client, &server, mode.clone()), pass(&server, &client, mode.clone())) };
    let broken = tokio::select! {
        passed = both => passed.is_err(),
        _ = cut.changed() => true,
        _ = halved.changed() => {
            reset(&server);
            drop(server);
            // Until the client gives up, which its side of the proxy does not notice either.
            let _ = cut.changed().await;
            return reset(&client);
        }
    };
    if broken {
        reset(&client);
        reset(&server);
    }
}

/// One direction of a connection, until its end or an error.
async fn pass(from: &TcpStream, to: &TcpStream, mut mode: watch::Receiver<Mode>) -> std::io::Result<()> {
    let (chunks, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let mut reading = mode.clone();
    let read = async move {
        loop {
            from.readable().await?;
            // What came while nothing moves is not there yet.
            let later = match moves(&mut reading).await {
                Mode::Latency(time) => time,
                _ => Duration::ZERO,
            };
            let mut bytes = vec![0; CHUNK];
            match from.try_read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(count) => bytes.truncate(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if chunks.send((Instant::now() + later, bytes)).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((at, bytes)) = due.recv().await {
            tokio::time::sleep_until(at).await;
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                moves(&mut mode).await;
                to.writable().await?;
                match to.try_write(rest) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
        SockRef::from(to).shutdown(std::net::Shutdown::Write)
    };
    tokio::try_join!(read, write).map(|_| ())
}

/// Waits while nothing moves.
async fn moves(mode: &mut watch::Receiver<Mode>) -> Mode {
    *mode.wait_for(|mode| *mode != Mode::Blackhole).await.expect("the mode outlives its connections")
}

/// The socket's end will be a reset.
fn reset(socket: &TcpStream) {
    SockRef::from(socket).set_linger(Some(Duration::ZERO)).expect("a socket of ours");
}
