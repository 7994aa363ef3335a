//! One room's state: its position, the ring of recent events, its members, presence and progress.
//!
//! `core` decides with it. Easy to get wrong: the ring is contiguous and ends at `head`, always; whatever does not
//! continue it waits in `ahead`.
use super::claims::View;
use super::limits::Limits;
use super::messages::{Change, Join, Request};
use crate::actors::sockets::commands::{Cursor, Outgoing, Snapshot};
use crate::actors::sockets::outbox::{Kind, RoomFrame};
use crate::cluster::ReplicaId;
use crate::protocol::{
    client::Position,
    ids::{ConnId, JobId},
};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Events that may wait for an earlier one; past it they are read from the store instead.
pub const MAX_AHEAD: usize = 1_024;
/// Ephemeral frames held for a shard that is behind; past it they are dropped.
pub const MAX_HELD: usize = 256;
/// Progress of a job that was not heard of for this long is not shown to those who join.
const PROGRESS_STALE: Duration = Duration::from_secs(60);

/// A durable event, encoded.
#[derive(Clone, Debug)]
pub struct Event {
    /// Its offset.
    pub off: u64,
    /// When it was committed, unix milliseconds.
    pub ts_ms: i64,
    /// The frame.
    pub bytes: Bytes,
    /// The job that it says no runner has any more: it ended, stands still or waits for its turn.
    pub ends: Option<JobId>,
    /// It says that the project was deleted; whether it was the store knows.
    pub deletes: bool,
}

/// A member of a room.
#[derive(Debug)]
pub struct Member {
    /// Its shard.
    pub shard: usize,
    /// Its user.
    pub user: Arc<str>,
}

/// How a shard stands to the room.
#[derive(Debug, Default)]
pub struct ShardView {
    /// Members there.
    pub members: usize,
    /// After a restart: where its members are, until they are up to date. Nothing is sent to it before.
    pub behind: Option<Behind>,
}

/// A shard whose members lack something, or that has not reported who they are.
#[derive(Debug, Default)]
pub struct Behind {
    /// What they have.
    pub cursor: Option<Cursor>,
    /// The store is being read for them.
    pub reading: bool,
    /// What is not stored and came meanwhile, to follow; at most [`MAX_HELD`].
    pub held: Vec<Outgoing>,
}

/// A running job's latest progress.
#[derive(Debug)]
pub struct Line {
    /// For those who join.
    pub json: Arc<RawValue>,
    /// When a frame was last sent.
    pub sent_at: Instant,
    /// When it was last heard of.
    pub heard_at: Instant,
    /// The newest frame, not yet sent.
    pub pending: Option<Bytes>,
}

/// The state.
#[derive(Debug)]
pub struct Room {
    /// The position is known.
    pub live: bool,
    /// Epoch of the history.
    pub ep: Arc<str>,
    /// Offset of the newest event handed out.
    pub head: u64,
    /// The newest offset that the store was seen to have.
    pub stored: u64,
    ring: VecDeque<(Event, Instant)>,
    ring_bytes: usize,
    /// Events that came before their predecessors, and the epochs they are of.
    ahead: BTreeMap<u64, (Arc<str>, Event)>,
    /// A timer for the hole runs, or the store is being read for it.
    pub hole_watched: bool,
    /// A timer runs, after which its position is compared with the store's.
    pub check_timed: bool,
    /// Who is in.
    pub members: HashMap<ConnId, Member>,
    /// Per shard.
    pub shards: Vec<ShardView>,
    /// Joins that wait for the position, a shard or an offset.
    pub waiting: Vec<Join>,
    /// Connections that are being let in, and what they have asked since, in order.
    pub behind_joins: HashMap<ConnId, VecDeque<Request>>,
    /// Replicas that are about to say who is there; nobody is let in before, for a moment.
    pub expected: HashSet<ReplicaId>,
    /// A timer runs, after which the other replicas are told who came and went.
    pub share_timed: bool,
    /// When the presence timer is next due, if it runs.
    pub presence_due: Option<Instant>,
    /// Running jobs.
    pub jobs: HashMap<JobId, Line>,
    /// Who works on what, as the store said last.
    pub claims: View,
    /// Who left before the claims were known, and what becomes of those it turns out to have.
    pub leavers: Vec<(ConnId, Arc<str>, Change)>,
    /// The claims are being read.
    pub reading_claims: bool,
    /// And must be once more after that.
    pub read_claims_again: bool,
    /// What was claimed or released meanwhile: newer than what is read.
    pub settled: HashSet<String>,
    snapshot: Option<Arc<Snapshot>>,
    /// Since when nobody is in.
    pub empty_since: Option<Instant>,
}

impl Room {
    /// A room that does not know its position yet.
    pub fn new(shards: usize) -> Self {
        Self {
            live: false,
            ep: "".into(),
            head: 0,
            stored: 0,
            ring: VecDeque::new(),
            ring_bytes: 0,
            ahead: BTreeMap::new(),
            hole_watched: false,
            check_timed: false,
            members: HashMap::new(),
            shards: (0..shards).map(|_| ShardView::default()).collect(),
            waiting: Vec::new(),
            behind_joins: HashMap::new(),
            expected: HashSet::new(),
            share_timed: false,
            presence_due: None,
            jobs: HashMap::new(),
            claims: View::default(),
            leavers: Vec::new(),
            reading_claims: true,
            read_claims_again: false,
            settled: HashSet::new(),
            snapshot: None,
            empty_since: None,
        }
    }

