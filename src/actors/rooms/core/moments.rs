//! Single moments of the core that the model's random walks meet too seldom, or can't judge.
use super::*;
use crate::actors::sockets::commands::Attached;
use std::sync::Mutex;

struct Stage {
    core: Core,
    memory: Memory,
    start: Instant,
    project: ProjectId,
}

const LINGER: Duration = Duration::from_secs(5);

fn given(memory: &Memory) -> Given {
    let (limits, incarnation) = (Limits::default(), "here".into());
    assert_eq!(limits.presence.linger, LINGER, "the times below are made for it");
    Given {
        limits,
        memory: memory.clone(),
        incarnation,
        heard: Arc::new(|_, _| None),
        replica: ReplicaId::new("here"),
        mesh: MeshLimits::default(),
    }
}

fn event(off: u64) -> Event {
    Event { off, ts_ms: 0, bytes: "x".into(), ends: None, deletes: false }
}

impl Stage {
    /// One shard, and nobody in.
    fn new() -> Self {
        let (memory, start): (Memory, _) = (Arc::new(Mutex::default()), Instant::now());
        let mut core = Core::new(1, 1, given(&memory), start);
        let now = Now { instant: start, unix_ms: 0 };
        core.attach(Attach { generation: 1, shard: 0, rooms: Vec::new() }, now);
        Self { core, memory, start, project: ProjectId::generate() }
    }

    fn at(&self, ms: u64) -> Now {
        Now { instant: self.start + Duration::from_millis(ms), unix_ms: ms as i64 }
    }

    fn join(&mut self, conn: u64, user: &str, ms: u64) {
        let pending = Pending::default();
        let asker = Asker { conn: ConnId(conn), shard: 0, user: user.into(), re: Some(1), pending };
        let (project, now) = (self.project, self.at(ms));
        self.core.request(Request::Join(Join { asker, project, since: None }), now);
    }

    /// The store says where the room is.
    fn opened(&mut self, ms: u64) {
        let (project, generation, now) = (self.project, self.core.generation(), self.at(ms));
        let history = History::Opened { ep: "e".into(), off: 0, claims: Vec::new() };
        self.core.told(Told { generation, project, purpose: Purpose::Open, history }, now);
    }

    fn publish(&mut self, off: u64, ms: u64) {
        let publish = Publish { project: self.project, ep: "e".into(), event: event(off) };
        let now = self.at(ms);
        self.core.publish(publish, now);
    }

    fn disconnect(&mut self, conn: u64, user: &str, ms: u64) {
        let (rooms, now) = (vec![self.project], self.at(ms));
        let disconnect = Disconnect { conn: ConnId(conn), user: user.into(), rooms, farewell: false };
        self.core.disconnect(&disconnect, now);
    }

    /// Time passes, to `ms`; what was said of presence on the way, as joins and leaves.
    fn pass(&mut self, from: u64, ms: u64) -> Vec<(Vec<String>, Vec<String>)> {
        let mut said = Vec::new();
        for ms in (from..=ms).step_by(50) {
            self.core.tick(self.at(ms));
            said.extend(self.core.outputs().filter_map(|output| match output {
                Output::Shard(_, ShardCommand::Frame { frame: Outgoing::Presence(diff), .. }) => {
                    Some((diff.joins.clone(), diff.leaves.clone()))
                }
                _ => None,
            }));
        }
        said
    }
}

#[test]
fn a_restart_of_the_hub_shows_nobody_as_leaving_who_comes_back_in_time() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.opened(0);
    stage.join(2, "bob", 0);
    assert_eq!(stage.pass(0, 500), [(vec!["ana".into(), "bob".into()], vec![])]);
    // The next incarnation; its shard reports a second later, and bob's connection has gone meanwhile.
    stage.core = Core::new(2, 1, given(&stage.memory), stage.at(1_000).instant);
    assert_eq!(stage.pass(1_000, 2_000), []);
    let members = vec![(ConnId(1), "ana".into())];
    let cursor = Some(Cursor { ep: "e".into(), off: 0 });
    let rooms = vec![Attached { room: stage.project, cursor, members }];
    stage.core.attach(Attach { generation: 2, shard: 0, rooms }, stage.at(2_000));
    stage.opened(2_000);
    assert_eq!(stage.pass(2_000, 5_900), [], "nothing before the time for coming back is over");
    assert_eq!(stage.pass(5_950, 7_000), [(vec![], vec!["bob".into()])]);
}

