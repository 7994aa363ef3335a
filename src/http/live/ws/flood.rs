//! Counts what a client sends that is no message: the parser answers pings, drops pongs and joins fragments by itself,
//! without a limit of their number.
//!
//! Leaves messages to the dialogue's rate. Easy to get wrong: a control frame may stand between the fragments of a
//! message, so its bytes must not count as theirs, nor may it forgive them.
use super::rate::Bucket;
use std::time::Instant;

/// Control frames a second, and at once, that one connection may send.
const CONTROL_RATE: u32 = 20;
const CONTROL_BURST: u32 = 1_000;
/// Bytes of a frame's head from a client, the shortest one.
const HEAD: usize = 6;
/// Bytes that fragments may have around twice the longest message.
const SLACK: usize = 64 * 1024;

/// The client sends too much that is no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a flood of frames that are no message")]
pub(super) struct Flood;

/// What one connection has sent beside messages.
#[derive(Debug)]
pub(super) struct Counter {
    /// Bytes since the last whole message, control frames not among them.
    bytes: usize,
    control: Bucket,
}

impl Counter {
    pub(super) fn new(now: Instant) -> Self {
        Self { bytes: 0, control: Bucket::new(CONTROL_RATE, CONTROL_BURST, now) }
    }

    /// So many bytes came; a message may have `longest`.
    pub(super) fn came(&mut self, bytes: usize, longest: usize) -> Result<(), Flood> {
        self.bytes += bytes;
        if self.bytes > longest.saturating_mul(2).saturating_add(SLACK) { Err(Flood) } else { Ok(()) }
    }

    /// A message is whole.
    pub(super) fn message(&mut self) {
        self.bytes = 0;
    }

    /// A ping or a pong with so much in it.
    pub(super) fn control(&mut self, payload: usize, now: Instant) -> Result<(), Flood> {
        self.bytes = self.bytes.saturating_sub(payload + HEAD);
        self.control.take(now).map_err(|_wait| Flood)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn fragments_without_a_message_and_floods_of_pongs_are_noticed_and_honest_ones_are_not() {
        let start = Instant::now();
        let mut empty = Counter::new(start);
        let frames = (0..100_000).position(|_| empty.came(HEAD, 4_096).is_err());
        assert_eq!(frames, Some((2 * 4_096 + SLACK) / HEAD));

        let mut pongs = Counter::new(start);
        let noticed = (0..5_000).position(|_| pongs.control(0, start).is_err());
        assert_eq!(noticed, Some(CONTROL_BURST as usize));

        // A year of one pong every 25 s, and then a message in many fragments with pings between.
        let mut honest = Counter::new(start);
        for n in 0..1_261_440_u64 {
            honest.came(HEAD + 8, 4_096).unwrap();
            honest.control(8, start + Duration::from_secs(25 * n)).unwrap();
        }
        for _ in 0..1_000 {
            honest.came(HEAD + 4, 4_096).unwrap();
        }
        honest.message();
        honest.came(HEAD + 4_096, 4_096).unwrap();
    }
}
