//! Who is in a room at the other replicas: a copy of what each of them says, and what becomes of it when one falls silent.
//!
//! Each replica is the only writer of its own entries; here they are only repeated, shown for a while when it has gone, and
//! given up one by one as the users come back elsewhere. Sending and timing are `core::others`'. Easy to get wrong: a
//! change continues the version before it; after a gap only the whole will do, and until it comes the old is shown.
use crate::actors::replicas::wire;
use crate::cluster::ReplicaId;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// Replicas whose entries are kept for one room; those past it are not shown.
const MAX_REPLICAS: usize = 64;
/// Parts that the whole of one replica's entries may come in.
const MAX_PARTS: u32 = 64;
/// Between two questions for the whole.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// One user's seats at one replica.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
struct Seats {
    members: usize,
    lingering: usize,
}

impl Seats {
    fn all(self) -> usize {
        self.members + self.lingering
    }
}

/// What one replica has said.
#[derive(Debug)]
struct Copy {
    version: u64,
    users: HashMap<Arc<str>, Seats>,
    /// It has gone, or seems to have: what is left is shown until then.
    until: Option<Instant>,
    /// When it was last known to be as the replica has it.
    confirmed: Instant,
    asked: Option<Instant>,
    staged: Option<Staged>,
}

/// The whole, of which some parts have come.
#[derive(Debug)]
struct Staged {
    version: u64,
    parts: BTreeMap<u32, Vec<wire::Seats>>,
}

/// The entries of all other replicas in one room.
#[derive(Debug, Default)]
pub struct Remote {
    replicas: BTreeMap<ReplicaId, Copy>,
    seats: usize,
}

/// What came of something heard.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Users with other seats than before.
    pub changed: Vec<Arc<str>>,
    /// Users who came, and on how many connections.
    pub came: Vec<(Arc<str>, usize)>,
    /// The replica is to be asked for the whole.
    pub ask: bool,
}

impl Remote {
    /// Connections seen at the others.
    pub fn seats(&self) -> usize {
        self.seats
    }

    /// Whether `user` is seen at another.
    pub fn has(&self, user: &str) -> bool {
        self.replicas.values().any(|copy| copy.users.contains_key(user))
    }

    /// These users have other seats there.
    pub fn delta(&mut self, from: &ReplicaId, version: u64, users: Vec<wire::Seats>, now: Instant) -> Heard {
        let Some(copy) = self.replicas.get_mut(from).filter(|copy| copy.until.is_none()) else {
            return Heard { ask: self.may_ask(from, now), ..Heard::default() };
        };
        if version <= copy.version {
            // Doubled, or overtaken by the whole.
            return Heard::default();
        }
        if version != copy.version + 1 {
            return Heard { ask: self.may_ask(from, now), ..Heard::default() };
        }
        copy.version = version;
        copy.confirmed = now;
        let mut heard = Heard::default();
        for (user, members, lingering) in users {
            let seats = Seats { members: members as usize, lingering: lingering as usize };
            self.put(from, user.as_str().into(), seats, &mut heard);
        }
        heard
    }

    /// A part of the whole. It counts once all have come.
    pub fn whole(
        &mut self,
        from: &ReplicaId,
        version: u64,
        (part, parts): (u32, u32),
        users: Vec<wire::Seats>,
        now: Instant,
    ) -> Heard {
        if parts > MAX_PARTS
            || part >= parts
            || (self.replicas.len() >= MAX_REPLICAS && !self.replicas.contains_key(from))
        {
            return Heard::default();
        }
        let copy = self.replicas.entry(from.clone()).or_insert_with(|| Copy::new(now));
        if version < copy.version && copy.until.is_none() {
            return Heard::default();
        }
        let staged = match &mut copy.staged {
            Some(staged) if staged.version == version => staged,
            other => other.insert(Staged { version, parts: BTreeMap::new() }),
        };
        staged.parts.insert(part, users);
        if staged.parts.len() < parts as usize {
            return Heard::default();
        }
        let parts = copy.staged.take().map(|staged| staged.parts).unwrap_or_default();
        (copy.version, copy.until, copy.confirmed, copy.asked) = (version, None, now, None);
        let mut heard = Heard::default();
        let whole: HashMap<Arc<str>, Seats> = parts
            .into_values()
            .flatten()
            .map(|(user, members, lingering)| {
                (user.into(), Seats { members: members as usize, lingering: lingering as usize })
            })
            .collect();
        let gone: Vec<Arc<str>> = copy.users.keys().filter(|user| !whole.contains_key(*user)).cloned().collect();
        gone.into_iter().for_each(|user| self.put(from, user, Seats::default(), &mut heard));
        whole.into_iter().for_each(|(user, seats)| self.put(from, user, seats, &mut heard));
        heard
    }

    /// The replica says what its version is. True when it is to be asked for the whole.
    pub fn beat(&mut self, from: &ReplicaId, version: u64, now: Instant) -> bool {
        match self.replicas.get_mut(from) {
            Some(copy) if copy.until.is_none() && copy.version == version => {
                copy.confirmed = now;
                false
            }
            // What is behind may still be on its way; it is asked for when the next sign of life says so again.
            Some(copy) if copy.until.is_none() && copy.version < version && copy.confirmed + ASK_AGAIN > now => false,
            _ => self.may_ask(from, now),
        }
    }