#[test]
fn a_room_that_is_forgotten_leaves_nothing_behind() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.opened(0);
    stage.pass(0, 500);
    stage.disconnect(1, "ana", 500);
    stage.pass(500, 59_000);
    assert_eq!((stage.core.counts().rooms, stage.memory.lock().unwrap().len()), (1, 1), "kept for a minute");
    stage.pass(59_000, 62_000);
    assert_eq!((stage.core.counts().rooms, stage.memory.lock().unwrap().len()), (0, 0));
}

#[test]
fn who_is_gone_before_the_room_has_opened_is_not_let_in() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.join(2, "bob", 0);
    stage.disconnect(1, "ana", 10);
    stage.opened(20);
    assert_eq!(stage.core.counts().subscriptions, 1);
    assert_eq!(stage.pass(20, 500), [(vec!["bob".into()], vec![])]);
}

#[test]
fn a_publication_that_comes_twice_is_sent_once_and_asks_the_store_nothing() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.opened(0);
    stage.pass(0, 500);
    stage.publish(1, 500);
    stage.publish(1, 500);
    stage.core.tick(stage.at(700));
    let outputs: Vec<_> = stage.core.outputs().collect();
    assert!(matches!(outputs[..], [Output::Shard(0, ShardCommand::Frame { .. })]), "{outputs:?}");
}

#[test]
fn a_restart_after_which_nothing_is_missing_interrupts_nobody() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.opened(0);
    stage.publish(1, 100);
    stage.pass(0, 500);
    stage.core = Core::new(2, 1, given(&stage.memory), stage.at(1_000).instant);
    let members = vec![(ConnId(1), "ana".into())];
    let cursor = Some(Cursor { ep: "e".into(), off: 1 });
    let rooms = vec![Attached { room: stage.project, cursor, members }];
    stage.core.attach(Attach { generation: 2, shard: 0, rooms }, stage.at(1_000));
    let (project, now) = (stage.project, stage.at(1_000));
    let history = History::Opened { ep: "e".into(), off: 1, claims: Vec::new() };
    stage.core.told(Told { generation: 2, project, purpose: Purpose::Open, history }, now);
    let broken = |output: &Output| matches!(output, Output::Shard(_, ShardCommand::Break { .. }));
    assert!(!stage.core.outputs().any(|output| broken(&output)));
}

#[test]
fn what_was_published_while_a_hole_was_read_follows_at_once() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.opened(0);
    stage.pass(0, 500);
    stage.publish(2, 500);
    stage.core.tick(stage.at(600));
    assert!(stage.core.outputs().any(|output| matches!(output, Output::ReadSince(_, _, Purpose::Hole))));
    // The store had two events when it was read; the third comes before its answer does.
    stage.publish(3, 610);
    let (project, now) = (stage.project, stage.at(620));
    let history = History::Events { events: vec![event(1), event(2)], head: 2 };
    stage.core.told(Told { generation: 1, project, purpose: Purpose::Hole, history }, now);
    let sent = stage.core.outputs().filter(|output| matches!(output, Output::Shard(0, ShardCommand::Frame { .. })));
    assert_eq!(sent.count(), 3);
}

#[test]
fn a_store_that_knows_more_than_the_hub_breaks_no_shard_that_is_behind() {
    let mut stage = Stage::new();
    stage.core = Core::new(2, 1, given(&stage.memory), stage.start);
    let members = vec![(ConnId(1), "ana".into())];
    let cursor = Some(Cursor { ep: "e".into(), off: 0 });
    let rooms = vec![Attached { room: stage.project, cursor, members }];
    stage.core.attach(Attach { generation: 2, shard: 0, rooms }, stage.at(0));
    let (project, now) = (stage.project, stage.at(0));
    let history = History::Opened { ep: "e".into(), off: 1, claims: Vec::new() };
    stage.core.told(Told { generation: 2, project, purpose: Purpose::Open, history }, now);
    assert!(stage.core.outputs().any(|output| matches!(output, Output::ReadSince(_, _, Purpose::Catchup(0)))));
    // The second was committed since, and is on its way to the hub.
    let history = History::Events { events: vec![event(1), event(2)], head: 2 };
    stage.core.told(Told { generation: 2, project, purpose: Purpose::Catchup(0), history }, now);
    let outputs: Vec<_> = stage.core.outputs().collect();
    assert!(matches!(outputs[..], [Output::Shard(0, ShardCommand::Frame { .. })]), "{outputs:?}");
    stage.publish(2, 10);
    assert_eq!(stage.core.outputs().count(), 1);
}

