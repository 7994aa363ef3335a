//! The hub's decisions as a synchronous state machine: inputs change rooms and append to a list of outputs.
//!
//! It does no I/O and reads no clock: jobs for shards and reads of the store come out, results and time go in. Easy to
//! get wrong: to a shard that is behind after a restart nothing of the room may be sent before what it lacks, and to a
//! connection nothing before its `ProjectJoined`. `admission`, `recovery` and `live` hold the decisions of each kind.
mod admission;
mod live;
#[cfg(test)]
mod model;
mod recovery;

use super::{
    claims::{Claim, ClaimRefused, Holder, Ledger, Now},
    jobs::{ClaimNews, Cursor, JoinedJob, Outgoing, Reply, ShardJob},
    limits::Limits,
    messages::{
        Asker, Attach, ClaimByFrame, ClaimEntity, Counts, Disconnect, History, Join, Leave, Progress, Publish, Purpose,
        ReleaseEntity, Request, RoomView, Say, Told,
    },
    outbox::{Kind, RoomFrame},
    room::{self, Behind, Line, MAX_AHEAD, MAX_HELD, Room},
};
use crate::protocol::{
    ErrorCode,
    ids::{ConnId, JobId, ProjectId},
    server::PresenceDiff,
};
use bytes::Bytes;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long a hole may stay before it is read from the store: long enough for publishers that overtake each other.
const HOLE_WAIT: Duration = Duration::from_millis(50);
/// Between two tries to read from a store that is away.
const RETRY: Duration = Duration::from_secs(1);
/// Least time between two progress frames of a job.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// Batch of presence changes, in a small room and in a large one.
const PRESENCE_EVERY: Duration = Duration::from_millis(250);
const PRESENCE_EVERY_LARGE: Duration = Duration::from_secs(1);
/// Members that make a room large.
const LARGE_ROOM: usize = 100;
/// A room without members is forgotten after this long.
const EMPTY_ROOM_KEPT: Duration = Duration::from_secs(60);
/// Events recovered for one client or shard; past it the client reads a snapshot instead.
pub const MAX_RECOVERED: usize = 1_000;
/// Joins that wait in one room for the store; past it they are refused as unavailable.
const MAX_WAITING_JOINS: usize = 20_000;
/// Requests that wait for one shard to report after a restart; past it they are refused as unavailable.
const MAX_EARLY: usize = 20_000;

/// What the shell must do.
#[derive(Debug)]
pub enum Output {
    /// Hand to a shard.
    Shard(usize, ShardJob),
    /// Read the newest position, answer with [`Told`].
    ReadHead(ProjectId, Purpose),
    /// Read events after a position, answer with [`Told`].
    ReadSince(ProjectId, Cursor, Purpose),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Open(ProjectId),
    Hole(ProjectId),
    Presence(ProjectId),
    Progress(ProjectId, JobId),
    Empty(ProjectId),
    Claims(ProjectId),
    Catchup(ProjectId, usize),
}

/// The state machine.
#[derive(Debug)]
pub struct Core {
    generation: u64,
    limits: Limits,
    attached: Vec<bool>,
    stash: Vec<Vec<Request>>,
    rooms: HashMap<ProjectId, Room>,
    ledger: Ledger,
    claims_timed: HashSet<ProjectId>,
    timers: BinaryHeap<Reverse<(Instant, Timer)>>,
    out: Vec<Output>,
}

