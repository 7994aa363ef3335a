//! The HTTP server as one thing to start and to stop.
//!
//! Leaves connections to `listener`. Easy to get wrong: a stop that waits for ever on a client that reads nothing; what
//! is left at the deadline is cut off and counted.
use super::connection::listener;
use super::connection::listener::Stop;
use super::pipeline::Pipeline;
use super::router;
use super::state::AppState;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::task::TaskTracker;

/// An address that is ours before anything else is started, so that a port in use is the first thing we learn.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Binds; port 0 picks a free one.
    ///
    /// # Errors
    /// The system's, such as an address in use.
    pub fn new(address: SocketAddr) -> io::Result<Self> {
        let listener = listener::bind(address)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A server that accepts connections.
pub struct Server {
    stop: Stop,
    accepting: JoinHandle<()>,
    connections: TaskTracker,
}

impl Server {
    /// Starts to accept.
    pub fn start(bound: Bound, state: AppState) -> Self {
        let (stop, connections) = (Stop::default(), TaskTracker::new());
        let pipeline = Pipeline { router: router::routes(state.clone()), state };
        let accepting = tokio::spawn(listener::serve(bound.listener, pipeline, stop.clone(), connections.clone()));
        Self { stop, accepting, connections }
    }

    /// Stops accepting, lets running requests be answered, and cuts off what is left after `within`. Returns the
    /// number of connections that were cut off.
    pub async fn stop(self, within: Duration) -> usize {
        self.stop.gracefully.cancel();
        if let Err(error) = self.accepting.await {
            log::error!("the accept loop was lost error={error}");
        }
        self.connections.close();
        if timeout(within, self.connections.wait()).await.is_ok() {
            return 0;
        }
        let left = self.connections.len();
        self.stop.now.cancel();
        self.connections.wait().await;
        left
    }
}
