//! The bytes of one connection to a PostgreSQL, read as they pass, and changed by nothing.
//!
//! The server's messages say two things that diesel and the driver keep to themselves: the SQLSTATE of an error, of which
//! diesel leaves the text alone, in the server's language; and whether an answer is still owed, which tells a connection that
//! works from one whose other end is gone. It leaves judging both to its callers. The one thing easy to get wrong: under TLS
//! the messages are inside the encrypted stream, so a [`Wire`] lies above it and the one below only passes bytes on.
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Bytes of an error that are kept: its SQLSTATE is the third field, behind two words.
const KEPT_OF_AN_ERROR: usize = 256;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// What is known of a connection from its bytes. Written by the task that drives it, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The server's process, as it says itself; 0 until it has.
    pid: AtomicI32,
    /// When that process began, by the server's clock: another one may be given the number later, or on another server.
    began_us: AtomicI64,
    /// The SQLSTATE of the last error, five bytes of ASCII.
    sqlstate: AtomicU64,
    /// Something was sent, and the server has not said since that it is ready for more.
    owed: AtomicBool,
    /// When a byte last passed, in either direction: microseconds since [`STARTED`].
    passed_us: AtomicU64,
    given_up: CancellationToken,
}

impl Line {
    /// The server's process.
    pub(crate) fn pid(&self) -> Option<i32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// When that process began.
    pub(super) fn began_us(&self) -> i64 {
        self.began_us.load(Ordering::Relaxed)
    }

    pub(super) fn set_process(&self, pid: i32, began_us: i64) {
        self.pid.store(pid, Ordering::Relaxed);
        self.began_us.store(began_us, Ordering::Relaxed);
    }

    /// The SQLSTATE of the last error since this was last asked.
    pub(crate) fn take_sqlstate(&self) -> Option<SqlState> {
        let bytes = self.sqlstate.swap(0, Ordering::Relaxed).to_be_bytes();
        std::str::from_utf8(&bytes[3..]).ok().filter(|_| bytes[3] != 0).map(SqlState::from_code)
    }

    /// For how long nothing has passed while the server owes an answer.
    pub(crate) fn silent_for(&self) -> Option<Duration> {
        let passed = Duration::from_micros(self.passed_us.load(Ordering::Relaxed));
        self.owed.load(Ordering::Relaxed).then(|| STARTED.elapsed().saturating_sub(passed))
    }

    /// Ends the connection from our side; whoever waits for an answer is told that it is closed.
    pub(crate) fn give_up(&self) {
        self.given_up.cancel();
    }

    /// Whether it was given up.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.is_cancelled()
    }

    fn passed(&self) {
        let now = u64::try_from(STARTED.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.passed_us.store(now, Ordering::Relaxed);
    }

    fn heard_an_error(&self, body: &[u8]) {
        let mut fields = body.split(|byte| *byte == 0);
        let code = fields.find_map(|field| field.strip_prefix(b"C")).filter(|code| code.len() == 5);
        if let Some(code) = code {
            let packed = code.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
            self.sqlstate.store(packed, Ordering::Relaxed);
        }
    }
}

/// What the server's bytes are.
pub(super) enum Reading {
    /// Not messages: they are encrypted.
    Nothing,
    /// The answer to the wish for TLS, one byte; then messages, unless it is granted.
    Negotiation,
    /// Messages.
    Messages(Message),
}

/// The message that is passing: its head, and so much of its body as is of interest.
#[derive(Default)]
pub(super) struct Message {
    head: Vec<u8>,
    left: usize,
    kept: Vec<u8>,
}

impl Reading {
    fn read(&mut self, mut bytes: &[u8], line: &Line) {
        if let (Self::Negotiation, Some((answer, rest))) = (&self, bytes.split_first()) {
            *self = if *answer == b'S' { Self::Nothing } else { Self::Messages(Message::default()) };
            bytes = rest;
        }
        if let Self::Messages(message) = self {
            line.passed();
            message.read(bytes, line);
        }
    }
}

impl Message {
    /// A message is a letter, four bytes of its length, which count themselves, and the rest.
    const HEAD: usize = 5;

