//! The world around the core: shards, clients, the store; each as simple as can be.
//!
//! What must never happen is asserted where it would show; what must be so in the end, in [`World::check`]. Easy to
//! get wrong: a connection's number is never used again, as in the process.
mod requests;
mod store;

use super::*;
use crate::actors::sockets::commands::Attached;
use crate::db::claims::{Claim as Row, Taken, abandoned};
use crate::protocol::client::Position;
use requests::Asked;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// What a client in a room has.
#[derive(Debug)]
struct Client {
    at: u64,
    /// Revision of the presence; none after it was told to join again, which clients here never do.
    rev: Option<u64>,
    users: BTreeSet<String>,
}

#[derive(Default)]
struct Shard {
    rooms: BTreeMap<ProjectId, (BTreeMap<u64, Client>, Option<Cursor>)>,
    reports: Option<u64>,
}

pub(super) struct World {
    core: Core,
    given: Given,
    now: Now,
    projects: Vec<ProjectId>,
    heads: Vec<u64>,
    trimmed: Vec<u64>,
    late: VecDeque<(usize, u64)>,
    reads: VecDeque<(ProjectId, Option<Cursor>, Purpose)>,
    asks: Vec<(u64, ClaimAsk)>,
    rows: BTreeMap<(usize, String), Row>,
    /// Claims whose last change the hub may not have heard of: it restarted meanwhile, or the store failed.
    uncertain: BTreeSet<(usize, String)>,
    shards: Vec<Shard>,
    conns: Vec<u64>,
    /// Connections that are open; the hub asks.
    living: Arc<Mutex<BTreeSet<u64>>>,
    /// Those that were closed in order, by room.
    farewells: BTreeSet<(u64, usize)>,
    /// The last request before each end of a connection.
    ended: BTreeMap<u64, u64>,
    deleted: Vec<bool>,
    asked: Vec<Asked>,
    answered: BTreeSet<u64>,
    unanswered: BTreeSet<u64>,
    not_joined: BTreeSet<u64>,
    sinces: HashMap<u64, Option<u64>>,
    /// Rooms that this incarnation follows.
    followed: BTreeSet<ProjectId>,
    requests: u64,
    generation: u64,
}

fn shard_of(conn: u64) -> usize {
    conn as usize % SHARDS
}

/// Two lines are one user's: one on each shard.
fn user_of(conn: u64) -> Arc<str> {
    format!("u{}", conn as usize % LINES / 2).into()
}

/// The event's room and number, so that a foreign or repeated one shows.
fn event(room: usize, off: u64) -> Event {
    Event { off, ts_ms: 0, bytes: Bytes::from(format!("{room}:{off}")), ends: None, deletes: false }
}

impl World {
    pub(super) fn new(ring_frames: usize) -> Self {
        let now = Now { instant: Instant::now(), unix_ms: 0 };
        let limits = Limits { ring_frames, ..Limits::default() };
        let living = Arc::new(Mutex::new((0..LINES as u64).collect::<BTreeSet<_>>()));
        let open = living.clone();
        // Every other one has been silent for long.
        let heard: Heard = Arc::new(move |_, conn| {
            let open = open.lock().expect("whole").contains(&conn.0);
            open.then_some(Duration::from_secs(conn.0 % 2 * 600))
        });
        let given = Given {
            limits,
            memory: Arc::new(Mutex::default()),
            incarnation: "here".into(),
            heard,
            replica: ReplicaId::new("here"),
            mesh: MeshLimits::default(),
        };
        let mut world = Self {
            core: Core::new(1, SHARDS, given.clone(), now.instant),
            given,
            now,
            projects: (0..ROOMS).map(|_| ProjectId::generate()).collect(),
            heads: vec![0; ROOMS],
            trimmed: vec![0; ROOMS],
            late: VecDeque::new(),
            reads: VecDeque::new(),
            asks: Vec::new(),
            rows: BTreeMap::new(),
            uncertain: BTreeSet::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            conns: (0..LINES as u64).collect(),
            living,
            farewells: BTreeSet::new(),
            ended: BTreeMap::new(),
            deleted: vec![false; ROOMS],
            asked: Vec::new(),
            answered: BTreeSet::new(),
            unanswered: BTreeSet::new(),
            not_joined: BTreeSet::new(),
            sinces: HashMap::new(),
            followed: BTreeSet::new(),
            requests: 0,
            generation: 1,
        };
        world.carry_out();
        world
    }

    fn room(&self, project: ProjectId) -> usize {
        self.projects.iter().position(|known| *known == project).expect("a room of this world")
    }

