//! A shard: what writes to its share of the connections, so that the actor's turn does not grow with a room. `workers`
//! runs it.
//!
//! It drains all queued jobs, groups frames per room, and makes one non-blocking vectored write per member; it also
//! sweeps its connections once a second (pings, dead and slow ones, drain). Order and membership are the hub's. Easy
//! to get wrong: a job that is not a frame ends the grouping, or a joiner would get a frame that came before it.
use super::commands::{Attached, Cursor, JoinedCommand, Reply, ShardCommand};
use super::line::{Line, Missed};
use super::outbox::{Batch, RoomFrame};
use super::pace::Pace;
use super::peer::Peer;
use super::queue::{Queue, Waiting};
use crate::actors::hub::actor::Hub;
use crate::actors::rooms::limits::Shared;
use crate::actors::rooms::messages::{Attach, Disconnect, Serve};
use crate::{
    protocol::{
        CloseCode, ErrorCode, ServerMessage,
        ids::{ConnId, ProjectId},
        server::{self, ErrorBody, Head},
    },
    runtime::{Addr, SendError},
};
use rustc_hash::FxHashMap;
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

/// Members written to before the task lets others run.
const MEMBERS_PER_SLICE: usize = 128;
/// Time between sweeps.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Time between sweeps while closing connections down.
const DRAIN_SWEEP_EVERY: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Room {
    members: Vec<(ConnId, Arc<Peer>)>,
    /// What every member of this shard has been handed; none until the hub says.
    cursor: Option<Cursor>,
}

/// The task's state.
pub struct Shard {
    index: usize,
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    hub: Addr<Hub>,
    lines: FxHashMap<ConnId, Line>,
    rooms: FxHashMap<ProjectId, Room>,
    /// Taken from the queue and not done yet.
    taken: VecDeque<ShardCommand>,
    draining: bool,
    /// How often the hub is nudged, and how often frames are written.
    asking: Pace,
    writing: Pace,
    deliveries: metrics::Counter,
    batches: metrics::Counter,
    fanout: metrics::Histogram,
}

impl Shard {
    /// A shard that serves `queue` and reports to `hub`.
    pub fn new(index: usize, queue: Arc<Queue>, shared: Arc<Shared>, hub: Addr<Hub>) -> Self {
        let pace = || Pace::new(shared.limits.gather);
        Self {
            index,
            queue,
            hub,
            lines: FxHashMap::default(),
            rooms: FxHashMap::default(),
            taken: VecDeque::new(),
            draining: false,
            asking: pace(),
            writing: pace(),
            deliveries: metrics::counter!("tieout_rt_deliveries_total"),
            batches: metrics::counter!("tieout_rt_batches_total"),
            fanout: metrics::histogram!("tieout_rt_fanout_seconds"),
            shared,
        }
    }

    /// Pass on what waits, both ways. What is to wait for company stays; the answer is how long.
    pub(super) async fn turn(&mut self) -> Option<Duration> {
        loop {
            let waiting = self.look().await;
            let now = Instant::now();
            let frames_wait = self.writing.wait(now).filter(|_| waiting.jobs && !waiting.urgent);
            let writes = waiting.jobs && frames_wait.is_none();
            // First what goes out: who has an answer asks again, and that goes to the hub with the rest.
            if writes {
                self.writing.turn(now);
                self.drain().await;
                let now = Instant::now();
                self.writing.ended(now);
                // In step, so that what is asked at a tick is written at it, as soon as the hub has said it.
                self.asking.ended(now);
            }
            let waiting = if writes { self.look().await } else { waiting };
            let mut requests_wait = None;
            if waiting.requests {
                let now = Instant::now();
                requests_wait = self.asking.wait(now).filter(|_| !waiting.prompt);
                if requests_wait.is_none() {
                    self.asking.turn(now);
                    self.nudge();
                }
            }
            if !writes {
                return [frames_wait, requests_wait].into_iter().flatten().min();
            }
        }
    }

    /// What waits, once the sockets have been looked at: what they are about to ask comes along.
    async fn look(&self) -> Waiting {
        if self.asking.is_busy() || self.writing.is_busy() {
            tokio::task::yield_now().await;
        }
        self.queue.waiting()
    }

    pub(super) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// When to look after the connections again, if there are any.
    pub(super) fn sweep_again(&self) -> Option<Duration> {
        let every = if self.draining { DRAIN_SWEEP_EVERY } else { SWEEP_EVERY };
        (!self.lines.is_empty()).then_some(every)
    }

    /// After a panic, when nothing it knows can be relied on: every connection ends, and the hub is told.
    pub(super) async fn abandon(&mut self) {
        self.kill_all();
        self.rooms.clear();
        for line in std::mem::take(&mut self.lines).into_values() {
            self.tell_gone(&line).await;
        }
        self.queue.forget_nudge();
        // What was still to be done. Frames and answers were for those who are gone.
        for job in std::mem::take(&mut self.taken) {
            match job {
                ShardCommand::Add(peer) => peer.kill(),
                ShardCommand::Joined(job) => self.tell_not_entered(&job).await,
                ShardCommand::NewHub { generation } => self.attach(generation).await,
                ShardCommand::Drain { window } => self.begin_drain(window),
                _ => {}
            }
        }
    }