    fn read(&mut self, mut bytes: &[u8], line: &Line) {
        while !bytes.is_empty() {
            if self.head.len() < Self::HEAD {
                let (some, rest) = bytes.split_at(bytes.len().min(Self::HEAD - self.head.len()));
                self.head.extend_from_slice(some);
                bytes = rest;
                if let [_, a, b, c, d] = self.head[..] {
                    self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                }
            } else {
                let (some, rest) = bytes.split_at(bytes.len().min(self.left));
                if self.head[0] == b'E' {
                    let room = KEPT_OF_AN_ERROR - self.kept.len();
                    self.kept.extend_from_slice(&some[..some.len().min(room)]);
                }
                self.left -= some.len();
                bytes = rest;
            }
            if self.head.len() == Self::HEAD && self.left == 0 {
                self.end(line);
            }
        }
    }

    fn end(&mut self, line: &Line) {
        match self.head[0] {
            b'E' => line.heard_an_error(&self.kept),
            // Ready for the next query.
            b'Z' => line.owed.store(false, Ordering::Relaxed),
            _ => {}
        }
        self.head.clear();
        self.kept.clear();
    }
}

/// A stream whose bytes are read as they pass.
pub(super) struct Wire<S> {
    stream: S,
    reading: Reading,
    line: Arc<Line>,
    given_up: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S, reading: Reading, line: Arc<Line>) -> Self {
        let given_up = Box::pin(line.given_up.clone().cancelled_owned());
        Self { stream, reading, line, given_up }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given_up.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the server stopped answering")));
        }
        let before = into.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, into))?;
        this.reading.read(&into.filled()[before..], &this.line);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, bytes))?;
        if matches!(this.reading, Reading::Messages(_)) {
            this.line.passed();
            this.line.owed.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Wire<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.stream.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn message(letter: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[letter][..], &length, body].concat()
    }

    fn error(code: &str) -> Vec<u8> {
        message(b'E', format!("SFEHLER\0VERROR\0C{code}\0MPlatte voll, {}\0\0", "x".repeat(2_000)).as_bytes())
    }

    #[test]
    fn the_sqlstate_of_an_error_is_heard_however_the_bytes_are_cut() {
        let bytes = [message(b'T', &[7; 40]), error("53100"), message(b'Z', b"E")].concat();
        for piece in 1..bytes.len() {
            let (line, mut reading) = (Line::default(), Reading::Messages(Message::default()));
            line.owed.store(true, Ordering::Relaxed);
            for some in bytes.chunks(piece) {
                reading.read(some, &line);
            }
            assert_eq!(line.take_sqlstate(), Some(SqlState::DISK_FULL), "in pieces of {piece}");
            assert_eq!((line.take_sqlstate(), line.silent_for()), (None, None), "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_encrypted_is_not_taken_for_messages() {
        let line = Line::default();
        let mut reading = Reading::Negotiation;
        reading.read(&[&b"S"[..], &error("53100")].concat(), &line);
        assert_eq!(line.take_sqlstate(), None);
        let mut reading = Reading::Negotiation;
        reading.read(&[&b"N"[..], &error("53100")].concat(), &line);
        assert_eq!(line.take_sqlstate(), Some(SqlState::DISK_FULL));
    }

    #[tokio::test]
    async fn an_answer_is_owed_from_a_question_to_the_servers_readiness_and_giving_up_ends_the_wait() {
        let (ours, mut server) = tokio::io::duplex(1_000);
        let line = Arc::new(Line::default());
        let mut wire = Wire::new(ours, Reading::Messages(Message::default()), line.clone());
        assert_eq!(line.silent_for(), None);
        wire.write_all(b"Q").await.unwrap();
        assert!(line.silent_for().is_some(), "a question is open");
        server.write_all(&message(b'C', b"SELECT 1\0")).await.unwrap();
        wire.read_exact(&mut [0; 14]).await.unwrap();
        assert!(line.silent_for().is_some(), "a part of an answer is none");
        server.write_all(&message(b'Z', b"I")).await.unwrap();
        wire.read_exact(&mut [0; 6]).await.unwrap();
        assert_eq!(line.silent_for(), None);
        line.give_up();
        let ended = wire.read_u8().await.unwrap_err();
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
    }
}