    fn asker(&mut self, line: usize, room: usize, entity: Option<&str>, leaves: bool) -> Asker {
        let conn = self.conns[line];
        self.requests += 1;
        let (re, entity) = (self.requests, entity.map(str::to_owned));
        self.asked.push(Asked { re, conn, room, entity, leaves });
        self.unanswered.insert(re);
        let (shard, re) = (shard_of(conn), Some(self.requests));
        Asker { conn: ConnId(conn), shard, user: user_of(conn), re, pending: Pending::default() }
    }

    fn is_in(&self, conn: u64, room: usize) -> bool {
        self.shards[shard_of(conn)]
            .rooms
            .get(&self.projects[room])
            .is_some_and(|(clients, _)| clients.contains_key(&conn))
    }

    fn carry_out(&mut self) {
        let outputs: Vec<Output> = self.core.outputs().collect();
        for output in outputs {
            match output {
                Output::ReadHead(project, purpose) if matches!(purpose, Purpose::Open) => {
                    assert!(self.followed.contains(&project), "followed before it is read where the room is");
                    self.reads.push_back((project, None, purpose));
                }
                Output::ReadHead(project, purpose) => self.reads.push_back((project, None, purpose)),
                Output::ReadSince(project, from, purpose) => self.reads.push_back((project, Some(from), purpose)),
                Output::Shard(shard, job) => self.shard(shard, job),
                Output::Follow(project) => {
                    self.followed.insert(project);
                }
                Output::Mail(_) => {}
                Output::Claim(ask) => self.asks.push((self.generation, *ask)),
                Output::Renew(project, claims) => self.renew(project, &claims),
            }
        }
    }

    fn shard(&mut self, index: usize, job: ShardCommand) {
        match job {
            ShardCommand::NewHub { generation } => self.shards[index].reports = Some(generation),
            ShardCommand::Joined(job) => self.joined(index, *job),
            ShardCommand::Left { conn, room, re, reason, .. } => {
                assert_eq!(re.is_some(), reason == "left");
                assert!(reason != "deleted" || self.deleted[self.room(room)]);
                self.is_answered(re);
                if let Some(entry) = self.shards[index].rooms.get_mut(&room) {
                    entry.0.remove(&conn.0);
                }
                self.shards[index].rooms.retain(|_, entry| !entry.0.is_empty());
            }
            ShardCommand::Frame { room, frame, cursor } => self.frame(index, room, frame, cursor),
            ShardCommand::Break { room, cursor, .. } => {
                // The clients join again; here they are simply at the new position.
                let Some(entry) = self.shards[index].rooms.get_mut(&room) else { return };
                entry.1 = cursor.clone();
                let off = cursor.map_or(0, |cursor| cursor.off);
                entry.0.values_mut().for_each(|client| (client.at, client.rev) = (off, None));
            }
            ShardCommand::Reply { conn, re, reply, .. } => {
                self.is_answered(re);
                self.replied(conn, re, &reply);
            }
            _ => {}
        }
    }

    fn joined(&mut self, index: usize, job: JoinedCommand) {
        let room = self.room(job.room);
        if let Some(asked) = self.request(job.re) {
            self.in_order(asked);
        }
        if !self.conns.contains(&job.conn.0) {
            // It ended meanwhile; the shard tells the hub.
            let (conn, user, rooms) = (job.conn, job.user.clone(), vec![job.room]);
            return self.core.disconnect(&Disconnect { conn, user, rooms, farewell: true }, self.now);
        }
        self.is_answered(job.re);
        let at = job.cursor.off;
        let mut reached = at - job.missed.len() as u64;
        if let Some(since) = job.re.and_then(|re| self.sinces.get(&re).copied().flatten()) {
            assert!(!job.recovered || reached == since, "all it asked for: {since}, not {reached}");
        }
        for frame in &job.missed {
            reached += 1;
            assert_eq!(frame.bytes, event(room, reached).bytes, "a joiner gets what it missed, in order");
        }
        assert_eq!(reached, at);
        let presence = &job.snapshot.presence;
        let users = presence.users.iter().map(ToString::to_string).chain([user_of(job.conn.0).to_string()]).collect();
        let entry = self.shards[index].rooms.entry(job.room).or_default();
        if let Some(Cursor { off, .. }) = &entry.1 {
            assert_eq!(*off, at, "the whole shard is where the joiner is");
        }
        entry.0.insert(job.conn.0, Client { at, rev: Some(presence.rev), users });
        entry.1 = Some(job.cursor);
    }

