//! Who is seen in a room: connections by user, leavers who linger, and what was announced last.
//!
//! Batching and sending are `core::presence`'s; who is there at other replicas is `remote`'s, and what they are told of
//! those here is `share`'s. The records pass from one incarnation of the hub to the next
//! ([`Memory`]), so that revisions go on by one and nobody seems to leave because the hub restarted. Easy to get
//! wrong: who leaves stays visible until `linger` has passed, and whoever comes back takes that seat again, so a quick
//! reconnect changes neither list nor count.
use super::remote::{Heard, Remote};
use super::share::Share;
use crate::actors::replicas::wire;
use crate::actors::replicas::wire::Message;
use crate::cluster::ReplicaId;
use crate::protocol::ids::ProjectId;
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// A user's connections in a room.
#[derive(Debug, Default)]
struct Seats {
    members: usize,
    /// Until when those who have left are still shown, the earliest first.
    lingering: VecDeque<Instant>,
}

/// The presence of one room.
#[derive(Debug, Default)]
pub struct Presence {
    rev: u64,
    seats: HashMap<Arc<str>, Seats>,
    /// Each user's earliest lingering seat.
    deadlines: BTreeSet<(Instant, Arc<str>)>,
    visible: usize,
    announced: BTreeSet<Arc<str>>,
    announced_count: usize,
    partial: bool,
    changed: BTreeSet<Arc<str>>,
    remote: Remote,
    share: Share,
}

/// Presence as it passes between incarnations of the hub. Only the living one locks it.
pub type Memory = Arc<Mutex<HashMap<ProjectId, Presence>>>;

/// What to announce.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// One more than the last.
    pub rev: u64,
    /// Came.
    pub joins: Vec<String>,
    /// Went.
    pub leaves: Vec<String>,
    /// Connections seen.
    pub count: usize,
    /// The lists are a sample: the room is too large to list everybody.
    pub partial: bool,
}

/// What was announced last.
#[derive(Debug, Default)]
pub struct Announced {
    /// Its revision.
    pub rev: u64,
    /// Connections.
    pub count: usize,
    /// Users, or a sample of them.
    pub users: Vec<Arc<str>>,
    /// It is a sample.
    pub partial: bool,
}

impl Presence {
    /// A connection of `user` is in.
    pub fn enter(&mut self, user: &Arc<str>) {
        let seats = self.seats.entry(user.clone()).or_default();
        seats.members += 1;
        self.share.note(user);
        if let Some(until) = seats.lingering.pop_front() {
            self.deadlines.remove(&(until, user.clone()));
            if let Some(next) = seats.lingering.front() {
                self.deadlines.insert((*next, user.clone()));
            }
        } else {
            self.visible += 1;
            self.changed.insert(user.clone());
            let heard = self.remote.came(user, 1, None);
            self.changed.extend(heard.changed);
        }
    }

    /// A connection of `user` is out; shown until `until`.
    pub fn leave(&mut self, user: &Arc<str>, until: Instant) {
        let Some(seats) = self.seats.get_mut(user) else { return };
        seats.members = seats.members.saturating_sub(1);
        if seats.lingering.is_empty() {
            self.deadlines.insert((until, user.clone()));
        }
        seats.lingering.push_back(until);
        self.share.note(user);
    }

    /// `user` is out and not to be shown any longer.
    pub fn expel(&mut self, user: &Arc<str>) {
        let Some(seats) = self.seats.remove(user) else { return };
        if let Some(until) = seats.lingering.front() {
            self.deadlines.remove(&(*until, user.clone()));
        }
        self.visible -= seats.members + seats.lingering.len();
        self.share.note(user);
        self.changed.insert(user.clone());
    }

    /// A new incarnation of the hub knows nobody: all are shown until `until`, unless they report before.
    pub fn restarted(&mut self, until: Instant) {
        for (user, seats) in &mut self.seats {
            self.share.note(user);
            for _ in 0..std::mem::take(&mut seats.members) {
                if seats.lingering.is_empty() {
                    self.deadlines.insert((until, user.clone()));
                }
                seats.lingering.push_back(until);
            }
        }
    }

    /// When somebody who lingers is no longer shown.
    pub fn next_leave(&self) -> Option<Instant> {
        let here = self.deadlines.first().map(|(until, _)| *until);
        [here, self.remote.next_leave()].into_iter().flatten().min()
    }

    /// Whether there is something to announce now.
    pub fn dirty(&self) -> bool {
        !self.changed.is_empty() || self.visible() != self.announced_count
    }

    /// Connections seen, those who linger and those at other replicas included.
    pub fn visible(&self) -> usize {
        self.visible + self.remote.seats()
    }

    /// Whether `user` is seen here.
    pub fn has(&self, user: &str) -> bool {
        self.seats.contains_key(user)
    }

    /// Users shown.
    pub fn users(&self) -> usize {
        self.announced.len()
    }

