//! Taking a user out, of one room or of all: at once, with what it has claimed and whatever was queued for it.
//!
//! Taking its right away is the caller's, and comes first. Easy to get wrong: shards that have not reported to this
//! incarnation may have more of the user's connections, so what was revoked is remembered until all have.
use super::*;

impl Core {
    /// A user may no longer be in a room, or anywhere: out at once, whatever was queued for it is discarded, and what it
    /// had claimed is free. Returns how many members it was.
    pub fn revoke(&mut self, revoke: &Revoke, now: Now) -> usize {
        if self.attached.iter().any(|attached| !attached) && self.revoked.len() < MAX_EARLY {
            self.revoked.push(revoke.clone());
        }
        self.expel(revoke, now)
    }

    pub(super) fn expel(&mut self, revoke: &Revoke, now: Now) -> usize {
        let user = &revoke.user;
        match revoke.project {
            Some(project) => self.expel_from(project, user, now),
            None => self.rooms_of(user).into_iter().map(|project| self.expel_from(project, user, now)).sum(),
        }
    }

    /// The rooms that have something of a user: a connection, a request to join, a claim.
    fn rooms_of(&self, user: &Arc<str>) -> Vec<ProjectId> {
        let presence = self.remembered();
        let theirs = |(project, room): (&ProjectId, &Room)| {
            let seen = presence.get(project).is_some_and(|presence| presence.has(user));
            let waits = room.waiting.iter().any(|join| join.asker.user == *user);
            let behind = room.behind_joins.values().flatten().any(|request| request.asker().user == *user);
            (seen || waits || behind || room.claims.has(user)).then_some(*project)
        };
        self.rooms.iter().filter_map(theirs).collect()
    }

    fn expel_from(&mut self, project: ProjectId, user: &Arc<str>, now: Now) -> usize {
        let Some(room) = self.rooms.get_mut(&project) else { return 0 };
        let conns: Vec<(ConnId, usize)> =
            room.members.iter().filter(|(_, m)| m.user == *user).map(|(conn, m)| (*conn, m.shard)).collect();
        let (refused, waiting): (Vec<Join>, Vec<Join>) =
            std::mem::take(&mut room.waiting).into_iter().partition(|join| join.asker.user == *user);
        room.waiting = waiting;
        self.release_left_over(project, user, now);
        for (conn, shard) in &conns {
            self.put_out(project, *conn, now);
            self.give_up(project, *conn, user, Change::ReleaseOwn, now);
            let pending = Pending::default();
            let left = ShardCommand::Left { conn: *conn, room: project, re: None, reason: "revoked", pending };
            self.out.push(Output::Shard(*shard, left));
        }
        self.presence(project, |presence| presence.expel(user));
        self.time_presence(project, now);
        self.time_share(project, now);
        self.refuse_behind(project, user);
        for join in &refused {
            self.refuse_join(join, ErrorCode::Forbidden, "you may no longer enter that project's room", now);
        }
        conns.len()
    }

    /// What the user's connections asked behind a join is refused as well: a join among it would let the user in again.
    fn refuse_behind(&mut self, project: ProjectId, user: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(&project) else { return };
        let theirs = |requests: &&mut VecDeque<Request>| requests.front().is_some_and(|r| r.asker().user == *user);
        let refused: Vec<Request> = room.behind_joins.values_mut().filter(theirs).flat_map(std::mem::take).collect();
        for request in refused {
            self.behind_bytes -= request.bytes();
            self.refuse(request.asker(), ErrorCode::Forbidden, "you may no longer enter that project's room");
        }
    }
}
