//! Claims: asked of the store one at a time for each thing, answered when the row is written, told to the room.
//!
//! Easy to get wrong: two changes of one claim must not be with the store at once, or their answers could come back
//! in the other order; hence a queue per thing whose first entry is the one the store has.
use super::admission::NOT_JOINED;
use super::*;
use crate::actors::rooms::claims::conn_tag;
use crate::db::claims::{Claim as Row, Taken};

impl Core {
    /// Claim or release over a connection.
    pub(super) fn claim_by_frame(&mut self, ask: ClaimByFrame, now: Now) {
        if !self.attached[ask.asker.shard] {
            return self.keep(Request::Claim(ask));
        }
        let ClaimByFrame { asker, project, entity_id, release } = ask;
        if !self.is_member(project, asker.conn) {
            return self.refuse(&asker, ErrorCode::NotJoined, NOT_JOINED);
        }
        self.ask(
            ClaimAsk {
                project,
                entity_id,
                user: asker.user.clone(),
                holder: conn_tag(&self.given.incarnation, asker.conn),
                change: if release { Change::Release } else { Change::Take },
                waiter: Waiter::Conn(asker),
            },
            now,
        );
    }

    /// A change of a claim, for the store to decide.
    pub fn ask(&mut self, ask: ClaimAsk, now: Now) {
        let key = (ask.project, ask.entity_id.clone());
        match self.asked.get_mut(&key) {
            None => self.start(key, VecDeque::from([ask]), now),
            Some(_) if self.asked_count >= MAX_WAITING_CLAIMS => {
                self.settle(ask.waiter, Err(ClaimRefused::Unavailable("too many claims wait for the store")));
            }
            Some(asked) => {
                self.asked_count += 1;
                asked.waiting.push_back(ask);
            }
        }
    }

    /// Hand the next change of one claim to the store; those that the view can answer are
    /// answered on the way.
    fn start(&mut self, key: (ProjectId, String), mut waiting: VecDeque<ClaimAsk>, now: Now) {
        while let Some(mut ask) = waiting.pop_front() {
            if let Some(abandon) = self.abandons_first(&ask, now) {
                waiting.push_front(std::mem::replace(&mut ask, abandon));
            }
            match self.certain(&ask, now) {
                Some(settled) => self.settle(ask.waiter, settled),
                None => {
                    self.asked_count += waiting.len();
                    let taker = (ask.change == Change::Take).then(|| ask.holder.clone());
                    self.asked.insert(key, Asked { taker, waiting });
                    return self.out.push(Output::Claim(Box::new(ask)));
                }
            }
        }
    }

    /// Who asks for what a connection of its own user holds that is gone: the store is told first that it is.
    fn abandons_first(&self, ask: &ClaimAsk, now: Now) -> Option<ClaimAsk> {
        let room = self.rooms.get(&ask.project).filter(|_| ask.change == Change::Take)?;
        let held = room
            .claims
            .get(&ask.entity_id, now.instant)
            .filter(|held| held.user == ask.user && held.tag != ask.holder)?;
        held.conn.filter(|conn| (self.given.heard)(&held.user, *conn).is_none())?;
        Some(ClaimAsk {
            project: ask.project,
            entity_id: ask.entity_id.clone(),
            user: held.user.clone(),
            holder: held.tag.clone(),
            change: Change::Abandon,
            waiter: Waiter::Nobody,
        })
    }

    /// What needs no store. Refused is what another living connection of this process, or another user, holds; whether
    /// what a connection or a process has left behind gives way is for the store to say. The holder itself is told of its lease: the store makes it longer only once half of it has
    /// passed, so that asking again and again costs no writes.
    fn certain(&self, ask: &ClaimAsk, now: Now) -> Option<Settled> {
        let room = self.rooms.get(&ask.project).filter(|room| room.live && ask.change == Change::Take)?;
        let held = room.claims.get(&ask.entity_id, now.instant)?;
        if held.tag == ask.holder {
            let fresh = held.expires.duration_since(now.instant) > self.given.limits.claim_ttl / 2;
            return fresh.then(|| {
                let row = held.row(&ask.entity_id);
                Ok((news(ask, Some(&row)), Some(claim(&row, false))))
            });
        }
        // Of another process it is only known what it said last.
        if !held.is_certain() || (held.user == ask.user && held.conn.is_none()) {
            return None;
        }
        let holder = held.user.to_string();
        Some(Err(ClaimRefused::AlreadyClaimed { holder, expires_at_ms: held.expires_at_ms }))
    }

