//! Who gets in: opening a room, letting a connection in with what it missed, taking it out.
//!
//! Reading what is missed from the store is asked for here and answered in [`Core::join_read`]. Easy to get wrong: a
//! connection that read a snapshot newer than what was published here must wait until the room has caught up.
use super::*;

const NO_PROJECT: &str = "no such project";
pub(super) const NOT_JOINED: &str = "you are not in that project's room";

/// Where what a joiner has missed was looked for.
#[derive(Clone, Copy)]
pub(super) enum Source {
    Ring,
    Store,
}

impl Core {
    /// Keep a request until its shard has reported; who is a member is not known before.
    pub(super) fn keep(&mut self, early: Request) {
        let shard = early.asker().shard;
        if self.stash[shard].len() < MAX_EARLY {
            return self.stash[shard].push(early);
        }
        self.refuse(early.asker(), ErrorCode::Unavailable, "the hub is restarting, try again");
    }

    /// The room, opened if need be.
    pub(super) fn open(&mut self, project: ProjectId, now: Now) -> &mut Room {
        if !self.rooms.contains_key(&project) {
            let mut room = Room::new(self.attached.len());
            for (view, attached) in room.shards.iter_mut().zip(&self.attached) {
                // Its members are not known yet, but are not to miss what others are told meanwhile.
                view.behind = (!attached).then(Behind::default);
            }
            self.rooms.insert(project, room);
            self.out.push(Output::Follow(project));
            self.out.push(Output::ReadHead(project, Purpose::Open));
            self.expect_others(project, now.instant);
        }
        self.rooms.get_mut(&project).expect("it was there or was put there just now")
    }

    pub(super) fn opened(&mut self, project: ProjectId, history: History, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if room.live {
            return;
        }
        let History::Opened { ep, off, claims } = history else {
            for join in std::mem::take(&mut room.waiting) {
                self.refuse_join(&join, ErrorCode::Unavailable, "the store is away, try again", now);
            }
            let Some(room) = self.rooms.get(&project) else { return };
            if room.members.is_empty() && room.leavers.is_empty() && room.behind_joins.is_empty() {
                self.rooms.remove(&project);
            } else {
                self.timers.push(Reverse((now.instant + RETRY, Timer::Open(project))));
            }
            return;
        };
        room.restart_at(ep, off);
        let settled = room.claims_were_read();
        for row in claims.iter().filter(|row| !settled.contains(&row.entity_id)) {
            room.claims.put(row, &self.given.incarnation, self.given.limits.claim_ttl, now);
        }
        room.stale();
        let leavers = std::mem::take(&mut room.leavers);
        self.time_claims(project);
        for (conn, user, change) in leavers {
            self.give_up(project, conn, &user, change, now);
        }
        for shard in 0..self.attached.len() {
            self.catch_up(project, shard);
        }
        self.read_claims_again(project);
        self.hand_out_ahead(project, now);
        self.settle_presence(project, now);
        self.admit_waiting(project, true, now);
        self.time_empty(project, now);
    }

    /// There is no such project, or no more: whoever is in its room is put out, whoever wants in is refused.
    pub(super) fn vanished(&mut self, project: ProjectId, purpose: Purpose, now: Now) {
        if let Purpose::Join(join) = purpose {
            self.refuse(&join.asker, ErrorCode::NotFound, NO_PROJECT);
            self.join_settled(project, join.asker.conn, now);
        }
        self.remembered().remove(&project);
        let Some(mut room) = self.rooms.remove(&project) else { return };
        for join in &room.waiting {
            self.refuse(&join.asker, ErrorCode::NotFound, NO_PROJECT);
        }
        for (conn, member) in room.members {
            let left =
                ShardCommand::Left { conn, room: project, re: None, reason: "deleted", pending: Pending::default() };
            self.out.push(Output::Shard(member.shard, left));
        }
        for request in std::mem::take(&mut room.behind_joins).into_values().flatten() {
            self.behind_bytes -= request.bytes();
            let (code, text) = match request {
                Request::Join(_) => (ErrorCode::NotFound, NO_PROJECT),
                _ => (ErrorCode::NotJoined, NOT_JOINED),
            };
            self.refuse(request.asker(), code, text);
        }
    }

    pub(super) fn refuse_join(&mut self, join: &Join, code: ErrorCode, text: &str, now: Now) {
        self.refuse(&join.asker, code, text);
        self.join_settled(join.project, join.asker.conn, now);
    }

    /// What a connection asks while it is being let into the room waits until it is, so that its requests are done in
    /// their order. None when this one does.
    pub(super) fn behind_join(&mut self, request: Request) -> Option<Request> {
        let (project, bytes) = (request.project(), request.bytes());
        let room = self.rooms.get_mut(&project).filter(|_| self.attached[request.asker().shard]);
        let Some(behind) = room.and_then(|room| room.behind_joins.get_mut(&request.asker().conn)) else {
            return Some(request);
        };
        if self.behind_bytes + bytes > MAX_BEHIND_BYTES {
            self.refuse(request.asker(), ErrorCode::Unavailable, "too much waits behind a JoinProject, try again");
        } else {
            self.behind_bytes += bytes;
            behind.push_back(request);
        }
        None
    }

