//! The hub's decisions as a synchronous state machine: inputs change rooms and append to a list of outputs.
//!
//! It does no I/O and reads no clock: jobs for shards and reads of the store come out, results and time go in. Easy to
//! get wrong: to a shard that is behind after a restart nothing of the room may be sent before what it lacks, and to a
//! connection nothing before its `ProjectJoined`.
use super::{
    claims::{Claim, ClaimRefused, Holder, Ledger, Now},
    jobs::{ClaimNews, Cursor, JoinedJob, Outgoing, Reply, ShardJob},
    limits::Limits,
    messages::{
        Asker, Attach, ClaimByFrame, ClaimEntity, Counts, Disconnect, History, Join, Leave, Progress, Publish, Purpose,
        ReleaseEntity, RoomView, Say, Told,
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

/// A request of a connection whose shard has not reported yet.
#[derive(Debug)]
enum Early {
    Join(Join),
    Leave(Leave),
    Say(Say),
    Claim(ClaimByFrame),
}

/// The state machine.
#[derive(Debug)]
pub struct Core {
    generation: u64,
    limits: Limits,
    attached: Vec<bool>,
    stash: Vec<Vec<Early>>,
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
            match early {
                Early::Join(join) => self.join(join, now),
                Early::Leave(leave) => self.leave(leave, now),
                Early::Say(say) => self.say(say),
                Early::Claim(ask) => self.claim_by_frame(ask, now),
            }
        }
    }

    /// Keep a request until its shard has reported; who is a member is not known before.
    fn keep(&mut self, asker: &Asker, early: Early) {
        if self.stash[asker.shard].len() < MAX_EARLY {
            self.stash[asker.shard].push(early);
        } else {
            self.refuse(asker, ErrorCode::Unavailable, "the hub is restarting, try again");
        }
    }

    /// A connection wants in.
    pub fn join(&mut self, join: Join, now: Now) {
        let shard = join.asker.shard;
        if !self.attached[shard] {
            return self.keep(&join.asker.clone(), Early::Join(join));
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
            return self.keep(&leave.asker.clone(), Early::Leave(leave));
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
        if let Some(job) = ends {
            if room.jobs.remove(&job).is_some() {
                room.stale();
            }
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
            return self.keep(&say.asker.clone(), Early::Say(say));
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
            return self.keep(&ask.asker.clone(), Early::Claim(ask));
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

    /// The room, opened if need be.
    fn open(&mut self, project: ProjectId) -> &mut Room {
        let shards = self.attached.len();
        let out = &mut self.out;
        self.rooms.entry(project).or_insert_with(|| {
            out.push(Output::ReadHead(project, Purpose::Open));
            Room::new(shards)
        })
    }

    fn opened(&mut self, project: ProjectId, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.live {
            return;
        }
        let (History::Head { ep, off } | History::Gone { ep, off }) = history else {
            let waiting = std::mem::take(&mut room.waiting);
            if room.members.is_empty() {
                self.rooms.remove(&project);
            } else {
                self.timers.push(Reverse((now.instant + RETRY, Timer::Open(project))));
            }
            for join in waiting {
                self.refuse(&join.asker, ErrorCode::Unavailable, "the store is away, try again");
            }
            return;
        };
        room.restart_at(ep, off);
        for shard in 0..self.attached.len() {
            self.catch_up(project, shard);
        }
        self.hand_out_ahead(project, now);
        self.admit_waiting(project, true, now);
        self.time_empty(project, now);
    }

    fn vanished(&mut self, project: ProjectId, purpose: Purpose) {
        if let Purpose::Join(join) = purpose {
            self.refuse(&join.asker, ErrorCode::NotFound, "no such project");
        }
        let Some(room) = self.rooms.remove(&project) else { return };
        for join in &room.waiting {
            self.refuse(&join.asker, ErrorCode::NotFound, "no such project");
        }
        for (conn, member) in room.members {
            let left = ShardJob::Left { conn, room: project, re: None, reason: "deleted" };
            self.out.push(Output::Shard(member.shard, left));
        }
    }

    fn admit_waiting(&mut self, project: ProjectId, may_read: bool, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        for join in std::mem::take(&mut room.waiting) {
            match self.rooms.get_mut(&project) {
                Some(room) if room.shards[join.asker.shard].behind.is_some() => room.waiting.push(join),
                _ => self.admit(join, may_read, now),
            }
        }
    }

    /// Let a connection into a live room whose shard is up to date, or read what it lacks first.
    fn admit(&mut self, join: Join, may_read: bool, now: Now) {
        let project = join.project;
        let room = self.open(project);
        let missed = match &join.since {
            None => None,
            Some(since) if !room.knows(since) => None,
            Some(since) if since.off > room.head => {
                if may_read {
                    // It read a snapshot newer than what has been published here: catch up, then let it in.
                    room.waiting.push(join);
                    if !room.hole_watched {
                        room.hole_watched = true;
                        self.read_hole(project);
                    }
                    return;
                }
                None
            }
            Some(since) => match room.after(since.off) {
                Some(missed) => Some(missed),
                None if may_read => {
                    let from = Cursor { ep: room.ep.clone(), off: since.off };
                    self.out.push(Output::ReadSince(project, from, Purpose::Join(Box::new(join))));
                    return;
                }
                None => None,
            },
        };
        self.enter(join, missed, now);
    }

    fn enter(&mut self, join: Join, missed: Option<Vec<RoomFrame>>, now: Now) {
        let Join { asker, project, since } = join;
        let ledger = self.ledger.clone();
        let room = self.open(project);
        let source = match (&missed, &since) {
            (_, None) => "fresh",
            (Some(_), _) => "recovered",
            (None, _) => "snapshot",
        };
        metrics::counter!("tieout_rt_recover_total", "result" => source).increment(1);
        let snapshot =
            room.snapshot(now.instant, || ledger.lock().unwrap_or_else(PoisonError::into_inner).list(project));
        let added = room.add(asker.conn, asker.shard, asker.user.clone());
        let job = JoinedJob {
            conn: asker.conn,
            room: project,
            re: asker.re,
            cursor: room.cursor(),
            recovered: missed.is_some(),
            missed: missed.unwrap_or_default(),
            snapshot,
        };
        self.out.push(Output::Shard(asker.shard, ShardJob::Joined(Box::new(job))));
        if added {
            self.time_presence(project, now.instant);
        }
    }

    fn join_read(&mut self, join: Join, history: History, now: Now) {
        let project = join.project;
        let Some(room) = self.rooms.get(&project) else { return self.join(join, now) };
        if !room.live || room.shards[join.asker.shard].behind.is_some() {
            return self.join(join, now);
        }
        let missed = match history {
            History::Events { events, head } => {
                let complete = events.last().is_none_or(|(off, _)| *off == head);
                let last = events.last().map(|(off, _)| *off);
                let upto = room.head;
                let mut frames: Vec<RoomFrame> =
                    events.iter().filter(|(off, _)| *off <= upto).map(|(_, bytes)| room::durable(bytes)).collect();
                let reached = last.unwrap_or_else(|| join.since.as_ref().map_or(0, |since| since.off)).min(upto);
                match room.after(reached) {
                    Some(rest) if complete => {
                        frames.extend(rest);
                        Some(frames)
                    }
                    _ => None,
                }
            }
            History::Unavailable => {
                return self.refuse(&join.asker, ErrorCode::Unavailable, "the store is away, try again");
            }
            _ => None,
        };
        self.enter(join, missed, now);
    }

    fn gone(&mut self, project: ProjectId, conn: ConnId, now: Now) {
        if let Some(room) = self.rooms.get_mut(&project) {
            room.waiting.retain(|join| join.asker.conn != conn);
            if room.remove(conn, now.instant) {
                self.time_presence(project, now.instant);
                self.time_empty(project, now);
            }
        }
    }

    fn hand_out(&mut self, project: ProjectId, off: u64, bytes: Bytes, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.append(off, bytes.clone(), now.instant);
        let frame = Outgoing::Ready(room::durable(&bytes));
        let cursor = room.cursor();
        broadcast(room, &mut self.out, project, &frame, Some(&cursor));
    }

    fn hand_out_ahead(&mut self, project: ProjectId, now: Now) {
        while let Some((off, bytes)) = self.rooms.get_mut(&project).and_then(Room::next_ahead) {
            self.hand_out(project, off, bytes, now);
        }
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let head = room.head;
        room.ahead.retain(|off, _| *off > head);
        if !room.ahead.is_empty() {
            self.watch_hole(project, HOLE_WAIT, now);
        }
    }

    fn watch_hole(&mut self, project: ProjectId, wait: Duration, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.hole_watched {
            room.hole_watched = true;
            self.timers.push(Reverse((now.instant + wait, Timer::Hole(project))));
        }
    }

    fn read_hole(&mut self, project: ProjectId) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.ahead.is_empty() && room.waiting.is_empty() {
            room.hole_watched = false;
            return;
        }
        metrics::counter!("tieout_rt_gap_total").increment(1);
        self.out.push(Output::ReadSince(project, room.cursor(), Purpose::Hole));
    }

    fn hole_read(&mut self, project: ProjectId, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.hole_watched = false;
        match history {
            History::Events { events, .. } => {
                for (off, bytes) in events {
                    if self.rooms.get(&project).is_some_and(|room| off == room.head + 1) {
                        self.hand_out(project, off, bytes, now);
                    }
                }
                self.hand_out_ahead(project, now);
                self.admit_waiting(project, false, now);
            }
            History::Gone { ep, off } => self.replaced(project, ep, off, now),
            _ => self.watch_hole(project, RETRY, now),
        }
    }

    fn checked(&mut self, project: ProjectId, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        match history {
            History::Head { ep, off } if ep != room.ep => self.replaced(project, ep, off, now),
            History::Head { off, .. } if off > room.head && !room.hole_watched => {
                room.hole_watched = true;
                self.out.push(Output::ReadSince(project, room.cursor(), Purpose::Hole));
            }
            _ => {}
        }
    }

    /// The history is another one: everybody starts afresh.
    fn replaced(&mut self, project: ProjectId, ep: Arc<str>, off: u64, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.restart_at(ep, off);
        let cursor = room.cursor();
        for (shard, view) in room.shards.iter_mut().enumerate() {
            view.behind = None;
            if view.members > 0 {
                let job = ShardJob::Break { room: project, reason: "history_replaced", cursor: Some(cursor.clone()) };
                self.out.push(Output::Shard(shard, job));
            }
        }
        self.hand_out_ahead(project, now);
        self.admit_waiting(project, false, now);
    }

    /// Bring a shard's members up to date after a restart, from the ring or the store.
    fn catch_up(&mut self, project: ProjectId, shard: usize) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.live {
            return;
        }
        let here = room.cursor();
        let Some(behind) = &mut room.shards[shard].behind else { return };
        match behind.cursor.clone() {
            Some(cursor) if cursor.ep == here.ep && cursor.off <= here.off => {
                if let Some(missed) = room.after(cursor.off) {
                    self.send_missed(project, shard, cursor.off, missed);
                } else if let Some(behind) = &mut room.shards[shard].behind {
                    if !std::mem::replace(&mut behind.reading, true) {
                        self.out.push(Output::ReadSince(project, cursor, Purpose::Catchup(shard)));
                    }
                }
            }
            _ => self.break_shard(project, shard),
        }
    }

    fn catchup_read(&mut self, project: ProjectId, shard: usize, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let upto = room.head;
        let Some(behind) = &mut room.shards[shard].behind else { return };
        behind.reading = false;
        let from = behind.cursor.as_ref().map_or(0, |cursor| cursor.off);
        match history {
            History::Events { events, head } if events.last().is_none_or(|(off, _)| *off == head) => {
                let reached = events.last().map_or(from, |(off, _)| *off).min(upto);
                let mut missed: Vec<RoomFrame> =
                    events.iter().filter(|(off, _)| *off <= upto).map(|(_, bytes)| room::durable(bytes)).collect();
                match room.after(reached) {
                    Some(rest) => {
                        missed.extend(rest);
                        self.send_missed(project, shard, from, missed);
                    }
                    None => self.break_shard(project, shard),
                }
            }
            History::Unavailable => {
                self.timers.push(Reverse((now.instant + RETRY, Timer::Catchup(project, shard))));
                return;
            }
            _ => self.break_shard(project, shard),
        }
        self.admit_waiting(project, true, now);
    }

    fn send_missed(&mut self, project: ProjectId, shard: usize, from: u64, missed: Vec<RoomFrame>) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        for (off, frame) in (from + 1..).zip(missed) {
            let cursor = Some(Cursor { ep: room.ep.clone(), off });
            let job = ShardJob::Frame { room: project, frame: Outgoing::Ready(frame), cursor };
            self.out.push(Output::Shard(shard, job));
        }
        let_go(room, &mut self.out, project, shard);
    }

    fn break_shard(&mut self, project: ProjectId, shard: usize) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let job = ShardJob::Break { room: project, reason: "restarted", cursor: Some(room.cursor()) };
        self.out.push(Output::Shard(shard, job));
        let_go(room, &mut self.out, project, shard);
    }

    fn send_progress(&mut self, project: ProjectId, job: JobId, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let Some(line) = room.jobs.get_mut(&job) else { return };
        let Some(bytes) = line.pending.take() else { return };
        line.sent_at = now.instant;
        let frame = RoomFrame { bytes, kind: Kind::Keyed(job.0.as_u128()) };
        broadcast(room, &mut self.out, project, &Outgoing::Ready(frame), None);
    }

    fn time_presence(&mut self, project: ProjectId, now: Instant) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if !room.presence_due {
            room.presence_due = true;
            let wait = if room.members.len() > LARGE_ROOM { PRESENCE_EVERY_LARGE } else { PRESENCE_EVERY };
            self.timers.push(Reverse((now + wait, Timer::Presence(project))));
        }
    }

    fn announce(&mut self, project: ProjectId) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.presence_due = false;
        let Some(change) = room.take_presence_change() else { return };
        let diff = PresenceDiff {
            project_id: project,
            rev: room.rev,
            joins: change.joins,
            leaves: change.leaves,
            count: change.count,
        };
        broadcast(room, &mut self.out, project, &Outgoing::Presence(Arc::new(diff)), None);
    }

    fn time_empty(&mut self, project: ProjectId, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.members.is_empty() {
            let since = *room.empty_since.get_or_insert(now.instant);
            self.timers.push(Reverse((since + EMPTY_ROOM_KEPT, Timer::Empty(project))));
        }
    }

    fn forget_if_empty(&mut self, project: ProjectId, now: Now) {
        let empty = self.rooms.get(&project).is_some_and(|room| {
            room.waiting.is_empty()
                && room.empty_since.is_some_and(|since| now.instant.duration_since(since) >= EMPTY_ROOM_KEPT)
        });
        if empty {
            self.rooms.remove(&project);
        }
    }

    fn claim_as(
        &mut self,
        project: ProjectId,
        entity: &str,
        holder: Holder,
        now: Now,
    ) -> Result<(Claim, Arc<ClaimNews>), ClaimRefused> {
        let by = holder.conn;
        let user = holder.user.clone();
        let claim = self.book().claim(project, entity, holder, self.limits.claim_ttl, now)?;
        self.time_claims(project, now.instant);
        let news = Arc::new(ClaimNews {
            project,
            action: "claimed",
            entity_id: claim.entity_id.clone(),
            user,
            by,
            expires_at_ms: Some(claim.expires_at_ms),
        });
        self.tell_claim(&news);
        Ok((claim, news))
    }

    fn release_as(
        &mut self,
        project: ProjectId,
        entity: &str,
        user: &Arc<str>,
        by: Option<ConnId>,
    ) -> Result<Arc<ClaimNews>, ClaimRefused> {
        self.book().release(project, entity, user)?;
        let news = released(project, entity.to_string(), user.clone(), by);
        self.tell_claim(&news);
        Ok(news)
    }

    fn tell_claim(&mut self, news: &Arc<ClaimNews>) {
        if let Some(room) = self.rooms.get_mut(&news.project) {
            room.stale();
            broadcast(room, &mut self.out, news.project, &Outgoing::Claim(news.clone()), None);
        }
    }

    fn tell_released(&mut self, project: ProjectId, gone: Vec<(String, Arc<str>)>, by: Option<ConnId>) {
        for (entity, user) in gone {
            let news = released(project, entity, user, by);
            self.tell_claim(&news);
        }
    }

    fn time_claims(&mut self, project: ProjectId, now: Instant) {
        let next = self.book().next_expiry(project);
        if let Some(due) = next {
            if self.claims_timed.insert(project) {
                self.timers.push(Reverse((due.max(now), Timer::Claims(project))));
            }
        }
    }

    fn expire_claims(&mut self, project: ProjectId, now: Now) {
        self.claims_timed.remove(&project);
        let lapsed = self.book().expire(project, now.instant);
        self.tell_released(project, lapsed, None);
        self.time_claims(project, now.instant);
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
