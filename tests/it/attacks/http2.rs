//! A client of HTTP/2 that writes frames as it likes: no library would shut a window or send a million priorities. Leaves
//! what they mean to the tests. Easy to get wrong: an answer's bytes must be granted back, on the stream and in all, or the
//! client itself stalls.
use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
pub(super) const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

/// One connection.
pub(super) struct Http2 {
    pub writing: OwnedWriteHalf,
    reading: OwnedReadHalf,
    authority: String,
}

/// A frame that came.
#[derive(Debug)]
pub(super) struct Frame {
    pub kind: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// A frame as bytes.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

impl Http2 {
    /// Connects; the server may send `window` bytes on each stream before it is granted more.
    pub(super) async fn connect(addr: SocketAddr, window: u32) -> Http2 {
        let stream = TcpStream::connect(addr).await.expect("the server accepts");
        let (reading, mut writing) = stream.into_split();
        let setting = [&INITIAL_WINDOW_SIZE[..], &window.to_be_bytes()].concat();
        writing.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("the preface is sent");
        writing.write_all(&frame(SETTINGS, 0, 0, &setting)).await.expect("the settings are sent");
        Http2 { writing, reading, authority: format!("localhost:{}", addr.port()) }
    }

    /// Sends a GET on this stream.
    pub(super) async fn get(&mut self, stream: u32, path: &str) {
        const END_STREAM_AND_HEADERS: u8 = 5;
        // Indexed `:method GET` and `:scheme http`, then `:path` and `:authority` as they are.
        let mut head = vec![0x82, 0x86, 0x04, u8::try_from(path.len()).expect("a short path")];
        head.extend(path.bytes());
        head.extend([0x01, u8::try_from(self.authority.len()).expect("a short name")]);
        head.extend(self.authority.bytes());
        self.writing
            .write_all(&frame(HEADERS, END_STREAM_AND_HEADERS, stream, &head))
            .await
            .expect("a request is sent");
    }

    /// Lets the server send so many more bytes on this stream, and in all.
    pub(super) async fn grant(&mut self, stream: u32, bytes: u32) {
        let more = bytes.to_be_bytes();
        let both = [frame(WINDOW_UPDATE, 0, stream, &more), frame(WINDOW_UPDATE, 0, 0, &more)].concat();
        self.writing.write_all(&both).await.expect("a grant is sent");
    }

    /// The next frame, with settings and pings answered; none when the connection has ended.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.reading.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.reading.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            match (head[3], head[4] & ACK) {
                (SETTINGS | PING, 0) => {
                    let echo = if head[3] == PING { &payload[..] } else { &[] };
                    // The connection may have ended meanwhile; the next read says so.
                    let _sent = self.writing.write_all(&frame(head[3], ACK, 0, echo)).await;
                }
                (SETTINGS | PING, _) => {}
                (kind, _) => return Some(Frame { kind, stream, payload }),
            }
        }
    }

    /// Waits until the connection has ended; gives the streams that were reset before.
    pub(super) async fn ended(&mut self, within: Duration) -> Vec<u32> {
        let mut reset = Vec::new();
        let all = async {
            while let Some(frame) = self.next().await {
                if frame.kind == RST_STREAM {
                    reset.push(frame.stream);
                }
            }
        };
        crate::support::within(within, "the HTTP/2 connection to be ended", all).await;
        reset
    }
}
