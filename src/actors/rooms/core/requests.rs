//! What connections ask and shards report: in, out, saying something, being taken out.
//!
//! Letting in is `admission`'s, claims are `claims`'. Easy to get wrong: a request from a shard that has not reported
//! to this incarnation waits until it has, for who is a member is not known before.
use super::admission::NOT_JOINED;
use super::*;

impl Core {
    /// A shard reports.
    pub fn attach(&mut self, attach: Attach, now: Now) {
        let Attach { generation, shard, rooms } = attach;
        if generation != self.generation || self.attached[shard] {
            return;
        }
        self.attached[shard] = true;
        let theirs: HashSet<ProjectId> = rooms.iter().map(|attached| attached.room).collect();
        for (project, room) in &mut self.rooms {
            if !theirs.contains(project) {
                room.shards[shard].behind = None;
            }
        }
        for attached in rooms {
            self.open(attached.room, now);
            for (conn, user) in attached.members {
                self.add(attached.room, conn, shard, &user, now);
            }
            let Some(room) = self.rooms.get_mut(&attached.room) else { continue };
            // What the others were told meanwhile follows once it has what it lacks.
            room.shards[shard].behind.get_or_insert_default().cursor = attached.cursor;
            self.time_presence(attached.room, now);
            self.time_share(attached.room, now);
            self.catch_up(attached.room, shard);
        }
        for revoke in self.revoked.clone() {
            self.expel(&revoke, now);
        }
        if self.attached.iter().all(|attached| *attached) {
            self.revoked.clear();
        }
        for early in std::mem::take(&mut self.stash[shard]) {
            self.request(early, now);
        }
    }

    /// A connection asks.
    pub fn request(&mut self, request: Request, now: Now) {
        let Some(request) = self.behind_join(request) else { return };
        match request {
            Request::Join(join) => self.join(join, now),
            Request::Leave(leave) => self.leave(leave, now),
            Request::Say(say) => self.say(say),
            Request::Claim(ask) => self.claim_by_frame(ask, now),
        }
    }

    /// A connection wants in.
    pub(super) fn join(&mut self, join: Join, now: Now) {
        let shard = join.asker.shard;
        if !self.attached[shard] {
            return self.keep(Request::Join(join));
        }
        let project = join.project;
        let room = self.open(project, now);
        if room.waiting.len() >= MAX_WAITING_JOINS {
            return self.refuse_join(&join, ErrorCode::Unavailable, "too many wait to join, try again", now);
        }
        room.behind_joins.entry(join.asker.conn).or_default();
        if !room.live || room.shards[shard].behind.is_some() || !room.expected.is_empty() {
            room.waiting.push(join);
        } else {
            self.admit(join, true, now);
        }
    }

    /// A connection wants out. What it has claimed it gives back.
    pub(super) fn leave(&mut self, leave: Leave, now: Now) {
        if !self.attached[leave.asker.shard] {
            return self.keep(Request::Leave(leave));
        }
        let Leave { asker, project } = leave;
        if !self.is_member(project, asker.conn) {
            return self.refuse(&asker, ErrorCode::NotJoined, NOT_JOINED);
        }
        self.gone(project, asker.conn, now);
        self.give_up(project, asker.conn, &asker.user, Change::ReleaseOwn, now);
        let Asker { conn, shard, re, pending, .. } = asker;
        let left = ShardCommand::Left { conn, room: project, re, reason: "left", pending };
        self.out.push(Output::Shard(shard, left));
    }

    /// A connection has ended. In order, and its claims are free. Else they last as long as their leases, for its user
    /// alone: the reviewer may be back in a moment.
    pub fn disconnect(&mut self, disconnect: &Disconnect, now: Now) {
        let Disconnect { conn, ref user, ref rooms, farewell } = *disconnect;
        let change = if farewell { Change::ReleaseOwn } else { Change::Abandon };
        for project in rooms {
            if self.attached.iter().any(|attached| !attached) {
                // After a restart: the claims are not known yet, and nobody else may be there to have them read.
                self.open(*project, now);
            }
            self.gone(*project, conn, now);
            self.give_up(*project, conn, user, change, now);
        }
    }

    /// A member says something.
    pub(super) fn say(&mut self, say: Say) {
        if !self.attached[say.asker.shard] {
            return self.keep(Request::Say(say));
        }
        let Say { asker, project, frame, ack } = say;
        match self.rooms.get_mut(&project) {
            Some(room) if room.members.contains_key(&asker.conn) => {
                let (channel, message) = (Channel::Room(project), Message::Said {});
                self.out.push(Output::Mail(Mail { channel, message, frame: frame.bytes.clone() }));
                broadcast(room, &mut self.out, project, &Outgoing::Ready(frame), None);
                if let Some(ack) = ack {
                    self.reply(&asker, Reply::Ready(ack));
                }
            }
            _ => self.refuse(&asker, ErrorCode::NotJoined, NOT_JOINED),
        }
    }
}
