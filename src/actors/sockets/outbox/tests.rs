//! The outbox against a socket that takes what it is told to.
use super::*;
use crate::actors::rooms::limits::Limits;
use std::cell::{Cell, RefCell};

/// A socket that takes `room` bytes and then blocks.
#[derive(Default)]
struct Pipe {
    room: Cell<usize>,
    got: RefCell<Vec<u8>>,
}

impl Wire for Pipe {
    fn write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
        let taken = bytes.len().min(self.room.get());
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room.set(self.room.get() - taken);
        self.got.borrow_mut().extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }
}

fn frames(kind: Kind, texts: &[&str]) -> Batch {
    let frame = |text: &&str| RoomFrame { bytes: Bytes::copy_from_slice(text.as_bytes()), kind };
    Batch::new(texts.iter().map(frame).collect())
}

fn shared(queue_bytes: usize) -> Shared {
    Shared::new(Limits { queue_bytes, ..Limits::default() })
}

#[test]
fn a_half_written_frame_is_finished_before_control_and_control_before_the_rest() {
    let (pipe, shared, room) = (Pipe::default(), shared(1000), ProjectId::generate());
    let mut outbox = Outbox::default();
    pipe.room.set(5);
    assert_eq!(outbox.deliver(&pipe, &shared, room, &frames(Kind::Durable, &["aaa", "bbb", "ccc"])), After::Waiting);
    assert_eq!(outbox.control(&pipe, &shared, "PONG".into()), After::Waiting);
    pipe.room.set(1000);
    outbox.flush(&pipe, &shared).unwrap();
    assert!(outbox.is_empty());
    assert_eq!(String::from_utf8(pipe.got.take()).unwrap(), "aaabbbPONGccc");
    assert_eq!(shared.budget.used(), 0);
}

#[test]
fn the_newest_of_a_key_replaces_the_one_that_waits() {
    let (pipe, shared, room) = (Pipe::default(), shared(1000), ProjectId::generate());
    let mut outbox = Outbox::default();
    pipe.room.set(1);
    for text in ["x1", "a1", "a2", "a3"] {
        let _ = outbox.deliver(&pipe, &shared, room, &frames(Kind::Keyed(7), &[text]));
    }
    pipe.room.set(1000);
    outbox.flush(&pipe, &shared).unwrap();
    assert_eq!(String::from_utf8(pipe.got.take()).unwrap(), "x1a3");
}

#[test]
fn a_full_queue_breaks_the_largest_room_tells_once_and_stays_in_bounds() {
    let (pipe, shared, large, small) = (Pipe::default(), shared(600), ProjectId::generate(), ProjectId::generate());
    let mut outbox = Outbox::default();
    let _ = outbox.deliver(&pipe, &shared, small, &frames(Kind::Durable, &["small"]));
    for _ in 0..100 {
        let _ = outbox.deliver(
            &pipe,
            &shared,
            large,
            &frames(Kind::Durable, &["0123456789012345678901234567890123456789"]),
        );
        let _ = outbox.deliver(&pipe, &shared, large, &frames(Kind::Ephemeral, &["ephemeral"]));
    }
    assert!(outbox.waiting_bytes() < 600 + 200, "{} bytes", outbox.waiting_bytes());
    assert!(outbox.stuck_since().unwrap().1.is_some(), "it is known to have been full");
    pipe.room.set(10_000);
    outbox.flush(&pipe, &shared).unwrap();
    let got = String::from_utf8_lossy(&pipe.got.take()).into_owned();
    assert_eq!(got.matches("ResyncRequired").count(), 1, "{got}");
    assert!(got.contains("small"), "the other room is untouched: {got}");
    outbox.forget_room(&shared, large);
    let _ = outbox.deliver(&pipe, &shared, large, &frames(Kind::Durable, &["again"]));
    assert!(String::from_utf8_lossy(&pipe.got.take()).contains("again"), "after joining again it flows");
    assert_eq!(shared.budget.used(), 0);
}

#[test]
fn nothing_follows_a_close_frame() {
    let (pipe, shared, room) = (Pipe::default(), shared(1000), ProjectId::generate());
    let mut outbox = Outbox::default();
    let _ = outbox.deliver(&pipe, &shared, room, &frames(Kind::Durable, &["waits"]));
    let _ = outbox.close(&pipe, &shared, 4503, "bye");
    let _ = outbox.deliver(&pipe, &shared, room, &frames(Kind::Durable, &["late"]));
    let _ = outbox.control(&pipe, &shared, "late".into());
    pipe.room.set(1000);
    outbox.flush(&pipe, &shared).unwrap();
    let got = pipe.got.take();
    assert!(got.ends_with(b"bye") && !String::from_utf8_lossy(&got).contains("late"));
    outbox.clear(&shared);
    assert_eq!(shared.budget.used(), 0);
}
