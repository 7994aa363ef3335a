//! The hub's decisions as a synchronous state machine: inputs change rooms and append to a list of outputs.
//!
//! It does no I/O and reads no clock: jobs for shards and questions to the store come out, results and time go in. Easy
//! to get wrong: to a shard that is behind after a restart nothing of the room may be sent before what it lacks, and to
//! a connection nothing before its `ProjectJoined`. The decisions of each kind have a file of their own: `requests`,
//! `admission`, `revocation`, `recovery`, `claims`, `presence`, `progress`, `others`.
mod admission;
mod announce;
mod claims;
mod claims_elsewhere;
#[cfg(test)]
mod model;
#[cfg(test)]
mod moments;
mod others;
mod presence;
mod progress;
mod recovery;
#[cfg(test)]
mod replicas;
mod requests;
mod revocation;

use super::claims::{Claim, ClaimRefused, Heard, Now};
use super::limits::Limits;
use super::messages::{
    Asker, Attach, Change, ClaimAsk, ClaimByFrame, ClaimOutcome, ClaimTold, ClaimsTold, Counts, Disconnect, History,
    Join, Leave, Progress, Publish, Purpose, RenewTold, Request, Revoke, RoomPositions, RoomView, Say, Told, Waiter,
};
use super::meters::Meters;
use super::presence::{Memory, Presence};
use super::room;
use super::room::{Behind, Event, Line, MAX_HELD, Room};
use crate::actors::replicas::wire::Message;
use crate::actors::replicas::{Mail, MeshLimits};
use crate::actors::sockets::commands::{ClaimNews, Cursor, JoinedCommand, Outgoing, Reply, ShardCommand, Snapshot};
use crate::actors::sockets::outbox::{Kind, RoomFrame};
use crate::actors::sockets::peer::Pending;
use crate::cluster::{Channel, ReplicaId};
use crate::protocol::{
    ErrorCode,
    ids::{ConnId, JobId, ProjectId},
    server::PresenceDiff,
};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    fmt,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

/// How long a hole may stay before it is read from the store: long enough for publishers that overtake each other.
const HOLE_WAIT: Duration = Duration::from_millis(50);
/// Between two tries to read from a store that is away.
const RETRY: Duration = Duration::from_secs(1);
/// Events recovered for one client or shard; past it the client reads a snapshot instead.
pub const MAX_RECOVERED: usize = 1_000;
/// Joins that wait in one room for the store; past it they are refused as unavailable.
const MAX_WAITING_JOINS: usize = 20_000;
/// Requests that wait for one shard to report after a restart; past it they are refused as unavailable.
const MAX_EARLY: usize = 20_000;
/// Changes of claims that wait for the store; past it they are refused as unavailable.
const MAX_WAITING_CLAIMS: usize = 20_000;
/// Bytes of requests that wait behind joins, in all rooms together; past it they are refused as unavailable. How many a
/// connection may have is bounded by `pending_requests`.
const MAX_BEHIND_BYTES: usize = 16 * 1024 * 1024;
/// Least time between two samples of the delivery lag.
const LAG_EVERY: Duration = Duration::from_millis(10);

/// What the shell must do.
#[derive(Debug)]
pub enum Output {
    /// Hand to a shard.
    Shard(usize, ShardCommand),
    /// Read the newest position, and for [`Purpose::Open`] the claims in force, for [`Purpose::Claims`] only those; answer with [`Told`].
    ReadHead(ProjectId, Purpose),
    /// Read events after a position, answer with [`Told`].
    ReadSince(ProjectId, Cursor, Purpose),
    /// Hear what the other replicas say about a room. Comes before its [`Output::ReadHead`], so that nothing falls between.
    Follow(ProjectId),
    /// Tell the other replicas.
    Mail(Mail),
    /// Have the store decide about a claim, answer with [`ClaimTold`].
    Claim(Box<ClaimAsk>),
    /// Have the store renew leases (entity and holder), answer with [`RenewTold`].
    Renew(ProjectId, Vec<(String, String)>),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Open(ProjectId),
    Hole(ProjectId),
    Check(ProjectId),
    Presence(ProjectId),
    Progress(ProjectId, JobId),
    Empty(ProjectId),
    Share(ProjectId),
    Held(ProjectId),
    Other(ReplicaId),
    Claims(ProjectId),
    Catchup(ProjectId, usize),
}