    /// What to announce, if anything changed: the whole up to `listed` connections, past it `sample` names.
    pub fn take_change(&mut self, now: Instant, listed: usize, sample: usize) -> Option<Change> {
        self.forget_lingering(now);
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for user in std::mem::take(&mut self.changed) {
            let here = self.seats.contains_key(&user) || self.remote.has(&user);
            if here && self.announced.insert(user.clone()) {
                joins.push(user.to_string());
            } else if !here && self.announced.remove(&user) {
                leaves.push(user.to_string());
            }
        }
        if joins.is_empty() && leaves.is_empty() && self.visible() == self.announced_count {
            return None;
        }
        self.announced_count = self.visible();
        self.rev += 1;
        let partial = self.visible() > listed;
        if partial {
            joins.truncate(sample);
            leaves.truncate(sample);
        } else if self.partial {
            // Those who were there have seen a sample only.
            joins = self.announced.iter().map(ToString::to_string).collect();
            leaves.clear();
        }
        self.partial = partial;
        Some(Change { rev: self.rev, joins, leaves, count: self.visible(), partial })
    }

    /// What was announced last; the next [`Change`] continues it.
    pub fn announced(&self, sample: usize) -> Announced {
        let most = if self.partial { sample } else { usize::MAX };
        let users = self.announced.iter().take(most).cloned().collect();
        Announced { rev: self.rev, count: self.announced_count, users, partial: self.partial }
    }

    /// Another replica has said something. True when it is to be asked for the whole.
    pub fn hear(&mut self, from: &ReplicaId, message: Message, now: Instant) -> bool {
        let heard = match message {
            Message::Moved { version, users } => self.remote.delta(from, version, users, now),
            Message::Here { version, part, parts, users } => {
                self.remote.whole(from, version, (part, parts), users, now)
            }
            _ => return false,
        };
        self.heard(from, heard)
    }

    /// Another replica has said at which version it is. True when it is to be asked for the whole.
    pub fn beat(&mut self, from: &ReplicaId, version: u64, now: Instant) -> bool {
        self.remote.beat(from, version, now)
    }

    /// Another replica has gone in order: who was there is shown until `until`, or until seen elsewhere.
    pub fn goodbye(&mut self, from: &ReplicaId, until: Instant) {
        self.remote.goodbye(from, until);
    }

    /// Another replica may be gone: as after a goodbye, but those who have come back meanwhile are not counted twice.
    pub fn suspect(&mut self, from: &ReplicaId, until: Instant) {
        let seats = &self.seats;
        let heard = self.remote.suspect(from, until, |user| seats.get(user).map_or(0, |seats| seats.members));
        self.heard(from, heard);
    }

    /// What a living replica has not confirmed since is not there any more.
    pub fn forget_unconfirmed(&mut self, from: &ReplicaId, since: Instant) {
        let heard = self.remote.forget_unconfirmed(from, since);
        self.heard(from, heard);
    }

    /// The other replicas heard of.
    pub fn replicas(&self) -> impl Iterator<Item = &ReplicaId> {
        self.remote.replicas()
    }

    fn heard(&mut self, from: &ReplicaId, heard: Heard) -> bool {
        self.changed.extend(heard.changed);
        for (user, many) in heard.came {
            let left = many - self.give_up(&user, many);
            let heard = self.remote.came(&user, left, Some(from));
            self.changed.extend(heard.changed);
        }
        heard.ask
    }

    /// `user` has come back elsewhere: seats that linger here are no longer shown. How many those were.
    fn give_up(&mut self, user: &Arc<str>, many: usize) -> usize {
        let Some(seats) = self.seats.get_mut(user) else { return 0 };
        let given = many.min(seats.lingering.len());
        if given == 0 {
            return 0;
        }
        if let Some(first) = seats.lingering.front() {
            self.deadlines.remove(&(*first, user.clone()));
        }
        seats.lingering.drain(..given);
        if let Some(next) = seats.lingering.front() {
            self.deadlines.insert((*next, user.clone()));
        } else if seats.members == 0 {
            self.seats.remove(user);
        }
        self.visible -= given;
        self.share.note(user);
        self.changed.insert(user.clone());
        given
    }

    /// The other replicas lack the whole of who is here.
    pub fn ask_whole(&mut self) {
        self.share.ask_whole();
    }

    /// Whether there is something to tell the other replicas.
    pub fn has_to_share(&self) -> bool {
        self.share.due()
    }

    /// The version of what they were told last; none when nobody is here.
    pub fn shared(&self) -> Option<u64> {
        self.share.version().filter(|_| !self.seats.is_empty())
    }

    /// What to tell the other replicas.
    pub fn share(&mut self, unix_ms: i64) -> Vec<Message> {
        let wire = |user: &str, seats: &Seats| -> wire::Seats {
            (user.to_owned(), seats.members as u32, seats.lingering.len() as u32)
        };
        let users = self.seats.iter().map(|(user, seats)| wire(user, seats));
        let of = |user: &str| wire(user, self.seats.get(user).unwrap_or(&Seats::default()));
        self.share.take(unix_ms, users, of)
    }

