//! A shard's queue, both ways: jobs from the hub, requests from its connections to the hub.
//!
//! Requests stay here until the hub takes them, so that one nudge brings many and a panic loses none. A shard that
//! naps is not woken: it looks when its nap is over.
//! Easy to get wrong: a full queue may drop an ephemeral frame, but a durable one must leave a mark
//! ([`ShardCommand::Break`]) in its place, or members would miss an event without knowing.
use super::commands::{Reply, ShardCommand};
use super::peer::Pending;
use crate::actors::rooms::messages::Request;
use crate::protocol::{
    ErrorCode,
    ids::{ConnId, ProjectId},
};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Frames that may wait for a shard. Past it ephemeral ones are dropped and durable ones become one mark per room.
pub const MAX_QUEUED_FRAMES: usize = 8_192;
/// Answers that may wait for a shard; past it the hub takes no more of its requests.
pub const MAX_QUEUED_ANSWERS: usize = 16_384;
/// Requests that may wait for the hub; past it a connection is told to try again.
pub const MAX_REQUESTS: usize = 8_192;
/// Requests the hub handles in one turn.
const REQUESTS_PER_TURN: usize = 128;

#[derive(Debug, Default)]
struct Queued {
    jobs: VecDeque<ShardCommand>,
    frames: usize,
    answers: usize,
    marked: HashSet<ProjectId>,
    generation: u64,
    requests: VecDeque<Request>,
    /// The hub knows that requests wait.
    nudged: bool,
    /// Among the requests are some that may not wait for company.
    prompt: bool,
    /// The shard sleeps and will look by itself.
    napping: bool,
}

/// What waits in a queue.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Requests that the hub was not told of.
    pub requests: bool,
    /// Some of them may not wait for company.
    pub prompt: bool,
    /// Jobs from the hub.
    pub jobs: bool,
    /// Some of them are no frames.
    pub urgent: bool,
}

/// A shard's queue. Everything in it is bounded; jobs of connections that come and go, by the connections.
#[derive(Debug, Default)]
pub struct Queue {
    queued: Mutex<Queued>,
    filled: Notify,
}

impl Queue {
    /// From a connection's own task: it came or went.
    pub fn push(&self, job: ShardCommand) {
        let napping = {
            let mut queued = self.lock();
            queued.jobs.push_back(job);
            queued.napping
        };
        if !napping {
            self.filled.notify_one();
        }
    }

    /// From the hub of this generation; refused when a newer one has spoken. True when the shard is to be woken, now or
    /// when more is pushed.
    #[must_use = "the shard may sleep"]
    pub fn push_from(&self, generation: u64, job: ShardCommand) -> bool {
        let mut queued = self.lock();
        if generation < queued.generation {
            return false;
        }
        queued.generation = generation;
        match job {
            ShardCommand::Frame { room, cursor, .. } if queued.frames >= MAX_QUEUED_FRAMES => {
                metrics::counter!("tieout_rt_shard_overflow_total").increment(1);
                if cursor.is_none() || !queued.marked.insert(room) {
                    return false;
                }
                queued.answers += 1;
                queued.jobs.push_back(ShardCommand::Break { room, reason: "slow", cursor });
            }
            ShardCommand::Frame { .. } => {
                queued.frames += 1;
                queued.jobs.push_back(job);
            }
            job => {
                queued.answers += 1;
                queued.jobs.push_back(job);
            }
        }
        !queued.napping
    }

    /// Wake the shard.
    pub fn wake(&self) {
        self.filled.notify_one();
    }

    /// From a connection: something for the hub. False when too much waits.
    pub fn request(&self, request: Request) -> bool {
        {
            let mut queued = self.lock();
            if queued.requests.len() >= MAX_REQUESTS {
                return false;
            }
            let prompt = !matches!(request, Request::Say(_));
            queued.requests.push_back(request);
            queued.prompt |= prompt;
            if queued.nudged || queued.napping {
                return true;
            }
        }
        self.filled.notify_one();
        true
    }

    /// Requests for the hub's turn, in order, and what becomes of them when it panics. Few or none when the shard does
    /// not keep up with the answers; it nudges again when it has.
    pub fn serve(&self, generation: u64) -> Turn<'_> {
        let mut queued = self.lock();
        let room = MAX_QUEUED_ANSWERS.saturating_sub(queued.answers);
        let many = queued.requests.len().min(REQUESTS_PER_TURN).min(room);
        let rest = if many == queued.requests.len() {
            queued.nudged = false;
            queued.prompt = false;
            std::mem::take(&mut queued.requests)
        } else {
            queued.requests.drain(..many).collect()
        };
        Turn { queue: self, generation, rest, current: None, more: queued.nudged && many > 0 }
    }

    /// Whether the hub must be nudged: it will be.
    pub fn take_nudge(&self) {
        self.lock().nudged = true;
    }

    /// The hub could not be told, or is another one now.
    pub fn forget_nudge(&self) {
        self.lock().nudged = false;
    }

    /// There is no hub and there will be none: what waits for it.
    pub fn give_up(&self) -> VecDeque<Request> {
        let mut queued = self.lock();
        queued.nudged = false;
        queued.prompt = false;
        std::mem::take(&mut queued.requests)
    }

    /// What waits now; the shard is awake.
    pub fn waiting(&self) -> Waiting {
        let mut queued = self.lock();
        queued.napping = false;
        // Requests that the hub left because of the answers are looked at again when those are taken.
        Waiting {
            requests: !queued.requests.is_empty() && !queued.nudged,
            prompt: queued.prompt,
            jobs: !queued.jobs.is_empty(),
            urgent: queued.jobs.len() > queued.frames,
        }
    }

    /// The shard sleeps; [`Queue::waiting`] ends it.
    pub fn nap(&self) {
        self.lock().napping = true;
    }

    /// All jobs.
    pub fn take(&self) -> VecDeque<ShardCommand> {
        let mut queued = self.lock();
        if queued.answers >= MAX_QUEUED_ANSWERS {
            queued.nudged = false;
        }
        queued.frames = 0;
        queued.answers = 0;
        queued.marked.clear();
        std::mem::take(&mut queued.jobs)
    }

    /// When something has come that does not wait for the tick.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Queued> {
        self.queued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests of one turn of the hub. Dropped before its end, by a panic, it answers the one at fault and puts the rest
/// back for the next incarnation.
pub struct Turn<'a> {
    queue: &'a Queue,
    generation: u64,
    rest: VecDeque<Request>,
    current: Option<(ConnId, Option<u64>)>,
    /// More requests wait than fit this turn.
    pub more: bool,
}

impl Iterator for Turn<'_> {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        let next = self.rest.pop_front();
        self.current = next.as_ref().map(|request| (request.asker().conn, request.asker().re));
        next
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some((conn, re)) = self.current {
            let text = "the hub failed while it handled this".to_string();
            let reply = Reply::Refused { code: ErrorCode::Internal, text, holder: None, limit: None };
            let pending = Pending::default();
            if self.queue.push_from(self.generation, ShardCommand::Reply { conn, re, reply, pending }) {
                self.queue.wake();
            }
        }
        if !self.rest.is_empty() {
            let mut queued = self.queue.lock();
            for request in self.rest.drain(..).rev() {
                queued.requests.push_front(request);
            }
            queued.prompt = true;
            queued.nudged = false;
        }
    }
}