    /// The store has decided.
    pub fn claim_told(&mut self, told: ClaimTold, now: Now) {
        let ClaimTold { generation, ask, outcome } = told;
        if generation != self.generation {
            // A row written meanwhile is the asker's own: asking again renews it.
            return self.settle(ask.waiter, Err(ClaimRefused::Unavailable("the hub has restarted")));
        }
        let key = (ask.project, ask.entity_id.clone());
        if let (Some(room), ClaimOutcome::Taken(_) | ClaimOutcome::Released(true)) =
            (self.rooms.get_mut(&ask.project), &outcome)
        {
            room.settle(&ask.entity_id);
        }
        let result = match outcome {
            ClaimOutcome::Taken(Taken::Granted(row)) => {
                self.granted(ask.project, &row, now);
                let news = news(&ask, Some(&row));
                self.tell(&news);
                self.mail_claimed(&news, &row);
                Ok((news, Some(claim(&row, true))))
            }
            ClaimOutcome::Taken(Taken::Renewed(row)) => {
                self.granted(ask.project, &row, now);
                let news = news(&ask, Some(&row));
                self.mail_claimed(&news, &row);
                Ok((news, Some(claim(&row, false))))
            }
            ClaimOutcome::Taken(Taken::Held(row)) => {
                self.learned(ask.project, &row, None, now);
                if self.abandons_first(&ask, now).is_some()
                    && let Some(Asked { mut waiting, .. }) = self.asked.remove(&key)
                {
                    // Nobody knew whose it was when the store was asked.
                    self.asked_count -= waiting.len();
                    waiting.push_front(ask);
                    return self.start(key, waiting, now);
                }
                Err(ClaimRefused::AlreadyClaimed { holder: row.user_id, expires_at_ms: row.expires_at_ms })
            }
            ClaimOutcome::Released(true) => {
                let room = self.rooms.get_mut(&ask.project);
                let held = room.and_then(|room| room.claims.remove(&ask.entity_id));
                let news = news(&ask, None);
                self.tell(&news);
                self.mail_released(&news, held.map(|held| held.fence));
                Ok((news, None))
            }
            ClaimOutcome::Abandoned(_) => {
                if let Some(room) = self.rooms.get_mut(&ask.project) {
                    room.claims.abandon(&ask.entity_id, &ask.holder);
                }
                Err(ClaimRefused::NotHeld)
            }
            ClaimOutcome::Released(false) => Err(ClaimRefused::NotHeld),
            ClaimOutcome::Failed(refused) => Err(refused),
        };
        let Some(Asked { mut waiting, .. }) = self.asked.remove(&key) else { return self.settle(ask.waiter, result) };
        self.asked_count -= waiting.len();
        if let (Change::Abandon, Err(refused @ ClaimRefused::Unavailable(_))) = (ask.change, &result)
            && waiting.front().is_some_and(|next| next.change == Change::Take)
            && let Some(next) = waiting.pop_front()
        {
            // It would be told that its own user is in the way.
            self.settle(next.waiter, Err(refused.clone()));
        }
        self.settle(ask.waiter, result);
        self.start(key, waiting, now);
    }

    /// The store has made leases longer.
    pub fn renew_told(&mut self, told: &RenewTold, now: Now) {
        let ttl = self.given.limits.claim_ttl;
        let Some(room) = self.rooms.get_mut(&told.project) else { return };
        for row in &told.renewed {
            room.claims.renewed(&row.entity_id, &row.holder, row.expires_at_ms, ttl, now);
        }
        let lost = |(entity, tag): &(String, String)| {
            room.claims.is_held_as(entity, tag) && !told.renewed.iter().any(|row| row.entity_id == *entity)
        };
        // Another replica has let it go, and its word was lost.
        let any_lost = told.asked.iter().any(lost);
        room.stale();
        self.time_claims(told.project);
        if any_lost {
            self.read_claims(told.project);
        }
    }