/// One claim about which the store is being asked.
#[derive(Debug)]
struct Asked {
    /// Who gets it if the store says so.
    taker: Option<String>,
    /// Further changes, in the order they came.
    waiting: VecDeque<ClaimAsk>,
}

/// What an incarnation is given.
#[derive(Clone)]
pub struct Given {
    /// The limits.
    pub limits: Limits,
    /// Presence, handed on.
    pub memory: Memory,
    /// Names this process in the rows of claims.
    pub incarnation: Arc<str>,
    /// When connections were last heard.
    pub heard: Heard,
    /// This replica.
    pub replica: ReplicaId,
    /// Times between replicas.
    pub mesh: MeshLimits,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}

/// The state machine.
#[derive(Debug)]
pub struct Core {
    generation: u64,
    given: Given,
    attached: Vec<bool>,
    stash: Vec<Vec<Request>>,
    revoked: Vec<Revoke>,
    rooms: HashMap<ProjectId, Room>,
    others: HashMap<ReplicaId, others::Other>,
    draining: bool,
    /// Claims about which the store is being asked.
    asked: HashMap<(ProjectId, String), Asked>,
    asked_count: usize,
    behind_bytes: usize,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    lag_at: Option<Instant>,
    meters: Meters,
    out: Vec<Output>,
}

impl Core {
    /// An incarnation that knows nobody yet: shards report with [`Attach`].
    pub fn new(generation: u64, shards: usize, given: Given, now: Instant) -> Self {
        let mut core = Self {
            generation,
            given,
            attached: vec![false; shards],
            stash: (0..shards).map(|_| Vec::new()).collect(),
            revoked: Vec::new(),
            rooms: HashMap::new(),
            others: HashMap::new(),
            draining: false,
            asked: HashMap::new(),
            asked_count: 0,
            behind_bytes: 0,
            timers: BinaryHeap::new(),
            lag_at: None,
            meters: Meters::default(),
            out: Vec::new(),
        };
        core.remember(now);
        core.remember_others(now);
        for shard in 0..shards {
            core.out.push(Output::Shard(shard, ShardCommand::NewHub { generation }));
        }
        core
    }

