//! The other replicas: who lives, who is in rooms there, and what they are told of those who are in rooms here.
//!
//! What is repeated of them is `hub::remote`'s. Easy to get wrong: all of this may be lost, doubled or late; what a
//! replica says again and again (its signs of life, with the versions of its rooms) is what puts it right.
use super::*;
use crate::actors::rooms::messages::FromReplica;
use crate::db::claims;

/// Replicas that are known at once; those past it are not listened to.
const MAX_OTHERS: usize = 256;
/// Rooms that one sign of life names.
const ROOMS_AT_ONCE: usize = 500;
/// How long the first who joins a room here waits to hear who is there elsewhere.
const HOLD: Duration = Duration::from_millis(150);

/// Another replica.
#[derive(Debug)]
pub(super) struct Other {
    heard: Instant,
    /// It may be gone, and counts as gone from then on.
    suspected: Option<Instant>,
    /// When it is looked at next; an earlier life under the same name has left a timer, perhaps.
    timed: Instant,
    /// Rooms in which it has somebody.
    rooms: HashSet<ProjectId>,
}

impl Core {
    /// Another replica says something.
    pub fn hear(&mut self, said: FromReplica, now: Now) {
        let FromReplica { from, project, message } = said;
        if let Message::Goodbye {} = message {
            return self.hear_goodbye(&from, now);
        }
        if !self.hear_of(&from, now) {
            return;
        }
        match (project, message) {
            (None, Message::Beat { part, rooms }) => self.hear_beat(&from, part, rooms, now),
            (Some(project), Message::Who { of }) => {
                let of_all = of.is_none();
                let asked = of.is_none_or(|of| of == self.given.replica.as_str());
                if asked && self.rooms.contains_key(&project) {
                    self.presence(project, Presence::ask_whole);
                    if of_all {
                        // At once: somebody may be waiting at the door there.
                        self.share(project, now);
                    } else {
                        // Many may lack it, after an outage: one answer is for all of them.
                        self.time_share(project, now);
                    }
                }
            }
            (Some(project), message @ (Message::Moved { .. } | Message::Here { .. })) => {
                let Some(room) = self.rooms.get_mut(&project) else { return };
                if let Message::Here { .. } = message {
                    room.expected.remove(&from);
                }
                if self.presence(project, |presence| presence.hear(&from, message, now.instant)) {
                    self.ask_who(project, Some(&from));
                }
                self.time_presence(project, now);
                self.time_share(project, now);
                self.welcome_held(project, now);
            }
            (Some(project), Message::Claimed { entity_id, user_id, holder, fence, expires_at_ms, by }) => {
                let row = claims::Claim { entity_id, user_id, holder, token: fence, expires_at_ms };
                self.learned(project, &row, by.map(ConnId), now);
            }
            (Some(project), Message::Released { entity_id, user_id, fence, by }) => {
                self.hear_released(project, (entity_id, user_id.into()), fence, by.map(ConnId));
            }
            _ => {}
        }
    }

    /// A sign of life is due.
    pub fn beat(&mut self) {
        let rooms: Vec<(ProjectId, u64)> = self
            .remembered()
            .iter()
            .filter(|(project, _)| self.rooms.contains_key(project))
            .filter_map(|(project, presence)| Some((*project, presence.shared()?)))
            .collect();
        let mut parts: Vec<Vec<(ProjectId, u64)>> = rooms.chunks(ROOMS_AT_ONCE).map(<[_]>::to_vec).collect();
        if parts.is_empty() {
            parts.push(Vec::new());
        }
        for (part, rooms) in (0..).zip(parts) {
            self.mail(Channel::All, Message::Beat { part, rooms });
        }
    }

    /// The process drains: its clients come to other replicas.
    pub fn drains(&mut self) {
        self.draining = true;
    }

    pub(super) fn mail(&mut self, channel: Channel, message: Message) {
        self.out.push(Output::Mail(Mail { channel, message, frame: bytes::Bytes::new() }));
    }

    /// A room was opened: ask who is there elsewhere, and remember who will answer.
    pub(super) fn expect_others(&mut self, project: ProjectId, now: Instant) {
        let has = |(_, other): &(&ReplicaId, &Other)| other.suspected.is_none() && other.rooms.contains(&project);
        let expected: HashSet<ReplicaId> = self.others.iter().filter(has).map(|(replica, _)| replica.clone()).collect();
        if !expected.is_empty() {
            self.timers.push(Reverse((now + HOLD, Timer::Held(project))));
        }
        if let Some(room) = self.rooms.get_mut(&project) {
            room.expected = expected;
        }
        self.ask_who(project, None);
    }

    /// Those who were to answer have not.
    pub(super) fn stop_holding(&mut self, project: ProjectId, now: Now) {
        if let Some(room) = self.rooms.get_mut(&project) {
            room.expected.clear();
        }
        self.welcome_held(project, now);
    }

    fn welcome_held(&mut self, project: ProjectId, now: Now) {
        if self
            .rooms
            .get(&project)
            .is_some_and(|room| room.live && room.expected.is_empty() && !room.waiting.is_empty())
        {
            self.settle_presence(project, now);
            self.admit_waiting(project, true, now);
        }
    }