    /// The replica has gone in order: who was there is shown until `until`, or until seen elsewhere.
    pub fn goodbye(&mut self, from: &ReplicaId, until: Instant) {
        let Some(copy) = self.replicas.get_mut(from) else { return };
        copy.until = Some(until);
        copy.staged = None;
        for seats in copy.users.values_mut() {
            *seats = Seats { members: 0, lingering: seats.all() };
        }
    }

    /// The replica may be gone. As [`Remote::goodbye`]; users who are at `elsewhere` seats by now have come back from it.
    pub fn suspect(&mut self, from: &ReplicaId, until: Instant, elsewhere: impl Fn(&str) -> usize) -> Heard {
        self.goodbye(from, until);
        let mut heard = Heard::default();
        let Some(copy) = self.replicas.get(from) else { return heard };
        let users: Vec<(Arc<str>, Seats)> = copy.users.iter().map(|(user, seats)| (user.clone(), *seats)).collect();
        for (user, seats) in users {
            let there = self.replicas.iter().filter(|(other, _)| *other != from);
            let there: usize = there.filter_map(|(_, copy)| copy.users.get(&user)).map(|seats| seats.members).sum();
            let left = seats.lingering.saturating_sub(there + elsewhere(&user));
            self.put(from, user, Seats { members: 0, lingering: left }, &mut heard);
        }
        heard
    }

    /// `user` came on so many connections, at the replica `at` or here: as many who linger elsewhere are no longer shown.
    pub fn came(&mut self, user: &Arc<str>, mut many: usize, at: Option<&ReplicaId>) -> Heard {
        let mut heard = Heard::default();
        let lingers = self.replicas.iter().filter(|(replica, _)| Some(*replica) != at);
        let lingers: Vec<(ReplicaId, Seats)> = lingers
            .filter_map(|(replica, copy)| Some((replica.clone(), *copy.users.get(user)?)))
            .filter(|(_, seats)| seats.lingering > 0)
            .collect();
        for (replica, seats) in lingers {
            let taken = seats.lingering.min(many);
            many -= taken;
            self.put(&replica, user.clone(), Seats { lingering: seats.lingering - taken, ..seats }, &mut heard);
        }
        heard
    }

    /// When something is next given up.
    pub fn next_leave(&self) -> Option<Instant> {
        self.replicas.values().filter_map(|copy| copy.until).min()
    }

    /// Give up what has been shown long enough.
    pub fn forget(&mut self, now: Instant) -> Heard {
        let over = |copy: &Copy| copy.until.is_some_and(|until| until <= now);
        self.drop_copies(over)
    }

    /// Give up what the replica, which lives, has not confirmed since: it has forgotten the room.
    pub fn forget_unconfirmed(&mut self, from: &ReplicaId, since: Instant) -> Heard {
        match self.replicas.get(from) {
            Some(copy) if copy.confirmed < since => {
                let mut heard = Heard::default();
                self.drop_copy(&from.clone(), &mut heard);
                heard
            }
            _ => Heard::default(),
        }
    }

    /// The replicas heard of.
    pub fn replicas(&self) -> impl Iterator<Item = &ReplicaId> {
        self.replicas.keys()
    }

    fn drop_copies(&mut self, over: impl Fn(&Copy) -> bool) -> Heard {
        let mut heard = Heard::default();
        let gone: Vec<ReplicaId> =
            self.replicas.iter().filter(|(_, copy)| over(copy)).map(|(replica, _)| replica.clone()).collect();
        gone.iter().for_each(|replica| self.drop_copy(replica, &mut heard));
        heard
    }

    fn drop_copy(&mut self, replica: &ReplicaId, heard: &mut Heard) {
        if let Some(copy) = self.replicas.remove(replica) {
            self.seats -= copy.users.values().map(|seats| seats.all()).sum::<usize>();
            heard.changed.extend(copy.users.into_keys());
        }
    }

    fn put(&mut self, from: &ReplicaId, user: Arc<str>, seats: Seats, heard: &mut Heard) {
        let Some(copy) = self.replicas.get_mut(from) else { return };
        let before = copy.users.get(&user).copied().unwrap_or_default();
        if seats == before {
            return;
        }
        self.seats = self.seats + seats.all() - before.all();
        if seats.all() == 0 {
            copy.users.remove(&user);
        } else {
            copy.users.insert(user.clone(), seats);
        }
        let back = before.lingering.saturating_sub(seats.lingering);
        let came = seats.members.saturating_sub(before.members).saturating_sub(back);
        if came > 0 {
            heard.came.push((user.clone(), came));
        }
        heard.changed.push(user);
    }

    fn may_ask(&mut self, from: &ReplicaId, now: Instant) -> bool {
        if self.replicas.len() >= MAX_REPLICAS && !self.replicas.contains_key(from) {
            return false;
        }
        let copy = self.replicas.entry(from.clone()).or_insert_with(|| Copy::new(now));
        let may = copy.asked.is_none_or(|asked| asked + ASK_AGAIN <= now);
        if may {
            copy.asked = Some(now);
        }
        may
    }
}