    /// Where the room is.
    pub fn cursor(&self) -> Cursor {
        Cursor { ep: self.ep.clone(), off: self.head }
    }

    /// Start at a position, without history.
    pub fn restart_at(&mut self, ep: Arc<str>, head: u64) {
        self.live = true;
        self.ep = ep;
        self.head = head;
        self.stored = head;
        self.ring.clear();
        self.ring_bytes = 0;
        self.keep_ahead();
    }

    /// An event that can't be handed out yet waits; when too many do it is read from the store instead.
    pub fn put_ahead(&mut self, ep: Arc<str>, event: Event) {
        if self.ahead.len() < MAX_AHEAD {
            self.ahead.insert(event.off, (ep, event));
        }
    }

    /// Forget what waits and can follow no more: of another history, or handed out already.
    pub fn keep_ahead(&mut self) {
        self.ahead.retain(|off, (ep, _)| *off > self.head && *ep == self.ep);
    }

    /// Whether events wait for earlier ones.
    pub fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Append the next event.
    pub fn append(&mut self, event: Event, limits: &Limits, now: Instant) {
        debug_assert_eq!(event.off, self.head + 1, "the ring has no hole");
        self.head = event.off;
        self.ring_bytes += event.bytes.len();
        self.ring.push_back((event, now));
        while let Some((event, at)) = self.ring.front() {
            let old = now.duration_since(*at) > limits.ring_age;
            if self.ring.len() <= limits.ring_frames && self.ring_bytes <= limits.ring_bytes && !old {
                break;
            }
            self.ring_bytes -= event.bytes.len();
            self.ring.pop_front();
        }
    }

    /// The next event, if it waits in `ahead`.
    pub fn next_ahead(&mut self) -> Option<Event> {
        self.ahead.remove(&(self.head + 1)).filter(|(ep, _)| *ep == self.ep).map(|(_, event)| event)
    }

    /// Everything after `off`, if the ring has it.
    pub fn after(&self, off: u64) -> Option<Vec<RoomFrame>> {
        if off == self.head {
            return Some(Vec::new());
        }
        let first = self.ring.front()?.0.off;
        if off > self.head || off + 1 < first {
            return None;
        }
        let skip = (off + 1 - first) as usize;
        Some(self.ring.iter().skip(skip).map(|(event, _)| durable(&event.bytes)).collect())
    }

    /// Whether a client at `since` is at this history at all.
    pub fn knows(&self, since: &Position) -> bool {
        *since.ep == *self.ep
    }

    /// Let a member in. False when it already was.
    pub fn add(&mut self, conn: ConnId, shard: usize, user: Arc<str>) -> bool {
        if self.members.contains_key(&conn) {
            return false;
        }
        self.members.insert(conn, Member { shard, user });
        self.shards[shard].members += 1;
        self.empty_since = None;
        true
    }

    /// Take a member out; none when it was not in.
    pub fn remove(&mut self, conn: ConnId, now: Instant) -> Option<Member> {
        let member = self.members.remove(&conn)?;
        self.shards[member.shard].members -= 1;
        if self.members.is_empty() {
            self.empty_since = Some(now);
        }
        Some(member)
    }

    /// Something has become of the claim on `entity`.
    pub fn settle(&mut self, entity: &str) {
        if self.reading_claims {
            self.settled.insert(entity.to_owned());
        }
    }

    /// What was settled while the claims were read, which is over.
    pub fn claims_were_read(&mut self) -> HashSet<String> {
        self.reading_claims = false;
        std::mem::take(&mut self.settled)
    }

    /// Something that [`Room::snapshot`] shows has changed.
    pub fn stale(&mut self) {
        self.snapshot = None;
    }

    /// What is live, kept until something changes.
    pub fn snapshot(&mut self, now: Instant, make: impl FnOnce(Vec<Arc<RawValue>>) -> Snapshot) -> Arc<Snapshot> {
        if let Some(snapshot) = &self.snapshot {
            return snapshot.clone();
        }
        self.jobs.retain(|_, line| now.duration_since(line.heard_at) < PROGRESS_STALE);
        let mut jobs: Vec<_> = self.jobs.iter().map(|(id, line)| (*id, line.json.clone())).collect();
        jobs.sort_by_key(|(id, _)| *id);
        let snapshot = Arc::new(make(jobs.into_iter().map(|(_, json)| json).collect()));
        self.snapshot = Some(snapshot.clone());
        snapshot
    }

    /// Users in the room now.
    pub fn user_names(&self) -> Vec<String> {
        let names: BTreeSet<&Arc<str>> = self.members.values().map(|member| &member.user).collect();
        names.into_iter().map(ToString::to_string).collect()
    }
}

/// A stored event as a frame for the room.
pub fn durable(bytes: &Bytes) -> RoomFrame {
    RoomFrame { bytes: bytes.clone(), kind: Kind::Durable }
}
