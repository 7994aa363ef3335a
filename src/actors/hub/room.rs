//! One room's state: its position, the ring of recent events, its members, presence and progress.
//!
//! `core` decides with it. Easy to get wrong: the ring is contiguous and ends at `head`, always; whatever does not
//! continue it waits in `ahead`.
use super::{
    jobs::{Cursor, Outgoing, Snapshot},
    messages::Join,
    outbox::{Kind, RoomFrame},
};
use crate::protocol::{
    client::Position,
    ids::{ConnId, JobId},
    server::ClaimView,
};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

/// Recent events a room keeps, by number.
pub const RING_FRAMES: usize = 300;
/// Recent events a room keeps, by bytes.
pub const RING_BYTES: usize = 1024 * 1024;
/// Recent events a room keeps, by age.
pub const RING_AGE: Duration = Duration::from_secs(300);
/// Events that may wait for an earlier one; past it they are read from the store instead.
pub const MAX_AHEAD: usize = 1_024;
/// Ephemeral frames held for a shard that is behind; past it they are dropped.
pub const MAX_HELD: usize = 256;
/// Progress of a job that was not heard of for this long is not shown to those who join.
const PROGRESS_STALE: Duration = Duration::from_secs(60);

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

/// A shard whose members lack something.
#[derive(Debug)]
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
    ring: VecDeque<(u64, Bytes, Instant)>,
    ring_bytes: usize,
    /// Events that came before their predecessors.
    pub ahead: BTreeMap<u64, Bytes>,
    /// A timer for the hole runs, or the store is being read for it.
    pub hole_watched: bool,
    /// Who is in.
    pub members: HashMap<ConnId, Member>,
    /// Per shard.
    pub shards: Vec<ShardView>,
    /// Joins that wait for the position, a shard or an offset.
    pub waiting: Vec<Join>,
    users: HashMap<Arc<str>, usize>,
    announced: BTreeSet<Arc<str>>,
    changed: BTreeSet<Arc<str>>,
    announced_count: usize,
    /// Revision of the presence.
    pub rev: u64,
    /// A presence timer runs.
    pub presence_due: bool,
    /// Running jobs.
    pub jobs: HashMap<JobId, Line>,
    snapshot: Option<Arc<Snapshot>>,
    /// Since when nobody is in.
    pub empty_since: Option<Instant>,
}

/// What the presence timer found.
pub struct PresenceChange {
    /// Came.
    pub joins: Vec<String>,
    /// Went.
    pub leaves: Vec<String>,
    /// Connections.
    pub count: usize,
}

impl Room {
    /// A room that does not know its position yet.
    pub fn new(shards: usize) -> Self {
        Self {
            live: false,
            ep: "".into(),
            head: 0,
            ring: VecDeque::new(),
            ring_bytes: 0,
            ahead: BTreeMap::new(),
            hole_watched: false,
            members: HashMap::new(),
            shards: (0..shards).map(|_| ShardView::default()).collect(),
            waiting: Vec::new(),
            users: HashMap::new(),
            announced: BTreeSet::new(),
            changed: BTreeSet::new(),
            announced_count: 0,
            rev: 0,
            presence_due: false,
            jobs: HashMap::new(),
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
        self.ring.clear();
        self.ring_bytes = 0;
        self.ahead.retain(|off, _| *off > head);
    }

    /// Append the next event.
    pub fn append(&mut self, off: u64, bytes: Bytes, now: Instant) {
        debug_assert_eq!(off, self.head + 1, "the ring has no hole");
        self.head = off;
        self.ring_bytes += bytes.len();
        self.ring.push_back((off, bytes, now));
        while let Some((_, bytes, at)) = self.ring.front() {
            let old = now.duration_since(*at) > RING_AGE;
            if self.ring.len() <= RING_FRAMES && self.ring_bytes <= RING_BYTES && !old {
                break;
            }
            self.ring_bytes -= bytes.len();
            self.ring.pop_front();
        }
    }

    /// The next event, if it waits in `ahead`.
    pub fn next_ahead(&mut self) -> Option<(u64, Bytes)> {
        let off = self.head + 1;
        self.ahead.remove(&off).map(|bytes| (off, bytes))
    }

    /// Everything after `off`, if the ring has it.
    pub fn after(&self, off: u64) -> Option<Vec<RoomFrame>> {
        if off == self.head {
            return Some(Vec::new());
        }
        let first = self.ring.front()?.0;
        if off > self.head || off + 1 < first {
            return None;
        }
        let skip = (off + 1 - first) as usize;
        Some(self.ring.iter().skip(skip).map(|(_, bytes, _)| durable(bytes)).collect())
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
        *self.users.entry(user.clone()).or_default() += 1;
        self.changed.insert(user.clone());
        self.members.insert(conn, Member { shard, user });
        self.shards[shard].members += 1;
        self.empty_since = None;
        true
    }

    /// Take a member out. False when it was not in.
    pub fn remove(&mut self, conn: ConnId, now: Instant) -> bool {
        let Some(member) = self.members.remove(&conn) else { return false };
        self.shards[member.shard].members -= 1;
        if let Some(count) = self.users.get_mut(&member.user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(&member.user);
            }
        }
        self.changed.insert(member.user);
        if self.members.is_empty() {
            self.empty_since = Some(now);
        }
        true
    }

    /// What to announce, if anything changed since the last time.
    pub fn take_presence_change(&mut self) -> Option<PresenceChange> {
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for user in std::mem::take(&mut self.changed) {
            let here = self.users.contains_key(&user);
            if here && self.announced.insert(user.clone()) {
                joins.push(user.to_string());
            } else if !here && self.announced.remove(&user) {
                leaves.push(user.to_string());
            }
        }
        let count = self.members.len();
        if joins.is_empty() && leaves.is_empty() && count == self.announced_count {
            return None;
        }
        self.announced_count = count;
        self.rev += 1;
        self.snapshot = None;
        Some(PresenceChange { joins, leaves, count })
    }

    /// Something that [`Room::snapshot`] shows has changed.
    pub fn stale(&mut self) {
        self.snapshot = None;
    }

    /// What is live: as of the last announced presence, so that the next `PresenceDiff` continues it.
    pub fn snapshot(&mut self, now: Instant, claims: impl FnOnce() -> Vec<ClaimView>) -> Arc<Snapshot> {
        if let Some(snapshot) = &self.snapshot {
            return snapshot.clone();
        }
        self.jobs.retain(|_, line| now.duration_since(line.heard_at) < PROGRESS_STALE);
        let mut jobs: Vec<_> = self.jobs.iter().map(|(id, line)| (*id, line.json.clone())).collect();
        jobs.sort_by_key(|(id, _)| *id);
        let snapshot = Arc::new(Snapshot {
            rev: self.rev,
            count: self.announced_count,
            users: self.announced.iter().cloned().collect(),
            jobs: jobs.into_iter().map(|(_, json)| json).collect(),
            claims: claims(),
        });
        self.snapshot = Some(snapshot.clone());
        snapshot
    }

    /// Users in the room now.
    pub fn user_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.users.keys().map(ToString::to_string).collect();
        names.sort();
        names
    }
}

/// A stored event as a frame for the room.
pub fn durable(bytes: &Bytes) -> RoomFrame {
    RoomFrame { bytes: bytes.clone(), kind: Kind::Durable }
}