impl Copy {
    fn new(now: Instant) -> Self {
        Self { version: 0, users: HashMap::new(), until: None, confirmed: now, asked: None, staged: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(user: &str, members: u32, lingering: u32) -> wire::Seats {
        (user.to_owned(), members, lingering)
    }

    fn changed(heard: &Heard) -> Vec<&str> {
        let mut users: Vec<&str> = heard.changed.iter().map(|user| &**user).collect();
        users.sort_unstable();
        users
    }

    fn known() -> (Remote, ReplicaId, Instant) {
        let (mut remote, a, now) = (Remote::default(), ReplicaId::new("a"), Instant::now());
        remote.whole(&a, 7, (0, 1), vec![seats("ana", 1, 0), seats("bob", 2, 0)], now);
        (remote, a, now)
    }

    #[test]
    fn changes_continue_the_whole_and_a_gap_asks_for_it_again() {
        let (mut remote, a, now) = known();
        assert_eq!(remote.seats(), 3);
        assert_eq!(changed(&remote.delta(&a, 8, vec![seats("ana", 0, 1)], now)), ["ana"]);
        assert_eq!(remote.delta(&a, 8, vec![seats("ana", 5, 0)], now), Heard::default(), "doubled");
        let gap = remote.delta(&a, 10, vec![seats("cy", 1, 0)], now);
        assert!(gap.ask && gap.changed.is_empty());
        assert!(!remote.delta(&a, 11, vec![], now).ask, "asked already");
        assert!(remote.delta(&a, 11, vec![], now + ASK_AGAIN).ask, "the answer may have been lost");
        let whole = remote.whole(&a, 11, (0, 1), vec![seats("bob", 2, 0), seats("cy", 1, 0)], now);
        assert_eq!(changed(&whole), ["ana", "cy"]);
        assert_eq!((remote.seats(), remote.has("ana"), remote.has("cy")), (3, false, true));
        assert!(!remote.beat(&a, 11, now));
        assert!(remote.beat(&a, 3, now), "another life of the room");
    }

    #[test]
    fn the_whole_counts_when_all_its_parts_have_come_in_any_order() {
        let (mut remote, a, now) = known();
        assert_eq!(remote.whole(&a, 9, (1, 2), vec![seats("dee", 1, 0)], now), Heard::default());
        assert_eq!(remote.seats(), 3, "the old is shown meanwhile");
        let whole = remote.whole(&a, 9, (0, 2), vec![seats("bob", 2, 0)], now);
        assert_eq!(changed(&whole), ["ana", "dee"]);
        assert_eq!(remote.seats(), 3);
    }

    #[test]
    fn who_comes_back_elsewhere_takes_a_seat_that_lingers_there() {
        let (mut remote, a, now) = known();
        remote.delta(&a, 8, vec![seats("bob", 1, 1)], now);
        remote.came(&"bob".into(), 1, None);
        assert_eq!(remote.seats(), 2, "bob once, ana once");
        remote.came(&"bob".into(), 1, None);
        assert_eq!(remote.seats(), 2, "nobody takes the seat of who is there");
        // The replica itself says so a moment later.
        assert_eq!(remote.delta(&a, 9, vec![seats("bob", 1, 0)], now), Heard::default());
    }

    #[test]
    fn of_a_replica_that_seems_gone_those_are_shown_who_have_not_come_back() {
        let (mut remote, a, now) = known();
        let until = now + Duration::from_secs(14);
        let heard = remote.suspect(&a, until, |user| usize::from(user == "bob"));
        assert_eq!((changed(&heard), remote.seats()), (vec!["bob"], 2), "bob was back on one of two");
        assert_eq!(remote.next_leave(), Some(until));
        assert!(remote.delta(&a, 8, vec![], now).ask, "it lives after all");
        remote.came(&"ana".into(), 1, None);
        assert_eq!((remote.seats(), remote.has("ana")), (1, false));
        assert_eq!(changed(&remote.forget(until)), ["bob"]);
        assert_eq!((remote.seats(), remote.next_leave()), (0, None));
    }

    #[test]
    fn a_replica_that_was_suspected_wrongly_is_shown_again_as_it_is() {
        let (mut remote, a, now) = known();
        remote.suspect(&a, now, |_| 0);
        assert!(remote.beat(&a, 7, now));
        let heard = remote.whole(&a, 7, (0, 1), vec![seats("ana", 1, 0)], now);
        assert_eq!((changed(&heard), remote.seats(), remote.next_leave()), (vec!["ana", "bob"], 1, None));
    }

    #[test]
    fn what_a_living_replica_no_longer_speaks_of_is_given_up() {
        let (mut remote, a, now) = known();
        assert_eq!(remote.forget_unconfirmed(&a, now), Heard::default());
        assert_eq!(changed(&remote.forget_unconfirmed(&a, now + ASK_AGAIN)), ["ana", "bob"]);
        assert_eq!(remote.seats(), 0);
    }
}
