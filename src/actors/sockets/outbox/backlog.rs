//! What waits of one connection: its lanes in the order in which they leave, and what they count.
//!
//! What is queued and what is dropped is the outbox's to decide. Easy to get wrong: every byte in a lane is counted here
//! and in the budget of all connections, on the way in and on the way out.
use crate::actors::rooms::limits::{Limits, Shared};
use crate::protocol::ids::ProjectId;
use bytes::{Buf, Bytes};
use smallvec::SmallVec;
use std::{collections::VecDeque, time::Instant};

#[derive(Debug)]
pub(super) struct Ordered {
    pub room: ProjectId,
    pub durable: bool,
    pub bytes: Bytes,
}

/// What waits for the socket. Boxed and absent while all is written, so an idle connection pays a pointer.
#[derive(Debug)]
pub(super) struct Backlog {
    pub head: Bytes,
    pub control: VecDeque<Bytes>,
    pub control_bytes: usize,
    pub ordered: VecDeque<Ordered>,
    pub keyed: Vec<(ProjectId, u128, Bytes)>,
    pub bytes: usize,
    pub since: Instant,
    pub progress_at: Instant,
    pub full_since: Option<Instant>,
}

impl Backlog {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            head: Bytes::new(),
            control: VecDeque::new(),
            control_bytes: 0,
            ordered: VecDeque::new(),
            keyed: Vec::new(),
            bytes: 0,
            since: now,
            progress_at: now,
            full_since: None,
        }
    }

    /// All of it, in the order in which it leaves.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Bytes> {
        let head = (!self.head.is_empty()).then_some(&self.head);
        head.into_iter()
            .chain(&self.control)
            .chain(self.ordered.iter().map(|o| &o.bytes))
            .chain(self.keyed.iter().map(|(_, _, bytes)| bytes))
    }

    pub(super) fn put_head(&mut self, bytes: Bytes, shared: &Shared) {
        self.count(bytes.len(), shared);
        self.head = bytes;
    }

    pub(super) fn frames(&self) -> usize {
        self.ordered.len() + self.keyed.len()
    }

    pub(super) fn fill(&self, limits: &Limits, shared: &Shared) -> f64 {
        let bytes = self.bytes as f64 / limits.queue_bytes as f64;
        let frames = self.frames() as f64 / limits.queue_frames as f64;
        bytes.max(frames).max(shared.budget.fill())
    }

    pub(super) fn is_full(&self, limits: &Limits, shared: &Shared, size: usize) -> bool {
        self.bytes + size > limits.queue_bytes || self.frames() >= limits.queue_frames || shared.budget.fill() >= 1.0
    }

    pub(super) fn count(&mut self, size: usize, shared: &Shared) {
        self.bytes += size;
        shared.budget.take(size);
    }

    pub(super) fn uncount(&mut self, size: usize, shared: &Shared) {
        self.bytes -= size;
        shared.budget.give_back(size);
    }

    pub(super) fn largest_room(&self) -> Option<ProjectId> {
        let mut sums: SmallVec<[(ProjectId, usize); 4]> = SmallVec::new();
        for entry in &self.ordered {
            match sums.iter_mut().find(|(room, _)| *room == entry.room) {
                Some((_, sum)) => *sum += entry.bytes.len(),
                None => sums.push((entry.room, entry.bytes.len())),
            }
        }
        sums.into_iter().max_by_key(|(_, sum)| *sum).map(|(room, _)| room)
    }

    pub(super) fn drop_rooms(&mut self, shared: &Shared, which: impl Fn(ProjectId) -> bool) {
        self.drop_frames(shared, |room, _| which(room));
    }

    /// `which` is asked with the room, and whether the frame is durable.
    pub(super) fn drop_frames(&mut self, shared: &Shared, which: impl Fn(ProjectId, bool) -> bool) {
        let mut freed = 0;
        self.ordered.retain(|entry| {
            let drop = which(entry.room, entry.durable);
            freed += if drop { entry.bytes.len() } else { 0 };
            !drop
        });
        self.keyed.retain(|(room, _, bytes)| {
            let drop = which(*room, false);
            freed += if drop { bytes.len() } else { 0 };
            !drop
        });
        self.uncount(freed, shared);
    }

    /// `written` bytes left in the order of [`Backlog::waiting`].
    pub(super) fn consume(&mut self, written: usize, shared: &Shared) {
        self.uncount(written, shared);
        self.progress_at = Instant::now();
        if self.bytes < shared.limits.queue_bytes / 2 && self.frames() < shared.limits.queue_frames / 2 {
            self.full_since = None;
        }
        let mut left = written;
        let in_head = left.min(self.head.len());
        self.head.advance(in_head);
        left -= in_head;
        while left > 0 {
            let mut bytes = if let Some(bytes) = self.control.pop_front() {
                self.control_bytes -= bytes.len();
                bytes
            } else if let Some(entry) = self.ordered.pop_front() {
                entry.bytes
            } else {
                self.keyed.remove(0).2
            };
            let taken = left.min(bytes.len());
            bytes.advance(taken);
            left -= taken;
            self.head = bytes;
        }
    }
}