    /// The connection is in the room, or was refused: what it asked meanwhile is done, up to the next join that waits.
    fn join_settled(&mut self, project: ProjectId, conn: ConnId, now: Now) {
        let Some(mut behind) = self.rooms.get_mut(&project).and_then(|room| room.behind_joins.remove(&conn)) else {
            return;
        };
        while let Some(request) = behind.pop_front() {
            self.behind_bytes -= request.bytes();
            self.request(request, now);
            let room = self.rooms.get_mut(&project);
            if let Some(again) = room.and_then(|room| room.behind_joins.get_mut(&conn)) {
                return again.append(&mut behind);
            }
        }
    }

    /// The connection is gone, and needs no answers.
    fn forget_behind_join(&mut self, project: ProjectId, conn: ConnId) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        for request in room.behind_joins.remove(&conn).into_iter().flatten() {
            self.behind_bytes -= request.bytes();
        }
    }

    pub(super) fn admit_waiting(&mut self, project: ProjectId, may_read: bool, now: Now) {
        let Some(room) = self.rooms.get_mut(&project).filter(|room| room.expected.is_empty()) else { return };
        for join in std::mem::take(&mut room.waiting) {
            match self.rooms.get_mut(&project) {
                Some(room) if room.shards[join.asker.shard].behind.is_some() => room.waiting.push(join),
                _ => self.admit(join, may_read, now),
            }
        }
    }

    /// Let a connection into a live room whose shard is up to date, or read what it lacks first.
    pub(super) fn admit(&mut self, join: Join, may_read: bool, now: Now) {
        let project = join.project;
        let room = self.open(project, now);
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
        self.enter(join, missed, Source::Ring, now);
    }

    /// In, with what was missed; `source` says where that was looked for.
    pub(super) fn enter(&mut self, join: Join, missed: Option<Vec<RoomFrame>>, source: Source, now: Now) {
        let Join { asker, project, since } = join;
        let meters = &self.meters;
        let counter = match (source, &missed, &since) {
            (_, _, None) => &meters.fresh,
            (Source::Ring, Some(_), _) => &meters.from_ring,
            (Source::Store, Some(_), _) => &meters.from_store,
            (Source::Ring, None, _) => &meters.ring_failed,
            (Source::Store, None, _) => &meters.store_failed,
        };
        counter.increment(1);
        let memory = self.given.memory.clone();
        let sample = self.given.limits.presence.sample;
        let room = self.open(project, now);
        let claims = room.claims.list();
        let snapshot = room.snapshot(now.instant, |jobs| {
            let remembered = memory.lock().unwrap_or_else(PoisonError::into_inner);
            let presence = remembered.get(&project).map(|presence| presence.announced(sample)).unwrap_or_default();
            Snapshot { presence, jobs, claims }
        });
        let cursor = room.cursor();
        let added = self.add(project, asker.conn, asker.shard, &asker.user, now);
        let job = JoinedCommand {
            conn: asker.conn,
            user: asker.user,
            room: project,
            re: asker.re,
            cursor,
            recovered: missed.is_some(),
            missed: missed.unwrap_or_default(),
            snapshot,
            pending: asker.pending,
        };
        self.out.push(Output::Shard(asker.shard, ShardCommand::Joined(Box::new(job))));
        if added {
            self.time_presence(project, now);
            self.time_share(project, now);
        }
        self.join_settled(project, asker.conn, now);
    }

    pub(super) fn join_read(&mut self, join: Join, history: History, now: Now) {
        let project = join.project;
        let Some(room) = self.rooms.get(&project) else { return self.join(join, now) };
        if !room.live || room.shards[join.asker.shard].behind.is_some() {
            return self.join(join, now);
        }
        let missed = match history {
            History::Events { events, head } => {
                let complete = events.last().is_none_or(|event| event.off == head);
                let last = events.last().map(|event| event.off);
                let upto = room.head;
                let mut frames: Vec<RoomFrame> =
                    events.iter().filter(|event| event.off <= upto).map(|event| room::durable(&event.bytes)).collect();
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
                return self.refuse_join(&join, ErrorCode::Unavailable, "the store is away, try again", now);
            }
            _ => None,
        };
        self.enter(join, missed, Source::Store, now);
    }

    /// A member more; false when it was one already.
    pub(super) fn add(&mut self, project: ProjectId, conn: ConnId, shard: usize, user: &Arc<str>, now: Now) -> bool {
        let added = self.open(project, now).add(conn, shard, user.clone());
        if added {
            self.presence(project, |presence| presence.enter(user));
        }
        added
    }

    /// A connection has ended, or left.
    pub(super) fn gone(&mut self, project: ProjectId, conn: ConnId, now: Now) {
        self.forget_behind_join(project, conn);
        if let Some(room) = self.rooms.get_mut(&project) {
            room.waiting.retain(|join| join.asker.conn != conn);
        }
        self.put_out(project, conn, now);
    }

    /// A member less, still shown for a while.
    pub(super) fn put_out(&mut self, project: ProjectId, conn: ConnId, now: Now) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        if let Some(member) = room.remove(conn, now.instant) {
            let Given { limits, mesh, .. } = &self.given;
            let until = now.instant + if self.draining { mesh.handoff } else { limits.presence.linger };
            self.presence(project, |presence| presence.leave(&member.user, until));
            self.time_presence(project, now);
            self.time_share(project, now);
            self.time_empty(project, now);
        }
    }
}
