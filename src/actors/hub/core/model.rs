//! The core against a trivial model: whatever the order of joins, leaves, publishes, lost publishes, store answers,
//! ticks and restarts, a member gets every event after its position once, in order, and nothing of another room.
use super::*;
use crate::protocol::client::Position;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

const SHARDS: usize = 2;
const ROOMS: usize = 2;
const CONNS: u64 = 6;

#[derive(Clone, Debug)]
enum Step {
    Join { conn: u64, room: usize, back: Option<u64> },
    Leave { conn: u64, room: usize },
    Vanish { conn: u64 },
    Commit { room: usize, publish: bool },
    PublishLate,
    StoreAnswers { failing: bool },
    ShardReports,
    Tick { ms: u64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let conn = 0..CONNS;
    let room = 0..ROOMS;
    prop_oneof![
        4 => (conn.clone(), room.clone(), proptest::option::of(0u64..40)).prop_map(|(conn, room, back)| Step::Join { conn, room, back }),
        1 => (conn.clone(), room.clone()).prop_map(|(conn, room)| Step::Leave { conn, room }),
        1 => conn.prop_map(|conn| Step::Vanish { conn }),
        8 => (room, prop::bool::weighted(0.7)).prop_map(|(room, publish)| Step::Commit { room, publish }),
        3 => Just(Step::PublishLate),
        5 => prop::bool::weighted(0.1).prop_map(|failing| Step::StoreAnswers { failing }),
        2 => Just(Step::ShardReports),
        3 => (0u64..1_500).prop_map(|ms| Step::Tick { ms }),
        1 => Just(Step::Restart),
    ]
}

/// What a member has: the last offset, per room.
#[derive(Default)]
struct Shard {
    rooms: BTreeMap<ProjectId, (BTreeMap<u64, u64>, Option<Cursor>)>,
    reports: Option<u64>,
}

struct World {
    core: Core,
    ledger: Ledger,
    now: Now,
    projects: Vec<ProjectId>,
    heads: Vec<u64>,
    late: VecDeque<(usize, u64)>,
    reads: VecDeque<(ProjectId, Option<Cursor>, Purpose)>,
    shards: Vec<Shard>,
    gone: Vec<(u64, ProjectId)>,
    generation: u64,
}

fn asker(conn: u64) -> Asker {
    Asker { conn: ConnId(conn), shard: conn as usize % SHARDS, user: "ana".into(), re: Some(1) }
}

/// The event's room and number, so that a foreign or repeated one shows.
fn event(room: usize, off: u64) -> Bytes {
    Bytes::from(format!("{room}:{off}"))
}

impl World {
    fn new() -> Self {
        let now = Now { instant: Instant::now(), unix_ms: 0 };
        let ledger = Ledger::default();
        let core = Core::new(1, SHARDS, Limits::default(), ledger.clone(), now.instant);
        let mut world = Self {
            core,
            ledger,
            now,
            projects: (0..ROOMS).map(|_| ProjectId::generate()).collect(),
            heads: vec![0; ROOMS],
            late: VecDeque::new(),
            reads: VecDeque::new(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            gone: Vec::new(),
            generation: 1,
        };
        world.carry_out();
        world
    }

    fn room(&self, project: ProjectId) -> usize {
        self.projects.iter().position(|known| *known == project).expect("a room of this world")
    }

    fn carry_out(&mut self) {
        let outputs: Vec<Output> = self.core.outputs().collect();
        for output in outputs {
            match output {
                Output::ReadHead(project, purpose) => self.reads.push_back((project, None, purpose)),
                Output::ReadSince(project, from, purpose) => self.reads.push_back((project, Some(from), purpose)),
                Output::Shard(shard, job) => self.shard(shard, job),
            }
        }
    }

    fn shard(&mut self, index: usize, job: ShardJob) {
        match job {
            ShardJob::NewHub { generation } => self.shards[index].reports = Some(generation),
            ShardJob::Joined(job) => {
                let room = self.room(job.room);
                let at = job.cursor.off;
                let mut reached = at - job.missed.len() as u64;
                for frame in &job.missed {
                    reached += 1;
                    assert_eq!(frame.bytes, event(room, reached), "a joiner gets what it missed, in order");
                }
                assert_eq!(reached, at);
                let entry = self.shards[index].rooms.entry(job.room).or_default();
                if let Some(Cursor { off, .. }) = &entry.1 {
                    assert_eq!(*off, at, "the whole shard is where the joiner is");
                }
                entry.0.insert(job.conn.0, at);
                entry.1 = Some(job.cursor);
            }
            ShardJob::Left { conn, room, .. } => {
                if let Some(entry) = self.shards[index].rooms.get_mut(&room) {
                    entry.0.remove(&conn.0);
                }
                self.shards[index].rooms.retain(|_, entry| !entry.0.is_empty());
            }
            ShardJob::Frame { room, frame: Outgoing::Ready(frame), cursor } => {
                let Some(Cursor { off, .. }) = cursor.clone() else { return };
                assert_eq!(frame.bytes, event(self.room(room), off), "no event of a foreign room");
                let Some(entry) = self.shards[index].rooms.get_mut(&room) else { return };
                for (conn, at) in &mut entry.0 {
                    assert_eq!(*at + 1, off, "c-{conn}: neither gap nor repetition");
                    *at = off;
                }
                entry.1 = cursor;
            }
            ShardJob::Break { room, cursor, .. } => {
                // The clients join again; here they are simply at the new position.
                let Some(entry) = self.shards[index].rooms.get_mut(&room) else { return };
                entry.1 = cursor.clone();
                let off = cursor.map_or(0, |cursor| cursor.off);
                entry.0.values_mut().for_each(|at| *at = off);
            }
            _ => {}
        }
    }

    fn publish(&mut self, room: usize, off: u64) {
        let (project, bytes) = (self.projects[room], event(room, off));
        self.core.publish(Publish { project, ep: "e".into(), off, bytes, ends: None }, self.now);
    }

    fn answer(&mut self, failing: bool) {
        let Some((project, from, purpose)) = self.reads.pop_front() else { return };
        let room = self.room(project);
        let head = self.heads[room];
        let history = match from {
            _ if failing => History::Unavailable,
            None => History::Head { ep: "e".into(), off: head },
            Some(from) => {
                History::Events { events: (from.off + 1..=head).map(|off| (off, event(room, off))).collect(), head }
            }
        };
        self.core.told(Told { generation: self.generation, project, purpose, history }, self.now);
    }

    fn report(&mut self) {
        let Some(index) = self.shards.iter().position(|shard| shard.reports.is_some()) else { return };
        let generation = self.shards[index].reports.take().expect("just seen");
        let rooms = self.shards[index].rooms.iter().map(|(room, (members, cursor))| super::super::jobs::Attached {
            room: *room,
            cursor: cursor.clone(),
            members: members.keys().map(|conn| (ConnId(*conn), "ana".into())).collect(),
        });
        let attach = Attach { generation, shard: index, rooms: rooms.collect() };
        self.core.attach(attach, self.now);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Join { conn, room, back } => {
                let since = back.map(|back| Position { ep: "e".into(), off: self.heads[room].saturating_sub(back) });
                let join = Join { asker: asker(conn), project: self.projects[room], since };
                self.core.join(join, self.now);
            }
            Step::Leave { conn, room } => {
                self.core.leave(Leave { asker: asker(conn), project: self.projects[room] }, self.now);
            }
            Step::Vanish { conn } => {
                let shard = &mut self.shards[conn as usize % SHARDS];
                let rooms: Vec<ProjectId> =
                    shard.rooms.iter_mut().filter_map(|(id, e)| e.0.remove(&conn).map(|_| *id)).collect();
                shard.rooms.retain(|_, entry| !entry.0.is_empty());
                // A shard that has not reported yet tells of no leaver that the hub never heard of.
                if shard.reports.is_none() {
                    self.core.disconnect(&Disconnect { conn: ConnId(conn), rooms }, self.now);
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
            Step::StoreAnswers { failing } => self.answer(failing),
            Step::ShardReports => self.report(),
            Step::Tick { ms } => {
                self.now.instant += Duration::from_millis(ms);
                self.core.tick(self.now);
            }
            Step::Restart => {
                self.generation += 1;
                self.reads.clear();
                self.gone.clear();
                self.core =
                    Core::new(self.generation, SHARDS, Limits::default(), self.ledger.clone(), self.now.instant);
            }
        }
        self.carry_out();
    }

    /// Let everything settle: reports, answers and timers, and what was never published is looked for.
    fn settle(&mut self) {
        for round in 0..60 {
            self.step(Step::ShardReports);
            while !self.reads.is_empty() {
                self.step(Step::StoreAnswers { failing: false });
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
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_member_has_every_event_once_and_in_order(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.settle();
        for shard in &world.shards {
            for (project, (members, _)) in &shard.rooms {
                let head = world.heads[world.room(*project)];
                for (conn, at) in members {
                    prop_assert_eq!(*at, head, "c-{} is up to date", conn);
                }
            }
        }
    }
}