    /// The end: every connection is.
    pub(super) fn kill_all(&self) {
        for line in self.lines.values() {
            line.peer.kill();
        }
    }

    /// Tell the hub that requests wait.
    fn nudge(&mut self) {
        self.queue.take_nudge();
        match self.hub.try_tell(Serve { shard: self.index }) {
            Ok(()) => {}
            Err(SendError::MailboxFull(_)) => self.queue.forget_nudge(),
            Err(error) if error.retryable() => self.queue.forget_nudge(),
            Err(_) => {
                for request in self.queue.give_up() {
                    let asker = request.asker();
                    let Some(line) = self.lines.get(&asker.conn) else { continue };
                    let text = "the hub is gone".to_string();
                    let reply = Reply::Refused { code: ErrorCode::Unavailable, text, holder: None, limit: None };
                    line.peer.control(reply.encode(asker.re));
                }
            }
        }
    }

    async fn drain(&mut self) {
        self.taken.append(&mut self.queue.take());
        let mut groups: Vec<(ProjectId, Vec<RoomFrame>, Option<Cursor>)> = Vec::new();
        while let Some(job) = self.taken.pop_front() {
            if let ShardCommand::Frame { room, frame, cursor } = job {
                let frame = frame.encode();
                match groups.iter_mut().find(|(r, _, _)| *r == room) {
                    Some((_, frames, at)) => {
                        frames.push(frame);
                        *at = cursor.or(at.take());
                    }
                    None => groups.push((room, vec![frame], cursor)),
                }
                if groups.len() < 64 {
                    continue;
                }
                self.write_groups(&mut groups).await;
                continue;
            }
            self.write_groups(&mut groups).await;
            self.act(job).await;
        }
        self.write_groups(&mut groups).await;
    }

    async fn write_groups(&mut self, groups: &mut Vec<(ProjectId, Vec<RoomFrame>, Option<Cursor>)>) {
        for (id, frames, cursor) in groups.drain(..) {
            let Some(room) = self.rooms.get_mut(&id) else { continue };
            let begun = Instant::now();
            let batch = Batch::new(frames);
            for (index, (_, peer)) in room.members.iter().enumerate() {
                peer.deliver(id, &batch);
                if index % MEMBERS_PER_SLICE == MEMBERS_PER_SLICE - 1 {
                    tokio::task::yield_now().await;
                }
            }
            if cursor.is_some() {
                room.cursor = cursor;
            }
            self.deliveries.increment((room.members.len() * batch.len()) as u64);
            self.batches.increment(room.members.len() as u64);
            self.fanout.record(begun.elapsed());
        }
    }

    async fn act(&mut self, job: ShardCommand) {
        match job {
            ShardCommand::Frame { .. } => {}
            ShardCommand::Add(peer) => self.add(peer),
            ShardCommand::Remove(conn) => self.remove(conn).await,
            ShardCommand::Joined(joined) => self.joined(*joined).await,
            ShardCommand::Left { conn, room, re, reason, .. } => self.left(conn, room, re, reason),
            ShardCommand::Reply { conn, re, reply, .. } => {
                if let Some(line) = self.lines.get(&conn) {
                    line.peer.control(reply.encode(re));
                }
            }
            ShardCommand::Break { room, reason, cursor } => {
                if let Some(members) = self.rooms.get_mut(&room) {
                    for (_, peer) in &members.members {
                        peer.break_room(room, reason);
                    }
                    members.cursor = cursor.or(members.cursor.take());
                }
            }
            ShardCommand::NewHub { generation } => self.attach(generation).await,
            ShardCommand::Drain { window } => self.begin_drain(window),
            ShardCommand::Status { degraded } => self.say_status(degraded),
            ShardCommand::PanicNow => panic!("asked to panic"),
        }
    }

    fn add(&mut self, peer: Arc<Peer>) {
        let tick = self.shared.tick();
        let period = self.shared.limits.ping_every.as_millis() as u32;
        let ping_at = tick.wrapping_add(rand::random_range(period / 2..=period.max(1)));
        if self.draining {
            peer.close(CloseCode::Draining, Some(rand::random_range(500..5_000)));
        }
        let line = Line::new(peer.clone(), tick, ping_at);
        self.lines.insert(peer.id, line);
    }

    async fn remove(&mut self, conn: ConnId) {
        let Some(line) = self.lines.remove(&conn) else { return };
        for member in &line.rooms {
            self.leave_room(member.room, conn);
        }
        self.tell_gone(&line).await;
    }

    /// A connection has ended.
    async fn tell_gone(&self, line: &Line) {
        let rooms: Vec<ProjectId> = line.rooms.iter().map(|member| member.room).collect();
        if !rooms.is_empty() {
            let (conn, user) = (line.peer.id, line.peer.user());
            self.tell(Disconnect { conn, user, rooms, farewell: line.peer.said_farewell() }).await;
        }
    }