    /// What is to be done, in order.
    pub fn outputs(&mut self) -> std::vec::Drain<'_, Output> {
        self.out.drain(..)
    }

    /// When [`Core::tick`] is next due.
    pub fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, _))| *due)
    }

    /// Its number.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The store has answered.
    pub fn told(&mut self, told: Told, now: Now) {
        let Told { generation, project, purpose, history } = told;
        if generation != self.generation {
            if let Purpose::Join(join) = purpose {
                self.refuse(&join.asker, ErrorCode::Unavailable, "the hub has restarted, try again");
            }
            return;
        }
        if let History::NotFound = history {
            return self.vanished(project, purpose, now);
        }
        let about_another = matches!(purpose, Purpose::Check | Purpose::Claims | Purpose::Hole | Purpose::Catchup(_))
            && self.rooms.get(&project).is_some_and(|room| !room.live);
        if about_another {
            // The room it was read for was forgotten meanwhile; the one there now begins by itself.
            return;
        }
        match purpose {
            Purpose::Open => self.opened(project, history, now),
            Purpose::Check => self.checked(project, history, now),
            Purpose::Claims => self.claims_read(project, history, now),
            Purpose::Hole => self.hole_read(project, history, now),
            Purpose::Join(join) => self.join_read(*join, history, now),
            Purpose::Catchup(shard) => self.catchup_read(project, shard, history, now),
        }
    }

    /// Do what has come due.
    pub fn tick(&mut self, now: Now) {
        while let Some(Reverse((due, _))) = self.timers.peek() {
            if *due > now.instant {
                break;
            }
            let Some(Reverse((due, timer))) = self.timers.pop() else { break };
            match timer {
                Timer::Open(project) => {
                    if self.rooms.get(&project).is_some_and(|room| !room.live) {
                        self.out.push(Output::ReadHead(project, Purpose::Open));
                    }
                }
                Timer::Hole(project) => self.read_hole(project),
                Timer::Check(project) => self.check_again(project),
                Timer::Presence(project) => self.announce(project, due, now),
                Timer::Progress(project, job) => self.send_progress(project, job, now),
                Timer::Share(project) => self.share_due(project, now),
                Timer::Held(project) => self.stop_holding(project, now),
                Timer::Other(replica) => self.other_due(replica, due, now),
                Timer::Empty(project) => self.forget_if_empty(project, now),
                Timer::Claims(project) => self.claims_due(project, due, now),
                Timer::Catchup(project, shard) => {
                    self.catch_up(project, shard);
                    self.admit_waiting(project, true, now);
                }
            }
        }
    }

    /// What is live in a room.
    pub fn view(&self, project: ProjectId) -> Option<RoomView> {
        let room = self.rooms.get(&project)?;
        Some(RoomView {
            ep: room.ep.to_string(),
            off: room.head,
            connections: room.members.len(),
            users: room.user_names(),
            running_jobs: room.jobs.len(),
        })
    }

    /// Totals.
    pub fn counts(&self) -> Counts {
        Counts {
            rooms: self.rooms.len(),
            subscriptions: self.rooms.values().map(|room| room.members.len()).sum(),
            presence_entries: self.remembered().values().map(Presence::users).sum(),
            generation: self.generation,
        }
    }

    /// Where the rooms are.
    pub fn positions(&self) -> RoomPositions {
        let live = self.rooms.iter().filter(|(_, room)| room.live);
        let rooms = live.map(|(project, room)| (*project, room.cursor())).collect();
        RoomPositions { generation: self.generation, rooms }
    }

    /// Whether there is such a room.
    pub fn has_room(&self, project: ProjectId) -> bool {
        self.rooms.contains_key(&project)
    }

    /// How many rooms there are.
    pub fn many_rooms(&self) -> usize {
        self.rooms.len()
    }

    fn is_member(&self, project: ProjectId, conn: ConnId) -> bool {
        self.rooms.get(&project).is_some_and(|room| room.members.contains_key(&conn))
    }

    fn reply(&mut self, asker: &Asker, reply: Reply) {
        let pending = asker.pending.clone();
        self.out
            .push(Output::Shard(asker.shard, ShardCommand::Reply { conn: asker.conn, re: asker.re, reply, pending }));
    }

    fn refuse(&mut self, asker: &Asker, code: ErrorCode, text: &str) {
        self.reply(asker, Reply::Refused { code, text: text.to_string(), holder: None, limit: None });
    }
}

/// One job per shard that has members, however many they are. A shard that is behind gets it later: durable frames
/// with what it lacks, others after that.
fn broadcast(room: &mut Room, out: &mut Vec<Output>, project: ProjectId, frame: &Outgoing, cursor: Option<&Cursor>) {
    for (shard, view) in room.shards.iter_mut().enumerate() {
        match &mut view.behind {
            None if view.members == 0 => {}
            None => {
                let job = ShardCommand::Frame { room: project, frame: frame.clone(), cursor: cursor.cloned() };
                out.push(Output::Shard(shard, job));
            }
            Some(behind) if cursor.is_none() && behind.held.len() < MAX_HELD => behind.held.push(frame.clone()),
            Some(_) => {}
        }
    }
}

/// The shard is up to date: what was held for it follows.
fn let_go(room: &mut Room, out: &mut Vec<Output>, project: ProjectId, shard: usize) {
    for frame in room.shards[shard].behind.take().map(|behind| behind.held).unwrap_or_default() {
        out.push(Output::Shard(shard, ShardCommand::Frame { room: project, frame, cursor: None }));
    }
}