    /// What `conn` has claimed, or is about to, is given back, or abandoned.
    pub(super) fn give_up(&mut self, project: ProjectId, conn: ConnId, user: &Arc<str>, change: Change, now: Now) {
        if let Some(room) = self.rooms.get_mut(&project).filter(|room| !room.live) {
            room.leavers.push((conn, user.clone(), change));
        }
        let tag = conn_tag(&self.given.incarnation, conn);
        let mut entities = self.rooms.get(&project).map(|room| room.claims.of_conn(conn)).unwrap_or_default();
        for ((_, entity), asked) in self.asked.iter().filter(|((of, _), _)| *of == project) {
            let about_to = asked.taker.as_ref() == Some(&tag) || asked.waiting.iter().any(|ask| ask.holder == tag);
            if about_to && !entities.contains(entity) {
                entities.push(entity.clone());
            }
        }
        for entity_id in entities {
            let (holder, user) = (tag.clone(), user.clone());
            self.ask(ClaimAsk { project, entity_id, user, holder, change, waiter: Waiter::Nobody }, now);
        }
    }

    /// What a user holds in a room by a connection that is gone, or by a call, is free.
    pub(super) fn release_left_over(&mut self, project: ProjectId, user: &Arc<str>, now: Now) {
        let Some(room) = self.rooms.get(&project) else { return };
        for (entity_id, holder) in room.claims.left_over(user, |conn| room.members.contains_key(&conn)) {
            let (user, change) = (user.clone(), Change::ReleaseOwn);
            self.ask(ClaimAsk { project, entity_id, user, holder, change, waiter: Waiter::Nobody }, now);
        }
    }

    pub(super) fn time_claims(&mut self, project: ProjectId) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let Some(due) = room.claims.next_due() else { return };
        if room.claims.timed.is_none_or(|at| at > due) {
            room.claims.timed = Some(due);
            self.timers.push(Reverse((due, Timer::Claims(project))));
        }
    }

    pub(super) fn claims_due(&mut self, project: ProjectId, due: Instant, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.claims.timed != Some(due) {
            return;
        }
        room.claims.timed = None;
        let (members, heard, attached) = (&room.members, &self.given.heard, &self.attached);
        // Whose connection lives on but has left the room has nothing to hold there.
        let all_known = attached.iter().all(|attached| *attached);
        let active = |user: &str, conn: ConnId| {
            if all_known && !members.contains_key(&conn) { None } else { heard(user, conn) }
        };
        let due = room.claims.take_due(self.given.limits.claim_ttl, now.instant, active);
        for (entity, _) in &due.lapsed {
            room.settle(entity);
        }
        if due.unsure {
            self.read_claims(project);
        }
        for (entity_id, user) in due.lapsed {
            let (action, by, expires_at_ms, fence) = ("released", None, None, None);
            self.tell(&Arc::new(ClaimNews { project, action, entity_id, user, by, expires_at_ms, fence }));
        }
        if !due.renew.is_empty() {
            self.out.push(Output::Renew(project, due.renew));
        }
        self.time_claims(project);
    }

    /// The store says that this is in force, and that this process was granted it.
    fn granted(&mut self, project: ProjectId, row: &Row, now: Now) {
        self.seen(project, row, now);
        if let Some(room) = self.rooms.get_mut(&project) {
            room.claims.granted_here(&row.entity_id, self.given.limits.claim_ttl, now);
        }
        self.time_claims(project);
    }

    pub(super) fn seen(&mut self, project: ProjectId, row: &Row, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.claims.put(row, &self.given.incarnation, self.given.limits.claim_ttl, now);
        room.stale();
        self.time_claims(project);
    }

    pub(super) fn tell(&mut self, news: &Arc<ClaimNews>) {
        if let Some(room) = self.rooms.get_mut(&news.project) {
            room.stale();
            broadcast(room, &mut self.out, news.project, &Outgoing::Claim(news.clone()), None);
        }
    }

    fn settle(&mut self, waiter: Waiter, result: Settled) {
        match waiter {
            Waiter::Nobody => {}
            // A caller who has gone away has no use for the answer; what it got lapses by itself.
            Waiter::Claim(sender) => {
                sender.send(result.and_then(|(_, claim)| claim.ok_or(ClaimRefused::NotHeld))).ok();
            }
            Waiter::Release(sender) => {
                sender.send(result.map(|_| ())).ok();
            }
            Waiter::Conn(asker) => {
                let reply = result.map_or_else(|refused| refusal(&refused), |(news, _)| Reply::Claim(news));
                self.reply(&asker, reply);
            }
        }
    }
}

type Settled = Result<(Arc<ClaimNews>, Option<Claim>), ClaimRefused>;

