//! Claims: asked of the store one at a time for each thing, answered when the row is written, told to the room.
//!
//! Easy to get wrong: two changes of one claim must not be with the store at once, or their answers could come back
//! in the other order; hence a queue per thing whose first entry is the one the store has.
use super::*;
use crate::{
    actors::hub::claims::conn_tag,
    db::claims::{Claim as Row, Taken},
};

impl Core {
    /// Claim or release over a connection.
    pub fn claim_by_frame(&mut self, ask: ClaimByFrame, now: Now) {
        if !self.attached[ask.asker.shard] {
            return self.keep(Request::Claim(ask));
        }
        let ClaimByFrame { asker, project, entity_id, release } = ask;
        if !self.is_member(project, asker.conn) {
            return self.refuse(&asker, ErrorCode::NotJoined, "you are not in that project's room");
        }
        self.ask(
            ClaimAsk {
                project,
                entity_id,
                user: asker.user.clone(),
                holder: conn_tag(&self.given.incarnation, asker.conn),
                release: release.then_some(false),
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

    /// Hand the next change of one claim to the store; those that the view can refuse are refused on the way.
    fn start(&mut self, key: (ProjectId, String), mut waiting: VecDeque<ClaimAsk>, now: Now) {
        while let Some(ask) = waiting.pop_front() {
            match self.certain_refusal(&ask, now) {
                Some(refused) => self.settle(ask.waiter, Err(refused)),
                None => {
                    self.asked_count += waiting.len();
                    let taker = ask.release.is_none().then(|| ask.holder.clone());
                    self.asked.insert(key, Asked { taker, waiting });
                    return self.out.push(Output::Claim(Box::new(ask)));
                }
            }
        }
    }

    /// Refuses what another connection of this process, or another user, holds. A connection that is gone keeps what
    /// it has until the lease ends; whether the row of a process that is gone gives way is for the store to say.
    fn certain_refusal(&self, ask: &ClaimAsk, now: Now) -> Option<ClaimRefused> {
        let room = self.rooms.get(&ask.project).filter(|room| room.live && ask.release.is_none())?;
        let held = room.claims.get(&ask.entity_id, now.instant)?;
        if held.tag == ask.holder || (held.user == ask.user && held.conn.is_none()) {
            return None;
        }
        let holder = held.user.to_string();
        Some(ClaimRefused::AlreadyClaimed { holder, expires_at_ms: held.expires_at_ms })
    }

    /// The store has decided.
    pub fn claim_told(&mut self, told: ClaimTold, now: Now) {
        let ClaimTold { generation, ask, outcome } = told;
        if generation != self.generation {
            // A row written meanwhile is the asker's own: asking again renews it.
            return self.settle(ask.waiter, Err(ClaimRefused::Unavailable("the hub has restarted")));
        }
        let key = (ask.project, ask.entity_id.clone());
        let result = match outcome {
            ClaimOutcome::Taken(Taken::Granted(row)) => {
                self.seen(ask.project, &row, now);
                let news = news(&ask, Some(&row));
                self.tell(&news);
                Ok((news, Some(claim(&row, true))))
            }
            ClaimOutcome::Taken(Taken::Renewed(row)) => {
                self.seen(ask.project, &row, now);
                Ok((news(&ask, Some(&row)), Some(claim(&row, false))))
            }
            ClaimOutcome::Taken(Taken::Held(row)) => {
                self.seen(ask.project, &row, now);
                Err(ClaimRefused::AlreadyClaimed { holder: row.user_id, expires_at_ms: row.expires_at_ms })
            }
            ClaimOutcome::Released(true) => {
                if let Some(room) = self.rooms.get_mut(&ask.project) {
                    room.claims.remove(&ask.entity_id);
                }
                let news = news(&ask, None);
                self.tell(&news);
                Ok((news, None))
            }
            ClaimOutcome::Released(false) => Err(ClaimRefused::NotHeld),
            ClaimOutcome::Failed(refused) => Err(refused),
        };
        self.settle(ask.waiter, result);
        if let Some(Asked { waiting, .. }) = self.asked.remove(&key) {
            self.asked_count -= waiting.len();
            self.start(key, waiting, now);
        }
    }

    /// The store has made leases longer.
    pub fn renew_told(&mut self, told: &RenewTold, now: Now) {
        let ttl = self.given.limits.claim_ttl;
        let Some(room) = self.rooms.get_mut(&told.project) else { return };
        for row in &told.renewed {
            room.claims.renewed(&row.entity_id, &row.holder, row.expires_at_ms, ttl, now);
        }
        room.stale();
        self.time_claims(told.project);
    }

    /// What `conn` has claimed, or is about to, is given back.
    pub(super) fn release_all(&mut self, project: ProjectId, conn: ConnId, user: &Arc<str>, now: Now) {
        if let Some(room) = self.rooms.get_mut(&project).filter(|room| !room.live) {
            room.leavers.push((conn, user.clone()));
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
            let release = Some(true);
            self.ask(ClaimAsk { project, entity_id, user, holder, release, waiter: Waiter::Nobody }, now);
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
        for (entity_id, user) in due.lapsed {
            let (action, by, expires_at_ms, fence) = ("released", None, None, None);
            self.tell(&Arc::new(ClaimNews { project, action, entity_id, user, by, expires_at_ms, fence }));
        }
        if !due.renew.is_empty() {
            self.out.push(Output::Renew(project, due.renew));
        }
        self.time_claims(project);
    }

    /// The store says that this is in force.
    fn seen(&mut self, project: ProjectId, row: &Row, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        room.claims.put(row, &self.given.incarnation, self.given.limits.claim_ttl, now);
        room.stale();
        self.time_claims(project);
    }

    fn tell(&mut self, news: &Arc<ClaimNews>) {
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