    fn frame(&mut self, index: usize, project: ProjectId, frame: Outgoing, cursor: Option<Cursor>) {
        let room = self.room(project);
        let Some(entry) = self.shards[index].rooms.get_mut(&project) else { return };
        match (frame, cursor) {
            (Outgoing::Ready(frame), Some(cursor)) => {
                let off = cursor.off;
                assert_eq!(frame.bytes, event(room, off).bytes, "no event of a foreign room");
                for (conn, client) in &mut entry.0 {
                    assert_eq!(client.at + 1, off, "c-{conn}: neither gap nor repetition");
                    client.at = off;
                }
                entry.1 = Some(cursor);
            }
            (Outgoing::Ready(frame), None) => assert_eq!(frame.bytes, format!("said in {room}"), "of this room"),
            (Outgoing::Presence(diff), _) => {
                for (conn, client) in &mut entry.0 {
                    if let Some(rev) = client.rev {
                        assert_eq!(diff.rev, rev + 1, "c-{conn}: presence goes on by one");
                        client.rev = Some(diff.rev);
                    }
                    client.users.extend(diff.joins.iter().cloned());
                    client.users.retain(|user| !diff.leaves.contains(user));
                }
            }
            (Outgoing::Claim(news), _) => assert_eq!(self.projects[room], news.project),
        }
    }

    fn publish(&mut self, room: usize, off: u64) {
        let project = self.projects[room];
        self.core.publish(Publish { project, ep: "e".into(), event: event(room, off) }, self.now);
    }