    fn forget_lingering(&mut self, now: Instant) {
        let heard = self.remote.forget(now);
        self.changed.extend(heard.changed);
        while let Some((until, _)) = self.deadlines.first()
            && *until <= now
        {
            let Some((_, user)) = self.deadlines.pop_first() else { return };
            let Some(seats) = self.seats.get_mut(&user) else { continue };
            let before = seats.lingering.len();
            seats.lingering.retain(|until| *until > now);
            self.visible -= before - seats.lingering.len();
            self.share.note(&user);
            if let Some(next) = seats.lingering.front() {
                self.deadlines.insert((*next, user.clone()));
            }
            if seats.members == 0 && seats.lingering.is_empty() {
                self.seats.remove(&user);
                self.changed.insert(user);
            }
        }
    }
}

/// How long presence is collected and shown.
#[derive(Clone, Debug)]
pub struct PresenceLimits {
    /// Time between two batches (`presence_every`).
    pub every: Duration,
    /// The same in a room of more than [`PresenceLimits::large`] connections (`presence_every_large`).
    pub every_large: Duration,
    /// Connections past which a room is large (`presence_large`).
    pub large: usize,
    /// Connections past which only counts and a sample are told (`presence_listed`).
    pub listed: usize,
    /// Names in a sample (`presence_sample`).
    pub sample: usize,
    /// How long who leaves is still shown (`presence_leave`).
    pub linger: Duration,
}

impl Default for PresenceLimits {
    fn default() -> Self {
        Self {
            every: Duration::from_millis(250),
            every_large: Duration::from_secs(1),
            large: 100,
            listed: 1_000,
            sample: 50,
            linger: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER: Duration = Duration::from_secs(5);

    fn change(presence: &mut Presence, now: Instant) -> Option<(u64, Vec<String>, Vec<String>, usize)> {
        presence.take_change(now, 1_000, 10).map(|change| (change.rev, change.joins, change.leaves, change.count))
    }

    #[test]
    fn who_is_back_in_time_was_never_away() {
        let (mut presence, ana, start) = (Presence::default(), Arc::from("ana"), Instant::now());
        presence.enter(&ana);
        assert_eq!(change(&mut presence, start), Some((1, vec!["ana".into()], vec![], 1)));
        presence.leave(&ana, start + LINGER);
        assert_eq!(change(&mut presence, start + LINGER / 2), None);
        presence.enter(&ana);
        assert_eq!(presence.next_leave(), None);
        assert_eq!(change(&mut presence, start + LINGER * 3), None);
        presence.leave(&ana, start + LINGER * 4);
        assert_eq!(change(&mut presence, start + LINGER * 4), Some((2, vec![], vec!["ana".into()], 0)));
    }

    #[test]
    fn a_second_tab_that_closes_changes_the_count_alone() {
        let (mut presence, ana, start) = (Presence::default(), Arc::from("ana"), Instant::now());
        presence.enter(&ana);
        presence.enter(&ana);
        assert_eq!(change(&mut presence, start), Some((1, vec!["ana".into()], vec![], 2)));
        presence.leave(&ana, start + LINGER);
        assert_eq!(change(&mut presence, start + LINGER), Some((2, vec![], vec![], 1)));
    }

    #[test]
    fn a_restart_shows_only_who_did_not_come_back() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let (ana, bob): (Arc<str>, Arc<str>) = ("ana".into(), "bob".into());
        presence.enter(&ana);
        presence.enter(&bob);
        assert!(change(&mut presence, start).is_some());
        presence.restarted(start + LINGER);
        presence.enter(&ana);
        assert_eq!(change(&mut presence, start), None);
        assert_eq!(change(&mut presence, start + LINGER), Some((2, vec![], vec!["bob".into()], 1)));
    }

    #[test]
    fn a_crowd_is_counted_and_sampled_and_listed_again_when_it_is_small() {
        let (mut presence, start) = (Presence::default(), Instant::now());
        let users: Vec<Arc<str>> = (0..6).map(|n| format!("u{n}").into()).collect();
        users.iter().for_each(|user| presence.enter(user));
        let crowd = presence.take_change(start, 4, 2).unwrap();
        assert_eq!((crowd.joins.len(), crowd.count, crowd.partial), (2, 6, true));
        assert_eq!(presence.announced(2).users.len(), 2);
        users[..3].iter().for_each(|user| presence.leave(user, start));
        let small = presence.take_change(start, 4, 2).unwrap();
        assert_eq!(
            (small.joins, small.leaves, small.partial),
            (vec!["u3".into(), "u4".into(), "u5".into()], vec![], false)
        );
    }

    #[test]
    fn who_is_expelled_is_not_shown_a_moment_longer() {
        let (mut presence, ana, start) = (Presence::default(), Arc::from("ana"), Instant::now());
        presence.enter(&ana);
        presence.enter(&ana);
        presence.leave(&ana, start + LINGER);
        assert!(change(&mut presence, start).is_some());
        presence.expel(&ana);
        assert_eq!(change(&mut presence, start), Some((2, vec![], vec!["ana".into()], 0)));
        assert_eq!(presence.next_leave(), None);
    }
}