impl Core {
    /// An incarnation that knows nobody yet: shards report with [`Attach`].
    pub fn new(generation: u64, shards: usize, limits: Limits, ledger: Ledger, now: Instant) -> Self {
        let mut core = Self {
            generation,
            limits,
            attached: vec![false; shards],
            stash: (0..shards).map(|_| Vec::new()).collect(),
            rooms: HashMap::new(),
            ledger,
            claims_timed: HashSet::new(),
            timers: BinaryHeap::new(),
            out: Vec::new(),
        };
        let claimed = core.book().projects();
        for project in claimed {
            core.time_claims(project, now);
        }
        for shard in 0..shards {
            core.out.push(Output::Shard(shard, ShardJob::NewHub { generation }));
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

    /// A shard reports.
    pub fn attach(&mut self, attach: Attach, now: Now) {
        let Attach { generation, shard, rooms } = attach;
        if generation != self.generation || self.attached[shard] {
            return;
        }
        self.attached[shard] = true;
        for attached in rooms {
            let room = self.open(attached.room);
            for (conn, user) in attached.members {
                room.add(conn, shard, user);
            }
            room.shards[shard].behind = Some(Behind { cursor: attached.cursor, reading: false, held: Vec::new() });
            self.time_presence(attached.room, now.instant);
            self.catch_up(attached.room, shard);
        }
        for early in std::mem::take(&mut self.stash[shard]) {
            self.request(early, now);
        }
    }

    /// A connection asks.
    pub fn request(&mut self, request: Request, now: Now) {
        match request {
            Request::Join(join) => self.join(join, now),
            Request::Leave(leave) => self.leave(leave, now),
            Request::Say(say) => self.say(say),
            Request::Claim(ask) => self.claim_by_frame(ask, now),
        }
    }

    /// A connection wants in.
    pub fn join(&mut self, join: Join, now: Now) {
        let shard = join.asker.shard;
        if !self.attached[shard] {
            return self.keep(&join.asker.clone(), Request::Join(join));
        }
        let project = join.project;
        let room = self.open(project);
        if room.waiting.len() >= MAX_WAITING_JOINS {
            self.refuse(&join.asker, ErrorCode::Unavailable, "too many wait to join, try again");
        } else if !room.live || room.shards[shard].behind.is_some() {
            room.waiting.push(join);
        } else {
            self.admit(join, true, now);
        }
    }

    /// A connection wants out.
    pub fn leave(&mut self, leave: Leave, now: Now) {
        if !self.attached[leave.asker.shard] {
            return self.keep(&leave.asker.clone(), Request::Leave(leave));
        }
        let Leave { asker, project } = leave;
        if !self.rooms.get(&project).is_some_and(|room| room.members.contains_key(&asker.conn)) {
            return self.refuse(&asker, ErrorCode::NotJoined, "you are not in that project's room");
        }
        self.gone(project, asker.conn, now);
        let released = self.book().release_conn(project, asker.conn);
        self.tell_released(project, released, Some(asker.conn));
        let left = ShardJob::Left { conn: asker.conn, room: project, re: asker.re, reason: "left" };
        self.out.push(Output::Shard(asker.shard, left));
    }

    /// A connection has ended. Its claims last as long as their leases: the reviewer may be back in a moment.
    pub fn disconnect(&mut self, disconnect: &Disconnect, now: Now) {
        for project in &disconnect.rooms {
            self.gone(*project, disconnect.conn, now);
        }
    }

    /// A durable event was committed.
    pub fn publish(&mut self, publish: Publish, now: Now) {
        let Publish { project, ep, off, bytes, ends } = publish;
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if ends.is_some_and(|job| room.jobs.remove(&job).is_some()) {
            room.stale();
        }
        if !room.live {
            if room.ahead.len() < MAX_AHEAD {
                room.ahead.insert(off, bytes);
            }
            return;
        }
        if room.ep != ep {
            return self.replaced(project, ep, off, now);
        }
        if off <= room.head {
            return;
        }
        if off == room.head + 1 {
            self.hand_out(project, off, bytes, now);
            self.hand_out_ahead(project, now);
        } else {
            if room.ahead.len() < MAX_AHEAD {
                room.ahead.insert(off, bytes);
            }
            self.watch_hole(project, HOLE_WAIT, now);
        }
    }

    /// A member says something.
    pub fn say(&mut self, say: Say) {
        if !self.attached[say.asker.shard] {
            return self.keep(&say.asker.clone(), Request::Say(say));
        }
        let Say { asker, project, frame, ack } = say;
        match self.rooms.get_mut(&project) {
            Some(room) if room.members.contains_key(&asker.conn) => {
                broadcast(room, &mut self.out, project, &Outgoing::Ready(frame), None);
                if let Some(ack) = ack {
                    self.reply(&asker, Reply::Ready(ack));
                }
            }
            _ => self.refuse(&asker, ErrorCode::NotJoined, "you are not in that project's room"),
        }
    }

    /// A runner reports.
    pub fn progress(&mut self, progress: Progress, now: Now) {
        let Progress { project, job, bytes, json } = progress;
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.stale();
        match room.jobs.get_mut(&job) {
            Some(line) => {
                line.json = json;
                line.heard_at = now.instant;
                if line.pending.replace(bytes).is_none() {
                    let due = line.sent_at + PROGRESS_EVERY;
                    if due <= now.instant {
                        self.send_progress(project, job, now);
                    } else {
                        self.timers.push(Reverse((due, Timer::Progress(project, job))));
                    }
                }
            }
            None => {
                let line = Line { json, sent_at: now.instant, heard_at: now.instant, pending: Some(bytes) };
                room.jobs.insert(job, line);
                self.send_progress(project, job, now);
            }
        }
    }

    /// Claim or release over a connection.
    pub fn claim_by_frame(&mut self, ask: ClaimByFrame, now: Now) {
        if !self.attached[ask.asker.shard] {
            return self.keep(&ask.asker.clone(), Request::Claim(ask));
        }
        let ClaimByFrame { asker, project, entity_id, release } = ask;
        if !self.rooms.get(&project).is_some_and(|room| room.members.contains_key(&asker.conn)) {
            return self.refuse(&asker, ErrorCode::NotJoined, "you are not in that project's room");
        }
        let by = Some(asker.conn);
        let news = if release {
            self.release_as(project, &entity_id, &asker.user, by)
        } else {
            let holder = Holder { user: asker.user.clone(), conn: by };
            self.claim_as(project, &entity_id, holder, now).map(|(_, news)| news)
        };
        match news {
            Ok(news) => self.reply(&asker, Reply::Claim(news)),
            Err(refused) => {
                let (code, holder) = match &refused {
                    ClaimRefused::AlreadyClaimed { holder, .. } => (ErrorCode::AlreadyClaimed, Some(holder.clone())),
                    ClaimRefused::NotHeld => (ErrorCode::NotFound, None),
                    ClaimRefused::TooMany => (ErrorCode::LimitExceeded, None),
                };
                self.reply(&asker, Reply::Refused { code, text: refused.to_string(), holder });
            }
        }
    }

    /// Claim from inside the process.
    ///
    /// # Errors
    /// See [`ClaimRefused`].
    pub fn claim(&mut self, ask: ClaimEntity, now: Now) -> Result<Claim, ClaimRefused> {
        self.claim_as(ask.project, &ask.entity_id, ask.holder, now).map(|(claim, _)| claim)
    }

    /// Release from inside the process.
    ///
    /// # Errors
    /// [`ClaimRefused::NotHeld`].
    pub fn release(&mut self, ask: &ReleaseEntity) -> Result<(), ClaimRefused> {
        self.release_as(ask.project, &ask.entity_id, &ask.user, None).map(|_| ())
    }

    /// The store has answered.
    pub fn told(&mut self, told: Told, now: Now) {
        let Told { generation, project, purpose, history } = told;
        if generation != self.generation {
            return;
        }
        if let History::NotFound = history {
            return self.vanished(project, purpose);
        }
        match purpose {
            Purpose::Open => self.opened(project, history, now),
            Purpose::Check => self.checked(project, history, now),
            Purpose::Hole => self.hole_read(project, history, now),
            Purpose::Join(join) => self.join_read(*join, history, now),
            Purpose::Catchup(shard) => self.catchup_read(project, shard, history, now),
        }
    }

    /// A publish may have been lost on its way: compare with the store.
    pub fn check(&mut self, project: ProjectId) {
        if self.rooms.get(&project).is_some_and(|room| room.live) {
            self.out.push(Output::ReadHead(project, Purpose::Check));
        }
    }

    /// Do what has come due.
    pub fn tick(&mut self, now: Now) {
        while let Some(Reverse((due, _))) = self.timers.peek() {
            if *due > now.instant {
                break;
            }
            let Some(Reverse((_, timer))) = self.timers.pop() else { break };
            match timer {
                Timer::Open(project) => {
                    if self.rooms.get(&project).is_some_and(|room| !room.live) {
                        self.out.push(Output::ReadHead(project, Purpose::Open));
                    }
                }
                Timer::Hole(project) => self.read_hole(project),
                Timer::Presence(project) => self.announce(project),
                Timer::Progress(project, job) => self.send_progress(project, job, now),
                Timer::Empty(project) => self.forget_if_empty(project, now),
                Timer::Claims(project) => self.expire_claims(project, now),
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
            generation: self.generation,
        }
    }

    fn book(&self) -> MutexGuard<'_, super::claims::Book> {
        // A change of the book is complete when it could panic; a poisoned one is still whole.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply(&mut self, asker: &Asker, reply: Reply) {
        self.out.push(Output::Shard(asker.shard, ShardJob::Reply { conn: asker.conn, re: asker.re, reply }));
    }

    fn refuse(&mut self, asker: &Asker, code: ErrorCode, text: &str) {
        self.reply(asker, Reply::Refused { code, text: text.to_string(), holder: None });
    }
}

fn released(project: ProjectId, entity_id: String, user: Arc<str>, by: Option<ConnId>) -> Arc<ClaimNews> {
    Arc::new(ClaimNews { project, action: "released", entity_id, user, by, expires_at_ms: None })
}

/// One job per shard that has members, however many they are. A shard that is behind gets it later: durable frames
/// with what it lacks, others after that.
fn broadcast(room: &mut Room, out: &mut Vec<Output>, project: ProjectId, frame: &Outgoing, cursor: Option<&Cursor>) {
    for (shard, view) in room.shards.iter_mut().enumerate() {
        match &mut view.behind {
            _ if view.members == 0 => {}
            None => {
                let job = ShardJob::Frame { room: project, frame: frame.clone(), cursor: cursor.cloned() };
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
        out.push(Output::Shard(shard, ShardJob::Frame { room: project, frame, cursor: None }));
    }
}
