//! The way to one host of a PostgreSQL: a TCP connection, or a socket of this machine.
//!
//! The driver's own connecting hides the stream, whose bytes [`super::wire`] has to see. It leaves TLS and logging in to the
//! connector. The one thing easy to get wrong: a peer that is gone says nothing, so the kernel is told to ask.
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// PostgreSQL's port where the address names none.
const PORT: u16 = 5432;
/// How long connecting may take where the configuration does not say.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes to and from the server.
pub(super) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Does the same with whichever it is.
macro_rules! either {
    ($socket:expr, |$stream:ident| $done:expr) => {
        match $socket.get_mut() {
            Socket::Tcp($stream) => $done,
            Socket::Unix($stream) => $done,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self, |stream| Pin::new(stream).poll_read(cx, into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self, |stream| Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, |stream| Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, |stream| Pin::new(stream).poll_shutdown(cx))
    }
}

/// A stream to the one host of `config`, and the name that its certificate must have.
pub(super) async fn connect(config: &Config) -> io::Result<(Socket, String)> {
    let limit = config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT);
    let port = config.get_ports().first().copied().unwrap_or(PORT);
    let host = config.get_hosts().first();
    if let Some(Host::Unix(folder)) = host {
        let stream = in_time(limit, UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))).await?;
        return Ok((Socket::Unix(stream), "localhost".into()));
    }
    let name = match host {
        Some(Host::Tcp(name)) => name.clone(),
        _ => String::new(),
    };
    let address = config.get_hostaddrs().first().map_or_else(|| name.clone(), ToString::to_string);
    let mut refused = io::Error::new(io::ErrorKind::NotFound, format!("the name {address} has no address"));
    for address in lookup_host((&*address, port)).await? {
        match in_time(limit, TcpStream::connect(address)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                keep_alive(&stream, config)?;
                return Ok((Socket::Tcp(stream), name));
            }
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

fn keep_alive(stream: &TcpStream, config: &Config) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
    if !config.get_keepalives() {
        return Ok(());
    }
    let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
    if let Some(interval) = config.get_keepalives_interval() {
        keepalive = keepalive.with_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        keepalive = keepalive.with_retries(retries);
    }
    socket.set_tcp_keepalive(&keepalive)
}

async fn in_time<S>(limit: Duration, connecting: impl Future<Output = io::Result<S>>) -> io::Result<S> {
    let silent = |_elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out"));
    timeout(limit, connecting).await.unwrap_or_else(silent)
}
