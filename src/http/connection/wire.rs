//! The TCP stream under an HTTP connection: ends it when what waits to be written makes no progress, or when the client
//! floods it with frames ([`Frames`]).
//!
//! Leaves HTTP to hyper, which has no deadline for writes: it waits for ever for a client that reads nothing. Easy to get
//! wrong: a full buffer of the kernel looks like a standstill for minutes when it is large and the client slow, so little
//! is given to the kernel ahead of what it can send.
use super::frames::Frames;
use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// Unsent bytes that the kernel takes ahead.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 64 * 1024;

/// A connection's stream.
pub(in crate::http) struct Wire {
    stream: TcpStream,
    patience: Duration,
    /// Runs while bytes wait to be written.
    standstill: Option<Pin<Box<Sleep>>>,
    frames: Frames,
}

impl Wire {
    /// A stream on which writes may stand still for `patience`.
    pub(crate) fn new(stream: TcpStream, patience: Duration) -> Self {
        limit_unsent(&stream, true);
        Self { stream, patience, standstill: None, frames: Frames::new(Instant::now()) }
    }

    /// The stream alone, for another protocol.
    pub(crate) fn into_inner(self) -> TcpStream {
        limit_unsent(&self.stream, false);
        self.stream
    }

    /// A write was tried.
    fn wrote(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.standstill = None;
            if let Ok(bytes) = written {
                self.frames.sent(bytes);
            }
            return Poll::Ready(written);
        }
        let patience = self.patience;
        let standstill = self.standstill.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(standstill.as_mut().poll(cx));
        count_cut("stalled");
        // A reset: an orderly end would wait behind what the client does not read, in the kernel, for minutes.
        if let Err(error) = socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)) {
            log::debug!("a stalled connection is left to the kernel error={error}");
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing")))
    }
}

/// A connection or a stream of one was ended for this reason.
pub(in crate::http) fn count_cut(reason: &'static str) {
    metrics::counter!("tieout_http_cut_total", "reason" => reason).increment(1);
}

/// Without the limit, or where there is no such option, a slow client is noticed later.
#[cfg(target_os = "linux")]
fn limit_unsent(stream: &TcpStream, limited: bool) {
    let most = if limited { UNSENT_BYTES } else { 0 };
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(most) {
        log::debug!("a connection's unsent bytes have no limit error={error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn limit_unsent(_: &TcpStream, _: bool) {}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        match self.frames.received(&buffer.filled()[before..], Instant::now) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(_flood) => {
                count_cut("flood");
                Poll::Ready(Err(io::Error::other("a flood of frames that ask for nothing")))
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.wrote(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