    /// Nobody here was told anything yet: what is known of the others is what the first is told.
    pub(super) fn settle_presence(&mut self, project: ProjectId, now: Now) {
        let untold = self.attached.iter().all(|attached| *attached)
            && self.rooms.get(&project).is_some_and(|room| room.members.is_empty());
        if untold {
            let (listed, sample) = (self.given.limits.presence.listed, self.given.limits.presence.sample);
            let settled = self.presence(project, |presence| presence.take_change(now.instant, listed, sample));
            if let Some(room) = self.rooms.get_mut(&project).filter(|_| settled.is_some()) {
                room.stale();
            }
        }
    }

    pub(super) fn time_share(&mut self, project: ProjectId, now: Now) {
        let due = self.presence(project, |presence| presence.has_to_share());
        let Some(room) = self.rooms.get_mut(&project).filter(|room| due && !room.share_timed) else { return };
        room.share_timed = true;
        self.timers.push(Reverse((now.instant + self.given.mesh.share_every, Timer::Share(project))));
    }

    pub(super) fn share_due(&mut self, project: ProjectId, now: Now) {
        if let Some(room) = self.rooms.get_mut(&project) {
            room.share_timed = false;
            self.share(project, now);
        }
    }

    fn share(&mut self, project: ProjectId, now: Now) {
        for message in self.presence(project, |presence| presence.share(now.unix_ms)) {
            self.mail(Channel::Room(project), message);
        }
    }

    fn ask_who(&mut self, project: ProjectId, of: Option<&ReplicaId>) {
        let of = of.map(|replica| replica.as_str().to_owned());
        self.mail(Channel::Room(project), Message::Who { of });
    }

    /// It lives. False when there are too many.
    fn hear_of(&mut self, from: &ReplicaId, now: Now) -> bool {
        if let Some(other) = self.others.get_mut(from) {
            (other.heard, other.suspected) = (now.instant, None);
            return true;
        }
        if self.others.len() >= MAX_OTHERS {
            return false;
        }
        let timed = now.instant + self.given.mesh.suspect_after;
        let other = Other { heard: now.instant, suspected: None, timed, rooms: HashSet::new() };
        self.others.insert(from.clone(), other);
        self.timers.push(Reverse((timed, Timer::Other(from.clone()))));
        true
    }

    fn hear_beat(&mut self, from: &ReplicaId, part: u32, rooms: Vec<(ProjectId, u64)>, now: Now) {
        let Some(other) = self.others.get_mut(from) else { return };
        if part == 0 {
            other.rooms.clear();
        }
        other.rooms.extend(rooms.iter().map(|(project, _)| *project));
        for (project, version) in rooms {
            if self.rooms.contains_key(&project)
                && self.presence(project, |presence| presence.beat(from, version, now.instant))
            {
                self.ask_who(project, Some(from));
            }
        }
    }

    fn hear_goodbye(&mut self, from: &ReplicaId, now: Now) {
        self.others.remove(from);
        let until = now.instant + self.given.mesh.handoff;
        self.change_everywhere(from, now, |presence| presence.goodbye(from, until));
    }

    /// Look whether it still lives.
    pub(super) fn other_due(&mut self, from: ReplicaId, due: Instant, now: Now) {
        let Some(other) = self.others.get_mut(&from).filter(|other| other.timed == due) else { return };
        let (suspect_after, gone_after) = (self.given.mesh.suspect_after, self.given.mesh.gone_after);
        let suspect_at = other.heard + suspect_after;
        let again = if suspect_at > now.instant {
            let since = now.instant.checked_sub(gone_after);
            self.change_everywhere(&from, now, |presence| {
                if let Some(since) = since {
                    presence.forget_unconfirmed(&from, since);
                }
            });
            suspect_at
        } else {
            match other.suspected {
                Some(gone_at) if gone_at <= now.instant => {
                    self.others.remove(&from);
                    return;
                }
                Some(gone_at) => gone_at,
                None => {
                    // Counted from now when this comes late: perhaps it was this process that stood still, and what the
                    // other has said meanwhile waits to be heard.
                    let gone_at =
                        (other.heard + gone_after).max(now.instant + gone_after.saturating_sub(suspect_after));
                    other.suspected = Some(gone_at);
                    log::info!("replica={from} is silent: it may be gone");
                    self.change_everywhere(&from, now, |presence| presence.suspect(&from, gone_at));
                    gone_at
                }
            }
        };
        if let Some(other) = self.others.get_mut(&from) {
            other.timed = again;
        }
        self.timers.push(Reverse((again, Timer::Other(from))));
    }

    /// In every room that the replica has spoken of.
    fn change_everywhere(&mut self, from: &ReplicaId, now: Now, change: impl Fn(&mut Presence)) {
        let there = |presence: &Presence| presence.replicas().any(|replica| replica == from);
        let rooms: Vec<ProjectId> = {
            let mut remembered = self.remembered();
            let theirs = remembered.iter_mut().filter(|(_, presence)| there(presence));
            theirs
                .map(|(project, presence)| {
                    change(presence);
                    *project
                })
                .collect()
        };
        for project in rooms {
            self.time_presence(project, now);
            self.time_share(project, now);
        }
    }

    /// Begin with the replicas that the incarnation before this one has repeated.
    pub(super) fn remember_others(&mut self, now: Instant) {
        let known: HashSet<ReplicaId> =
            self.remembered().values().flat_map(|presence| presence.replicas().cloned().collect::<Vec<_>>()).collect();
        for replica in known {
            self.hear_of(&replica, Now { instant: now, unix_ms: 0 });
        }
    }
}