#[test]
fn who_is_sent_away_while_the_hub_restarts_is_out_as_soon_as_its_shard_reports() {
    let mut stage = Stage::new();
    stage.core = Core::new(2, 1, given(&stage.memory), stage.start);
    let revoke = Revoke { project: Some(stage.project), user: "ana".into() };
    assert_eq!(stage.core.revoke(&revoke, stage.at(0)), 0, "nobody is known yet");
    let members = vec![(ConnId(1), "ana".into()), (ConnId(2), "bob".into())];
    let cursor = Some(Cursor { ep: "e".into(), off: 0 });
    let rooms = vec![Attached { room: stage.project, cursor, members }];
    stage.core.attach(Attach { generation: 2, shard: 0, rooms }, stage.at(100));
    let left = |output: Output| match output {
        Output::Shard(0, ShardCommand::Left { conn, reason, .. }) => Some((conn, reason)),
        _ => None,
    };
    assert_eq!(stage.core.outputs().filter_map(left).collect::<Vec<_>>(), [(ConnId(1), "revoked")]);
    assert_eq!(stage.core.counts().subscriptions, 1);
}

#[test]
fn a_job_whose_end_was_missed_and_read_from_the_store_is_not_shown_as_running() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.opened(0);
    let (project, job) = (stage.project, JobId::generate());
    let json = serde_json::value::RawValue::from_string("{}".into()).unwrap().into();
    stage.core.progress(Progress { project, job, bytes: "p".into(), json }, stage.at(10));
    stage.publish(2, 20);
    stage.pass(20, 200);
    let history = History::Events { events: vec![Event { ends: Some(job), ..event(1) }, event(2)], head: 2 };
    stage.core.told(Told { generation: 1, project, purpose: Purpose::Hole, history }, stage.at(200));
    stage.join(2, "bob", 210);
    let jobs = stage.core.outputs().find_map(|output| match output {
        Output::Shard(0, ShardCommand::Joined(joined)) => Some(joined.snapshot.jobs.len()),
        _ => None,
    });
    assert_eq!(jobs, Some(0));
}

#[test]
fn of_two_histories_the_store_tells_the_later_and_a_late_event_of_the_former_is_dropped() {
    let mut stage = Stage::new();
    stage.join(1, "ana", 0);
    stage.opened(0);
    stage.pass(0, 500);
    let of = |stage: &Stage, ep: &str, off| Publish { project: stage.project, ep: ep.into(), event: event(off) };
    let said = |stage: &mut Stage| -> Vec<&'static str> {
        let said = stage.core.outputs().filter_map(|output| match output {
            Output::Shard(0, ShardCommand::Break { reason, .. }) => Some(reason),
            Output::Shard(0, ShardCommand::Frame { .. }) => Some("frame"),
            Output::ReadSince(_, _, Purpose::Hole) => Some("read"),
            _ => None,
        });
        said.collect()
    };
    for (ms, ep, off, history, expected) in [
        (500, "former", 9, History::Events { events: Vec::new(), head: 0 }, &[][..]),
        // Committed while the store was asked; the one before it is read with the head.
        (700, "later", 5, History::Gone { ep: "later".into(), off: 4 }, &["history_replaced", "frame"][..]),
        (900, "e", 1, History::Events { events: Vec::new(), head: 5 }, &[][..]),
    ] {
        let publish = of(&stage, ep, off);
        stage.core.publish(publish, stage.at(ms));
        assert!(said(&mut stage).is_empty(), "{ep}: the store is asked first");
        stage.core.tick(stage.at(ms + 100));
        assert_eq!(said(&mut stage), ["read"], "{ep}");
        let (project, now) = (stage.project, stage.at(ms + 100));
        stage.core.told(Told { generation: 1, project, purpose: Purpose::Hole, history }, now);
        assert_eq!(said(&mut stage), expected, "{ep}");
    }
    stage.core.tick(stage.at(2_000));
    let publish = of(&stage, "later", 6);
    stage.core.publish(publish, stage.at(2_000));
    assert_eq!(said(&mut stage), ["frame"], "what was of another history waits no more");
}