    fn report(&mut self) {
        let Some(index) = self.shards.iter().position(|shard| shard.reports.is_some()) else { return };
        let generation = self.shards[index].reports.take().expect("just seen");
        let rooms = self.shards[index].rooms.iter().map(|(room, (clients, cursor))| Attached {
            room: *room,
            cursor: cursor.clone(),
            members: clients.keys().map(|conn| (ConnId(*conn), user_of(*conn))).collect(),
        });
        let attach = Attach { generation, shard: index, rooms: rooms.collect() };
        self.core.attach(attach, self.now);
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Join { line, room, back } => {
                let off = back.map(|back| self.heads[room].saturating_sub(back));
                let asker = self.asker(line, room, None, false);
                self.sinces.insert(self.requests, off);
                let since = off.map(|off| Position { ep: "e".into(), off });
                self.core.request(Request::Join(Join { asker, project: self.projects[room], since }), self.now);
            }
            Step::Leave { line, room } => {
                let asker = self.asker(line, room, None, true);
                self.core.request(Request::Leave(Leave { asker, project: self.projects[room] }), self.now);
            }
            Step::Vanish { line, farewell } => {
                let conn = self.conns[line];
                self.conns[line] += LINES as u64;
                self.ended.insert(conn, self.requests);
                if farewell {
                    self.farewells.extend((0..ROOMS).map(|room| (conn, room)));
                }
                let gone = |asked: &&Asked| asked.conn == conn;
                self.unanswered = &self.unanswered - &self.asked.iter().filter(gone).map(|asked| asked.re).collect();
                let mut living = self.living.lock().expect("whole");
                living.remove(&conn);
                living.insert(self.conns[line]);
                drop(living);
                let shard = &mut self.shards[shard_of(conn)];
                let left = shard.rooms.iter_mut().filter_map(|(id, entry)| entry.0.remove(&conn).map(|_| *id));
                let rooms: Vec<ProjectId> = left.collect();
                shard.rooms.retain(|_, entry| !entry.0.is_empty());
                let user = user_of(conn);
                self.core.disconnect(&Disconnect { conn: ConnId(conn), user, rooms, farewell }, self.now);
            }
            Step::Say { line, room } => {
                let frame = RoomFrame { bytes: format!("said in {room}").into(), kind: Kind::Ephemeral };
                let asker = self.asker(line, room, None, false);
                let ack = Some(frame.bytes.clone());
                self.core.request(Request::Say(Say { asker, project: self.projects[room], frame, ack }), self.now);
            }
            Step::Revoke { user, room } => {
                let user: Arc<str> = format!("u{user}").into();
                let project = (room < ROOMS).then(|| self.projects[room]);
                self.core.revoke(&Revoke { project, user: user.clone() }, self.now);
                self.carry_out();
                let reported = self.shards.iter().filter(|shard| shard.reports.is_none());
                let here = |id: &&ProjectId| project.is_none_or(|of| of == **id);
                let left =
                    reported.flat_map(|shard| self.projects.iter().filter(here).filter_map(|id| shard.rooms.get(id)));
                assert!(left.flat_map(|(clients, _)| clients.keys()).all(|conn| user_of(*conn) != user), "out at once");
            }
            Step::Claim { line, room, entity, release } => {
                let entity_id = format!("m{entity}");
                let asker = self.asker(line, room, Some(&entity_id), false);
                let ask = ClaimByFrame { asker, project: self.projects[room], entity_id, release };
                self.core.request(Request::Claim(ask), self.now);
            }
            Step::Commit { room, .. } if self.deleted[room] => {}
            Step::Delete { room, .. } if self.deleted.get(room).is_none_or(|deleted| *deleted) => {}
            Step::Delete { room, publish } => {
                self.deleted[room] = true;
                self.heads[room] += 1;
                if publish {
                    let event = Event { deletes: true, ..event(room, self.heads[room]) };
                    let project = self.projects[room];
                    self.core.publish(Publish { project, ep: "e".into(), event }, self.now);
                }
            }
            Step::Commit { room, publish } => {
                self.heads[room] += 1;
                if publish {
                    self.publish(room, self.heads[room]);
                } else {
                    self.late.push_back((room, self.heads[room]));
                }
            }
            Step::PublishLate => {
                if let Some((room, off)) = self.late.pop_front() {
                    self.publish(room, off);
                }
            }
            Step::Trim { room } => self.trimmed[room] = self.heads[room].saturating_sub(3),
            Step::StoreAnswers { failing } => self.answer(failing),
            Step::StoreDecides { which, failing } => self.decide(which, failing),
            Step::ShardReports => self.report(),
            Step::Tick { ms } => {
                self.now.instant += Duration::from_millis(ms);
                self.now.unix_ms += ms as i64;
                self.core.tick(self.now);
            }
            Step::Restart => {
                self.generation += 1;
                self.reads.clear();
                self.followed.clear();
                self.unanswered.clear();
                self.not_joined.clear();
                // What waits in the hub is lost with it; what the store has been asked it still decides.
                let lost = self.core.asked.keys().cloned().collect::<Vec<_>>();
                for (project, entity) in lost {
                    let room = self.room(project);
                    self.uncertain.insert((room, entity));
                }
                // So is who left before the claims were read; what they had lapses by itself.
                for room in 0..ROOMS {
                    if self.core.rooms.get(&self.projects[room]).is_some_and(|room| !room.leavers.is_empty()) {
                        self.uncertain.extend((0..ENTITIES).map(|entity| (room, format!("m{entity}"))));
                    }
                }
                self.core = Core::new(self.generation, SHARDS, self.given.clone(), self.now.instant);
            }
        }
        self.carry_out();
    }

    /// Let everything settle: reports, answers and timers, and what was never published is looked for.
    pub(super) fn settle(&mut self) {
        for round in 0..40 {
            self.step(Step::ShardReports);
            while !self.reads.is_empty() {
                self.step(Step::StoreAnswers { failing: false });
            }
            while !self.asks.is_empty() {
                self.step(Step::StoreDecides { which: 0, failing: false });
            }
            if round == 10 {
                for project in self.projects.clone() {
                    self.core.check(project);
                }
                self.carry_out();
            }
            self.step(Step::Tick { ms: 300 });
        }
    }

    /// What must be so once all has settled.
    pub(super) fn check(&self) {
        assert!(self.unanswered.is_empty(), "{:?} were not answered", self.unanswered);
        for (room, project) in self.projects.iter().enumerate() {
            let clients = || self.shards.iter().filter_map(|shard| shard.rooms.get(project)).flat_map(|(all, _)| all);
            assert!(!self.deleted[room] || clients().next().is_none(), "nobody is in what was deleted");
            let here: BTreeSet<String> = clients().map(|(conn, _)| user_of(*conn).to_string()).collect();
            for (conn, client) in clients() {
                assert_eq!(client.at, self.heads[room], "c-{conn} is up to date");
                assert!(client.rev.is_none() || client.users == here, "c-{conn} sees {:?}, not {here:?}", client.users);
            }
            let Some(shown) = self.core.rooms.get(project).filter(|room| room.live) else { continue };
            let known = |row: &&Row| !self.uncertain.contains(&(room, row.entity_id.clone()));
            let rows = self.in_force(room);
            let rows: Vec<_> = rows.iter().filter(known).map(|row| (row.entity_id.clone(), row.token)).collect();
            let list = shown.claims.list().into_iter().map(|claim| (claim.entity_id, claim.fence));
            let list: Vec<_> = list.filter(|(entity, _)| !self.uncertain.contains(&(room, entity.clone()))).collect();
            assert_eq!(list, rows, "the room sees what the store says");
            for row in self.in_force(room).iter().filter(known) {
                let (here, number) = row.holder.rsplit_once(':').expect("a connection of this process");
                let conn: u64 = number.parse().expect("its number");
                assert_eq!(here == "here", self.conns.contains(&conn), "{}: whose holder is gone is told", row.holder);
                let left = here == "here" && !self.is_in(conn, room);
                assert!(!left, "c-{conn} has left the room and gave {} back", row.entity_id);
                let goodbye = self.farewells.contains(&(conn, room));
                assert!(!goodbye, "c-{conn} said goodbye and gave {} back", row.entity_id);
            }
        }
    }
}
