//! Several cores against a trivial model: a bus that loses, doubles and reorders, replicas that die, drain and restart.
//!
//! In the end, once the bus is whole again and time has passed, every client has every event once and in order, and sees
//! exactly the users who are there. Easy to get wrong: what a replica hears it hears only of rooms that it follows.
use super::*;
use crate::actors::rooms::messages::FromReplica;
use crate::actors::sockets::commands::Attached;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

const REPLICAS: usize = 3;
const USERS: u64 = 4;

#[derive(Clone, Debug)]
enum Step {
    Join { on: usize },
    Vanish { which: usize },
    Commit { on: usize },
    Deliver { which: usize, fate: u8 },
    StoreAnswers { on: usize, failing: bool },
    Beat { on: usize },
    Tick { ms: u64 },
    Restart { on: usize },
    Die { on: usize },
    Drain { on: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let on = 0..REPLICAS;
    prop_oneof![
        6 => on.clone().prop_map(|on| Step::Join { on }),
        3 => any::<usize>().prop_map(|which| Step::Vanish { which }),
        5 => on.clone().prop_map(|on| Step::Commit { on }),
        20 => (any::<usize>(), any::<u8>()).prop_map(|(which, fate)| Step::Deliver { which, fate }),
        6 => (on.clone(), prop::bool::weighted(0.1)).prop_map(|(on, failing)| Step::StoreAnswers { on, failing }),
        4 => on.clone().prop_map(|on| Step::Beat { on }),
        5 => prop_oneof![6 => 0u64..500, 1 => 2_000u64..30_000].prop_map(|ms| Step::Tick { ms }),
        1 => on.clone().prop_map(|on| Step::Restart { on }),
        1 => on.clone().prop_map(|on| Step::Die { on }),
        1 => on.prop_map(|on| Step::Drain { on }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_bus_does_all_replicas_agree_in_the_end(steps in prop::collection::vec(step(), 1..150)) {
        let mut world = World::new();
        for step in steps {
            world.step(&step);
        }
        world.settle();
        world.check();
    }
}

#[derive(Debug)]
struct Client {
    user: Arc<str>,
    at: u64,
    rev: u64,
    users: BTreeSet<String>,
    count: usize,
}

struct Replica {
    core: Core,
    given: Given,
    generation: u64,
    follows: bool,
    reports: bool,
    clients: BTreeMap<u64, Client>,
    cursor: Option<Cursor>,
    reads: VecDeque<(Option<Cursor>, Purpose)>,
    waiting: BTreeSet<u64>,
}

/// On its way to a replica.
#[derive(Clone, Debug)]
enum Sent {
    Event(u64),
    Said(FromReplica),
}

struct World {
    project: ProjectId,
    now: Now,
    head: u64,
    conns: u64,
    all: Vec<Replica>,
    flight: Vec<(usize, Sent)>,
}

fn event(off: u64) -> Event {
    Event { off, ts_ms: 0, bytes: off.to_string().into(), ends: None, deletes: false }
}

impl Replica {
    fn new(now: Now) -> Self {
        let given = Given {
            limits: Limits::default(),
            memory: Arc::new(Mutex::default()),
            incarnation: "here".into(),
            heard: Arc::new(|_, _| None),
            replica: ReplicaId::new("r"),
            mesh: MeshLimits::default(),
        };
        let core = Core::new(1, 1, given.clone(), now.instant);
        Self {
            core,
            given,
            generation: 1,
            follows: false,
            reports: true,
            clients: BTreeMap::new(),
            cursor: None,
            reads: VecDeque::new(),
            waiting: BTreeSet::new(),
        }
    }

    fn shard(&mut self, job: ShardCommand) {
        match job {
            ShardCommand::NewHub { .. } => self.reports = true,
            ShardCommand::Joined(job) => {
                // Who has gone meanwhile is taken out again by the world.
                let Some(client) = self.clients.get_mut(&job.conn.0) else { return };
                self.waiting.remove(&job.conn.0);
                let seen = &job.snapshot.presence;
                client.at = job.cursor.off;
                (client.rev, client.count) = (seen.rev, seen.count.max(1));
                client.users = seen.users.iter().chain([&client.user]).map(ToString::to_string).collect();
                self.cursor = Some(job.cursor);
            }
            ShardCommand::Frame { frame: Outgoing::Ready(frame), cursor: Some(cursor), .. } => {
                assert_eq!(frame.bytes, event(cursor.off).bytes);
                for (conn, client) in self.clients.iter_mut().filter(|(conn, _)| !self.waiting.contains(conn)) {
                    assert_eq!(client.at + 1, cursor.off, "c-{conn}: neither gap nor repetition");
                    client.at = cursor.off;
                }
                self.cursor = Some(cursor);
            }
            ShardCommand::Frame { frame: Outgoing::Presence(diff), .. } => {
                for (conn, client) in self.clients.iter_mut().filter(|(conn, _)| !self.waiting.contains(conn)) {
                    assert_eq!(client.rev + 1, diff.rev, "c-{conn}: presence goes on by one");
                    (client.rev, client.count) = (diff.rev, diff.count);
                    client.users.extend(diff.joins.iter().cloned());
                    client.users.retain(|user| !diff.leaves.contains(user));
                }
            }
            ShardCommand::Reply { conn, reply: Reply::Refused { .. }, .. } => {
                // The store was away: it would ask again, and here goes.
                self.waiting.remove(&conn.0);
                self.clients.remove(&conn.0);
            }
            ShardCommand::Break { cursor, .. } => {
                // Clients would join again; here they are where the room is.
                let off = cursor.as_ref().map_or(0, |cursor| cursor.off);
                self.clients.values_mut().for_each(|client| client.at = off);
                self.cursor = cursor;
            }
            _ => {}
        }
    }
}

impl World {
    fn new() -> Self {
        let now = Now { instant: Instant::now(), unix_ms: 1_000_000 };
        let all = (0..REPLICAS).map(|_| Replica::new(now)).collect();
        let project = ProjectId::generate();
        let mut world = Self { project, now, head: 0, conns: 0, all, flight: Vec::new() };
        (0..REPLICAS).for_each(|on| world.carry_out(on));
        world
    }

    fn carry_out(&mut self, on: usize) {
        loop {
            let outputs: Vec<Output> = self.all[on].core.outputs().collect();
            if outputs.is_empty() && !self.all[on].reports {
                return;
            }
            for output in outputs {
                let replica = &mut self.all[on];
                match output {
                    Output::Shard(_, job) => {
                        let gone = match &job {
                            ShardCommand::Joined(job) if !replica.clients.contains_key(&job.conn.0) => {
                                Some((job.conn, job.user.clone()))
                            }
                            _ => None,
                        };
                        replica.shard(job);
                        if let Some((conn, user)) = gone {
                            let rooms = vec![self.project];
                            replica.core.disconnect(&Disconnect { conn, user, rooms, farewell: true }, self.now);
                        }
                    }
                    Output::ReadHead(_, purpose) => replica.reads.push_back((None, purpose)),
                    Output::ReadSince(_, from, purpose) => replica.reads.push_back((Some(from), purpose)),
                    Output::Follow(_) => replica.follows = true,
                    Output::Mail(mail) => self.post(on, mail),
                    Output::Claim(_) | Output::Renew(..) => unreachable!("nobody claims here"),
                }
            }
            if std::mem::take(&mut self.all[on].reports) {
                self.report(on);
            }
        }
    }

    fn post(&mut self, from: usize, mail: Mail) {
        let project = match mail.channel {
            Channel::Room(project) => Some(project),
            Channel::All | Channel::One(_) => None,
        };
        let said = FromReplica { from: self.all[from].given.replica.clone(), project, message: mail.message };
        let to = (0..REPLICAS).filter(|to| *to != from && (project.is_none() || self.all[*to].follows));
        self.flight.extend(to.map(|to| (to, Sent::Said(said.clone()))));
    }

    fn report(&mut self, on: usize) {
        let replica = &mut self.all[on];
        let members = replica.clients.iter().filter(|(conn, _)| !replica.waiting.contains(conn));
        let members: Vec<_> = members.map(|(conn, client)| (ConnId(*conn), client.user.clone())).collect();
        let cursor = replica.cursor.clone();
        let rooms = match members.is_empty() {
            true => Vec::new(),
            false => vec![Attached { room: self.project, cursor, members }],
        };
        replica.core.attach(Attach { generation: replica.generation, shard: 0, rooms }, self.now);
        // Who was waiting at the door of the last incarnation asks again.
        for conn in replica.waiting.clone() {
            self.ask_in(on, conn);
        }
    }

    fn ask_in(&mut self, on: usize, conn: u64) {
        let user = self.all[on].clients[&conn].user.clone();
        let asker = Asker { conn: ConnId(conn), shard: 0, user, re: None, pending: Pending::default() };
        self.all[on].core.join(Join { asker, project: self.project, since: None }, self.now);
    }

    fn deliver(&mut self, (to, sent): (usize, Sent)) {
        let core = &mut self.all[to].core;
        match sent {
            Sent::Event(off) => {
                let publish = Publish { project: self.project, ep: "e".into(), event: event(off) };
                core.publish(publish, self.now);
            }
            Sent::Said(said) => core.hear(said, self.now),
        }
        self.carry_out(to);
    }

    fn answer(&mut self, on: usize, failing: bool) {
        let Some((from, purpose)) = self.all[on].reads.pop_front() else { return };
        let (ep, off) = ("e".into(), self.head);
        let history = match from {
            _ if failing => History::Unavailable,
            None if matches!(purpose, Purpose::Open) => History::Opened { ep, off, claims: Vec::new() },
            None if matches!(purpose, Purpose::Claims) => History::Claims(Vec::new()),
            None => History::Head { ep, off },
            Some(from) => History::Events { events: (from.off + 1..=off).map(event).collect(), head: off },
        };
        let (generation, project) = (self.all[on].generation, self.project);
        self.all[on].core.told(Told { generation, project, purpose, history }, self.now);
    }

    fn vanish(&mut self, on: usize, conn: u64) {
        let replica = &mut self.all[on];
        let user = replica.clients.remove(&conn).map_or_else(|| "".into(), |client| client.user);
        replica.waiting.remove(&conn);
        let (conn, rooms) = (ConnId(conn), vec![self.project]);
        replica.core.disconnect(&Disconnect { conn, user, rooms, farewell: false }, self.now);
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join { on } => {
                self.conns += 1;
                let user = format!("u{}", self.conns % USERS).into();
                let client = Client { user, at: 0, rev: 0, users: BTreeSet::new(), count: 0 };
                self.all[on].clients.insert(self.conns, client);
                self.all[on].waiting.insert(self.conns);
                self.ask_in(on, self.conns);
            }
            Step::Vanish { which } => {
                let conns: Vec<(usize, u64)> = self
                    .all
                    .iter()
                    .enumerate()
                    .flat_map(|(on, replica)| replica.clients.keys().map(move |conn| (on, *conn)))
                    .collect();
                if !conns.is_empty() {
                    let (on, conn) = conns[which % conns.len()];
                    self.vanish(on, conn);
                }
            }
            Step::Commit { on } => {
                self.head += 1;
                let others = (0..REPLICAS).filter(|to| *to != on && self.all[*to].follows);
                self.flight.extend(others.map(|to| (to, Sent::Event(self.head))));
                self.deliver((on, Sent::Event(self.head)));
            }
            Step::Deliver { which, fate } => {
                if self.flight.is_empty() {
                    return;
                }
                // Mostly in order; some are overtaken, lost or doubled.
                let at = if fate < 40 { which % self.flight.len() } else { 0 };
                let one = self.flight.remove(at);
                match fate {
                    200.. => {}
                    180.. => {
                        self.deliver(one.clone());
                        self.deliver(one);
                    }
                    _ => self.deliver(one),
                }
            }
            Step::StoreAnswers { on, failing } => self.answer(on, failing),
            Step::Beat { on } => self.all[on].core.beat(),
            Step::Tick { ms } => {
                self.now.instant += Duration::from_millis(ms);
                self.now.unix_ms += ms as i64;
                self.all.iter_mut().for_each(|replica| replica.core.tick(self.now));
            }
            Step::Restart { on } => {
                let replica = &mut self.all[on];
                replica.generation += 1;
                replica.reads.clear();
                replica.core = Core::new(replica.generation, 1, replica.given.clone(), self.now.instant);
            }
            Step::Die { on } => self.replace(on),
            Step::Drain { on } => {
                self.all[on].core.drains();
                let conns: Vec<u64> = self.all[on].clients.keys().copied().collect();
                conns.into_iter().for_each(|conn| self.vanish(on, conn));
                self.carry_out(on);
                let (channel, message) = (Channel::All, Message::Goodbye {});
                self.post(on, Mail { channel, message, frame: bytes::Bytes::new() });
                self.replace(on);
            }
        }
        (0..REPLICAS).for_each(|on| self.carry_out(on));
    }

    /// The process ends, and another one is started.
    fn replace(&mut self, on: usize) {
        self.flight.retain(|(to, _)| *to != on);
        self.all[on] = Replica::new(self.now);
    }

    /// The bus is whole again, the store answers, signs of life come, and time passes.
    fn settle(&mut self) {
        for _ in 0..60 {
            while let Some(one) = (!self.flight.is_empty()).then(|| self.flight.remove(0)) {
                self.deliver(one);
            }
            for on in 0..REPLICAS {
                while !self.all[on].reads.is_empty() {
                    self.step(&Step::StoreAnswers { on, failing: false });
                }
                self.step(&Step::Beat { on });
                self.all[on].core.check(self.project);
                self.carry_out(on);
            }
            self.step(&Step::Tick { ms: 600 });
        }
    }

    fn check(&self) {
        let clients = || self.all.iter().flat_map(|replica| &replica.clients);
        let here: BTreeSet<String> = clients().map(|(_, client)| client.user.to_string()).collect();
        for (conn, client) in clients() {
            assert_eq!(client.at, self.head, "c-{conn} is up to date");
            assert_eq!((&client.users, client.count), (&here, clients().count()), "c-{conn} sees who is there");
        }
    }
}
