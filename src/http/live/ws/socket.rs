//! One connection's socket: reads frames for a [`Listener`], writes the backlog when the socket takes it.
//!
//! A hand-written future, so that an idle connection costs little. tungstenite only parses: what it writes by itself
//! (pongs, the answer to a close) goes to the outbox. Easy to get wrong: after our own close frame the client's
//! answer must still be read, but nothing else obeyed.
use super::flood::{Counter, Flood};
use crate::actors::sockets::Peer;
use crate::protocol::{CloseCode, frame};
use bytes::Bytes;
use std::{
    io::{self, Read, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::tcp::OwnedReadHalf,
};
use tokio_tungstenite::tungstenite::{
    Error as WsError, Message,
    error::ProtocolError,
    protocol::{CloseFrame, Role, WebSocket, WebSocketConfig},
};

/// Bytes read at once. Small: every idle connection keeps it.
const READ_BUFFER: usize = 1024;
/// Messages handled before other tasks get a turn.
const MESSAGES_PER_TURN: usize = 64;

/// When who sent a flood may come back.
const RETRY_AFTER_MS: u64 = 1_000;

/// Who is told what has arrived, and answers through the peer.
pub trait Listener: Unpin {
    /// A text message.
    fn text(&mut self, text: &str);
    /// A binary message.
    fn binary(&mut self, bytes: &[u8]);
    /// The longest message it will hear now, in bytes; past it the connection is closed with 4413.
    fn longest(&self) -> usize;
    /// Whether nothing more is read while bytes wait to be written.
    fn waits_for_writes(&self) -> bool {
        false
    }
}

/// The connection's task: ends when the connection has.
pub struct Socket<L> {
    frames: WebSocket<Pipe>,
    peer: Arc<Peer>,
    listener: L,
    longest: usize,
    ending: bool,
}

/// What tungstenite reads from and writes to.
struct Pipe {
    peer: Arc<Peer>,
    half: OwnedReadHalf,
    /// The task to wake when there is more to read.
    waker: Waker,
    counter: Counter,
    longest: usize,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // Not `try_read`: this one knows that a read which does not fill the buffer was the last for now.
        let mut buffer = ReadBuf::new(buffer);
        let mut cx = Context::from_waker(&self.waker);
        match Pin::new(&mut self.half).poll_read(&mut cx, &mut buffer) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(read) => {
                read?;
                self.peer.heard();
                let read = buffer.filled().len();
                self.counter.came(read, self.longest).map_err(io::Error::other)?;
                Ok(read)
            }
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if frame::is_close(bytes) {
            self.peer.answer_close(closing_answer(bytes));
        } else {
            self.peer.control(Bytes::copy_from_slice(bytes));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<L: Listener> Socket<L> {
    /// A socket that is read from `half` and written to by `peer`; `first` was read during the upgrade.
    pub fn new(peer: Arc<Peer>, half: OwnedReadHalf, first: &[u8], listener: L) -> Self {
        let longest = listener.longest();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let counter = Counter::new(Instant::now());
        let pipe = Pipe { peer: peer.clone(), half, waker: Waker::noop().clone(), counter, longest };
        let frames = if first.is_empty() {
            WebSocket::from_raw_socket(pipe, Role::Server, Some(config))
        } else {
            WebSocket::from_partially_read(pipe, first.to_vec(), Role::Server, Some(config))
        };
        Self { frames, peer, listener, longest, ending: false }
    }

    /// What has arrived was not a frame, or the socket is gone. True when the session is over at once.
    fn failed(&mut self, error: &WsError) -> bool {
        let code = match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => {
                self.ending = true;
                return false;
            }
            WsError::Capacity(_) => CloseCode::TooBig,
            WsError::Utf8(_) => CloseCode::NotUtf8,
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return true,
            WsError::Protocol(_) => CloseCode::Protocol,
            WsError::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Flood>()) => {
                self.flooded();
                return false;
            }
            _ => return true,
        };
        self.peer.close(code, None);
        self.ending = true;
        false
    }

    fn flooded(&mut self) {
        self.peer.close(CloseCode::RateLimited, Some(RETRY_AFTER_MS));
        self.ending = true;
    }

    /// Whether the client ends the connection of its own accord and in order: a page that is left, a program that closes.
    fn is_farewell(&self, said: Option<&CloseFrame>) -> bool {
        !self.peer.is_closed() && said.is_none_or(|said| matches!(u16::from(said.code), 1000 | 1001))
    }

    /// The listener may hear longer messages once it knows the client.
    fn stretch(&mut self) {
        let longest = self.listener.longest();
        if longest != self.longest {
            self.longest = longest;
            self.frames.get_mut().longest = longest;
            self.frames.set_config(|config| {
                config.max_message_size = Some(longest);
                config.max_frame_size = Some(longest);
            });
        }
    }
}

/// The answer to the client's close frame, from the parser's: the same code, and a reason in this protocol's form. The
/// parser answers a code that may not be on the wire with 1002.
fn closing_answer(parsers: &[u8]) -> Bytes {
    match frame::closing(parsers) {
        Some((code, _)) if code == CloseCode::Protocol.number() => {
            frame::close(code, &CloseCode::Protocol.reason(None))
        }
        Some((code, _)) => frame::close(code, &CloseCode::Normal.reason(None)),
        None => Bytes::copy_from_slice(parsers),
    }
}

impl<L: Listener> Future for Socket<L> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.frames.get_mut().waker.clone_from(cx.waker());
        for _ in 0..MESSAGES_PER_TURN {
            if this.peer.is_dead() {
                return Poll::Ready(());
            }
            match this.peer.poll_flush(cx) {
                Err(_) => return Poll::Ready(()),
                Ok(true) if this.ending => return Poll::Ready(()),
                Ok(_) if this.ending => return Poll::Pending,
                Ok(false) if this.listener.waits_for_writes() => return Poll::Pending,
                Ok(_) => {}
            }
            match this.frames.read() {
                Ok(Message::Text(text)) => {
                    this.frames.get_mut().counter.message();
                    this.listener.text(text.as_str());
                    this.stretch();
                }
                Ok(Message::Binary(bytes)) => {
                    this.frames.get_mut().counter.message();
                    this.listener.binary(&bytes);
                }
                Ok(Message::Ping(payload) | Message::Pong(payload)) => {
                    if this.frames.get_mut().counter.control(payload.len(), Instant::now()).is_err() {
                        this.flooded();
                    }
                }
                Ok(Message::Close(said)) if this.is_farewell(said.as_ref()) => this.peer.farewell(),
                Ok(_) => {}
                Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) if this.failed(&error) => return Poll::Ready(()),
                Err(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