fn refusal(refused: &ClaimRefused) -> Reply {
    let (code, holder, limit) = match refused {
        ClaimRefused::AlreadyClaimed { holder, .. } => (ErrorCode::AlreadyClaimed, Some(holder.clone()), None),
        ClaimRefused::NotHeld | ClaimRefused::NoProject => (ErrorCode::NotFound, None, None),
        ClaimRefused::TooMany(_) => (ErrorCode::LimitExceeded, None, Some("claims_per_project")),
        ClaimRefused::Unavailable(_) => (ErrorCode::Unavailable, None, None),
    };
    Reply::Refused { code, text: refused.to_string(), holder, limit }
}

fn claim(row: &Row, granted: bool) -> Claim {
    let (entity_id, user_id) = (row.entity_id.clone(), row.user_id.clone());
    Claim { entity_id, user_id, granted, fence: row.token, expires_at_ms: row.expires_at_ms }
}

/// What the room is told: `claimed` with the row, `released` without.
fn news(ask: &ClaimAsk, row: Option<&Row>) -> Arc<ClaimNews> {
    let by = match &ask.waiter {
        Waiter::Conn(asker) => Some(asker.conn),
        _ => None,
    };
    Arc::new(ClaimNews {
        project: ask.project,
        action: if row.is_some() { "claimed" } else { "released" },
        entity_id: ask.entity_id.clone(),
        user: ask.user.clone(),
        by,
        expires_at_ms: row.map(|row| row.expires_at_ms),
        fence: row.map(|row| row.token),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::rooms::messages::FromReplica;
    use std::sync::Mutex;

    const CONN: ConnId = ConnId(7);

    fn row(holder: &str) -> Row {
        let (entity_id, user_id) = ("m1".to_owned(), "ana".to_owned());
        Row { entity_id, user_id, holder: holder.to_owned(), token: 1, expires_at_ms: 60_000 }
    }

    /// A hub with ana in a room that is still being read.
    fn opening(start: Instant) -> (Core, ProjectId, Asker) {
        let limits = Limits { claim_ttl: Duration::from_secs(60), ..Limits::default() };
        let (memory, heard) = (Arc::new(Mutex::default()), Arc::new(|_: &str, _| None));
        let mut core = Core::new(
            2,
            1,
            Given {
                limits,
                memory,
                incarnation: "here".into(),
                heard,
                replica: ReplicaId::new("here"),
                mesh: MeshLimits::default(),
            },
            start,
        );
        let project = ProjectId::generate();
        let members = vec![(CONN, "ana".into())];
        let rooms = vec![crate::actors::sockets::commands::Attached { room: project, cursor: None, members }];
        core.attach(Attach { generation: 2, shard: 0, rooms }, Now { instant: start, unix_ms: 0 });
        let asker = Asker { conn: CONN, shard: 0, user: "ana".into(), re: Some(1), pending: Pending::default() };
        (core, project, asker)
    }

    fn asked(core: &mut Core) -> Option<ClaimAsk> {
        core.outputs().find_map(|output| match output {
            Output::Claim(ask) => Some(*ask),
            _ => None,
        })
    }

    fn open(core: &mut Core, project: ProjectId, claims: Vec<Row>, now: Now) {
        let history = History::Opened { ep: "e".into(), off: 0, claims };
        core.told(Told { generation: 2, project, purpose: Purpose::Open, history }, now);
    }

    #[test]
    fn what_was_released_while_a_room_was_read_is_not_claimed_again_by_what_was_read() {
        let start = Instant::now();
        let now = Now { instant: start, unix_ms: 0 };
        let (mut core, project, asker) = opening(start);
        let release = ClaimByFrame { asker, project, entity_id: "m1".into(), release: true };
        core.claim_by_frame(release, now);
        let ask = asked(&mut core).expect("the store is asked");
        core.claim_told(ClaimTold { generation: 2, ask, outcome: ClaimOutcome::Released(true) }, now);
        // Read before the release was written.
        open(&mut core, project, vec![row("here:7")], now);
        assert_eq!(core.rooms[&project].claims.list(), []);
    }

    #[test]
    fn a_claim_made_here_is_renewed_in_time_and_lapses_in_time_by_whatever_clock() {
        let start = Instant::now();
        for skew_ms in [-300_000_i64, 300_000] {
            let at =
                |secs: u64| Now { instant: start + Duration::from_secs(secs), unix_ms: secs as i64 * 1000 + skew_ms };
            let (mut core, project, asker) = opening(start);
            core.given.heard = Arc::new(|_, _| Some(Duration::ZERO));
            open(&mut core, project, Vec::new(), at(0));
            core.claim_by_frame(ClaimByFrame { asker, project, entity_id: "m1".into(), release: false }, at(0));
            let ask = asked(&mut core).expect("the store is asked");
            let granted = ClaimOutcome::Taken(Taken::Granted(row("here:7")));
            core.claim_told(ClaimTold { generation: 2, ask, outcome: granted }, at(0));
            core.tick(at(30));
            let outputs: Vec<_> = core.outputs().collect();
            let renew = |output: &Output| matches!(output, Output::Renew(..));
            let released = |output: &Output| {
                matches!(output, Output::Shard(_, ShardCommand::Frame { frame: Outgoing::Claim(news), .. })
                    if news.action == "released")
            };
            assert!(outputs.iter().any(renew) && !outputs.iter().any(released), "{skew_ms}: {outputs:?}");
            let asked = vec![("m1".to_owned(), "here:7".to_owned())];
            let renewed = vec![Row { expires_at_ms: 90_000, ..row("here:7") }];
            core.renew_told(&RenewTold { project, asked, renewed }, at(30));
            let held = |core: &Core, secs| core.rooms[&project].claims.get("m1", at(secs).instant).is_some();
            assert!(held(&core, 89) && !held(&core, 90), "{skew_ms}");
        }
    }

    #[test]
    fn a_claim_that_was_let_go_elsewhere_without_a_word_is_free_once_it_cant_be_renewed() {
        let start = Instant::now();
        let now = Now { instant: start, unix_ms: 0 };
        let (mut core, project, _) = opening(start);
        open(&mut core, project, vec![row("here:7")], now);
        core.outputs();
        let asked = vec![("m1".to_owned(), "here:7".to_owned())];
        core.renew_told(&RenewTold { project, asked, renewed: Vec::new() }, now);
        assert!(core.outputs().any(|output| matches!(output, Output::ReadHead(_, Purpose::Claims))));
        let history = History::Claims(Vec::new());
        core.told(Told { generation: 2, project, purpose: Purpose::Claims, history }, now);
        assert_eq!(core.rooms[&project].claims.list(), []);
    }

    #[test]
    fn claims_that_change_while_they_are_read_for_many_rooms_are_not_undone_by_what_is_read() {
        let start = Instant::now();
        let now = Now { instant: start, unix_ms: 0 };
        let (mut core, project, _) = opening(start);
        open(&mut core, project, Vec::new(), now);
        assert_eq!(core.begin_claims(2, &[project, ProjectId::generate()]), [project]);
        assert_eq!(core.begin_claims(2, &[project]), [], "it is being read");
        let from = ReplicaId::new("there");
        let Row { entity_id, user_id, holder, token: fence, expires_at_ms } = row("there:1");
        let message = Message::Claimed { entity_id, user_id, holder, fence, expires_at_ms, by: None };
        core.hear(FromReplica { from: from.clone(), project: Some(project), message }, now);
        // Without its number this can't be told from old news: the claims are read once more.
        let message = Message::Released { entity_id: "m2".into(), user_id: "bob".into(), fence: None, by: None };
        core.hear(FromReplica { from, project: Some(project), message }, now);
        core.outputs();
        core.claims_told(ClaimsTold { generation: 2, rooms: vec![(project, Some(Vec::new()))] }, now);
        assert_eq!(core.rooms[&project].claims.list().len(), 1);
        assert!(core.outputs().any(|output| matches!(output, Output::ReadHead(_, Purpose::Claims))));
    }

    #[test]
    fn a_holder_that_asks_again_costs_no_write_until_half_of_its_lease_has_passed() {
        let start = Instant::now();
        let at = |secs: u64| Now { instant: start + Duration::from_secs(secs), unix_ms: secs as i64 * 1000 };
        let (mut core, project, asker) = opening(start);
        open(&mut core, project, vec![row("here:7")], at(0));
        core.outputs();
        for (secs, written) in [(0, false), (29, false), (31, true)] {
            let claim = ClaimByFrame { asker: asker.clone(), project, entity_id: "m1".into(), release: false };
            core.claim_by_frame(claim, at(secs));
            let outputs: Vec<_> = core.outputs().collect();
            let asked = outputs.iter().any(|output| matches!(output, Output::Claim(_)));
            let told = outputs.iter().any(|output| {
                let Output::Shard(0, ShardCommand::Reply { reply: Reply::Claim(news), .. }) = output else {
                    return false;
                };
                news.expires_at_ms == Some(60_000) && news.fence == Some(1)
            });
            assert_eq!((asked, told), (written, !written), "after {secs} s");
        }
    }
}