    /// A connection was let in that is not there, or may not be: it never heard of it, nor of what it claimed.
    async fn tell_not_entered(&self, job: &JoinedCommand) {
        let (conn, user, rooms) = (job.conn, job.user.clone(), vec![job.room]);
        self.tell(Disconnect { conn, user, rooms, farewell: true }).await;
    }

    async fn joined(&mut self, job: JoinedCommand) {
        let Some(line) = self.lines.get_mut(&job.conn) else {
            // It ended between asking and being let in; the hub must not keep it as a member.
            return self.tell_not_entered(&job).await;
        };
        // Here, where memberships are counted: a connection may send many joins before the first is answered.
        let most = self.shared.limits.rooms_per_connection;
        let is_new = line.rooms.iter().all(|member| member.room != job.room);
        if is_new && line.rooms.len() >= most {
            let text = format!("a connection may be in {most} rooms");
            let mut body = ErrorBody::new(ErrorCode::LimitExceeded, &text);
            body.limit = Some("rooms_per_connection");
            line.peer.control(server::encode(Head::reply(job.re), &ServerMessage::Error(body)));
            return self.tell_not_entered(&job).await;
        }
        let handed = self.rooms.get(&job.room).and_then(|room| room.cursor.as_ref());
        let handed = handed.filter(|at| at.ep == job.cursor.ep).map(|at| at.off);
        let reply = job.encode(line.peer.role(), self.shared.degraded.load(Ordering::Relaxed));
        let JoinedCommand { conn, room, cursor, recovered, missed, .. } = job;
        line.enter(room, reply, Missed { events: missed, upto: cursor.off, recovered }, handed);
        if is_new {
            let members = self.rooms.entry(room).or_default();
            members.members.push((conn, line.peer.clone()));
            members.cursor = Some(cursor);
        }
    }

    fn left(&mut self, conn: ConnId, room: ProjectId, re: Option<u64>, reason: &'static str) {
        let Some(line) = self.lines.get_mut(&conn) else { return };
        line.rooms.retain(|member| member.room != room);
        let body = server::ProjectLeft { project_id: room, reason };
        line.peer.leave(room, server::encode(Head::reply(re), &ServerMessage::ProjectLeft(body)));
        self.leave_room(room, conn);
    }

    fn leave_room(&mut self, id: ProjectId, conn: ConnId) {
        let Some(room) = self.rooms.get_mut(&id) else { return };
        if let Some(at) = room.members.iter().position(|(member, _)| *member == conn) {
            room.members.swap_remove(at);
        }
        if room.members.is_empty() {
            self.rooms.remove(&id);
        }
    }

    /// A new incarnation of the hub knows nobody: tell it who is here and what they have.
    async fn attach(&mut self, generation: u64) {
        // The nudge may have died with the last one.
        self.queue.forget_nudge();
        let rooms = self.rooms.iter().map(|(id, room)| Attached {
            room: *id,
            cursor: room.cursor.clone(),
            members: room.members.iter().map(|(conn, peer)| (*conn, peer.user())).collect(),
        });
        let attach = Attach { generation, shard: self.index, rooms: rooms.collect() };
        self.tell(attach).await;
    }

    async fn tell<M>(&self, message: M)
    where
        Hub: actix::Handler<M>,
        M: actix::Message<Result = ()> + Send + 'static,
    {
        // The hub never waits for a shard, so this can't be a cycle; it waits when the mailbox is full.
        let mut message = message;
        loop {
            match self.hub.tell(message).await {
                Ok(()) => return,
                Err(error) if error.retryable() => match error.into_message() {
                    Some(back) => message = back,
                    None => return,
                },
                Err(error) => {
                    log::debug!("shard={} the hub is gone: {error}", self.index);
                    return;
                }
            }
        }
    }

    fn say_status(&self, degraded: bool) {
        let status = server::encode(Head::default(), &ServerMessage::Status { degraded });
        // Who has not said who it is has no rooms either.
        let known = self.lines.values().filter(|line| line.peer.principal().is_some());
        known.for_each(|line| line.peer.control(status.clone()));
    }

    fn begin_drain(&mut self, window: Duration) {
        self.draining = true;
        let tick = self.shared.tick();
        let window_ms = window.as_millis() as u32;
        let notice = server::encode(Head::default(), &ServerMessage::Draining { window_ms: u64::from(window_ms) });
        for line in self.lines.values_mut() {
            line.peer.control(notice.clone());
            line.drain_at = Some(tick.wrapping_add(rand::random_range(0..=window_ms)));
        }
    }

    /// Look after every connection.
    pub(super) async fn sweep(&mut self) {
        let tick = self.shared.tick();
        let now = Instant::now();
        let limits = &self.shared.limits;
        let mut waiting = 0;
        for (index, line) in self.lines.values_mut().enumerate() {
            waiting += line.sweep(limits, tick, now);
            if index % 1024 == 1023 {
                tokio::task::yield_now().await;
            }
        }
        metrics::gauge!("tieout_rt_queue_bytes", "shard" => self.index.to_string()).set(waiting as f64);
    }
}
