//! Counts the frames of an HTTP/2 connection that carry neither a request nor its data: a flood of them costs time and
//! asks for nothing, and the library below answers or drops each without a limit.
//!
//! Leaves reading to `wire` and meaning to h2; of every frame only the head is looked at. Easy to get wrong: an honest
//! client sends such frames too, in step with what it asks for and what it is sent, so those earn them.
use std::time::{Duration, Instant};

/// What a connection begins with when it is HTTP/2.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Length of a frame's head.
const HEAD: usize = 9;
/// Frames that may come at once.
const BURST: u64 = 10_000;
/// Frames a second that may come without reason.
const PER_SECOND: u64 = 200;
/// Frames that a request earns: its window, its priority, its end.
const PER_REQUEST: u64 = 16;
/// Bytes sent that earn one: a client that makes its window larger by less each time makes work.
const BYTES_SENT: u64 = 512;

const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// A client sends too many frames that ask for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flood;

/// Counts the frames of one connection.
#[derive(Debug)]
pub(super) struct Frames {
    place: Place,
    credit: u64,
    sent: u64,
    refilled: Instant,
}

/// Where in the bytes the next one stands.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// Not HTTP/2.
    Elsewhere,
    Head([u8; HEAD], usize),
    /// So many bytes of a frame are to come.
    Payload(usize),
}

impl Frames {
    pub(super) fn new(now: Instant) -> Self {
        Self { place: Place::Preface(0), credit: BURST, sent: 0, refilled: now }
    }

    /// The client was sent so much.
    pub(super) fn sent(&mut self, bytes: usize) {
        if matches!(self.place, Place::Elsewhere) {
            return;
        }
        self.sent += bytes as u64;
        self.earn(self.sent / BYTES_SENT);
        self.sent %= BYTES_SENT;
    }

    /// The client sent this.
    ///
    /// # Errors
    /// [`Flood`]: the connection is to be closed.
    pub(super) fn received(&mut self, mut bytes: &[u8], now: impl Fn() -> Instant) -> Result<(), Flood> {
        while let Some(first) = bytes.first() {
            match self.place {
                Place::Elsewhere => return Ok(()),
                Place::Preface(at) if *first != PREFACE[at] => self.place = Place::Elsewhere,
                Place::Preface(at) => {
                    bytes = &bytes[1..];
                    self.place =
                        if at + 1 < PREFACE.len() { Place::Preface(at + 1) } else { Place::Head([0; HEAD], 0) };
                }
                Place::Head(mut head, filled) => {
                    let more = bytes.len().min(HEAD - filled);
                    head[filled..filled + more].copy_from_slice(&bytes[..more]);
                    bytes = &bytes[more..];
                    self.place = Place::Head(head, filled + more);
                    if filled + more == HEAD {
                        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
                        self.place = if length == 0 { Place::Head([0; HEAD], 0) } else { Place::Payload(length) };
                        self.count(head[3], length, &now)?;
                    }
                }
                Place::Payload(left) => {
                    let more = bytes.len().min(left);
                    bytes = &bytes[more..];
                    self.place = if more == left { Place::Head([0; HEAD], 0) } else { Place::Payload(left - more) };
                }
            }
        }
        Ok(())
    }

    fn count(&mut self, kind: u8, length: usize, now: &impl Fn() -> Instant) -> Result<(), Flood> {
        match kind {
            HEADERS => self.earn(PER_REQUEST),
            DATA if length > 0 => {}
            _ if self.credit > 0 => self.credit -= 1,
            _ => {
                let now = now();
                let earned = (now - self.refilled).as_millis() as u64 * PER_SECOND / 1_000;
                if earned == 0 {
                    return Err(Flood);
                }
                self.refilled += Duration::from_millis(earned * 1_000 / PER_SECOND);
                self.earn(earned);
                self.credit -= 1;
            }
        }
        Ok(())
    }

    fn earn(&mut self, frames: u64) {
        self.credit = (self.credit + frames).min(BURST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRIORITY: u8 = 2;
    const WINDOW_UPDATE: u8 = 8;
    const UNKNOWN: u8 = 0xbb;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let length = (payload as u32).to_be_bytes();
        let head = [length[1], length[2], length[3], kind, 0, 0, 0, 0, 1];
        head.into_iter().chain(std::iter::repeat_n(0, payload)).collect()
    }

    /// Frames until the flood is noticed; none when it never is. The bytes come in pieces of `piece`.
    fn noticed(kind: u8, payload: usize, most: usize, piece: usize) -> Option<usize> {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        frames.received(PREFACE, || start).unwrap();
        let one = frame(kind, payload);
        (1..=most).find(|_| one.chunks(piece).any(|piece| frames.received(piece, || start).is_err()))
    }

    #[test]
    fn a_flood_of_frames_that_ask_for_nothing_is_noticed_however_it_is_cut() {
        for (kind, payload) in
            [(PRIORITY, 5), (UNKNOWN, 0), (UNKNOWN, 1_000), (4, 6), (6, 8), (WINDOW_UPDATE, 4), (DATA, 0)]
        {
            for piece in [1, 7, 4_096] {
                assert_eq!(noticed(kind, payload, 20_000, piece), Some(BURST as usize + 1), "kind {kind}");
            }
        }
        assert_eq!(noticed(HEADERS, 40, 20_000, 4_096), None);
        assert_eq!(noticed(DATA, 1, 20_000, 4_096), None);
    }

    #[test]
    fn what_is_asked_for_and_what_is_sent_earns_frames_and_so_does_time() {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        frames.received(PREFACE, || start).unwrap();
        for _ in 0..50_000 {
            frames.sent(16 * 1024);
            frames.received(&frame(WINDOW_UPDATE, 4).repeat(2), || start).unwrap();
            frames.received(&[frame(HEADERS, 30), frame(PRIORITY, 5), frame(3, 4)].concat(), || start).unwrap();
        }
        let later = |n: u64| move || start + Duration::from_millis(n * 10);
        for n in 0..50_000 {
            frames.received(&frame(6, 8), later(n)).unwrap();
        }
    }

    #[test]
    fn what_is_no_http2_is_not_looked_at() {
        let start = Instant::now();
        let mut frames = Frames::new(start);
        assert!((0..50_000).all(|_| frames.received(b"PRI * HTTP/1.1\r\n\r\n\0\0\0\0\0\0\0\0", || start).is_ok()));
    }
}
