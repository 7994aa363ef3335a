//! Users sent away: the other replicas are told until each of them has confirmed, not once.
//!
//! Doing it is `receiving`'s. Easy to get wrong: who is told again must not do it again, for the user may have been given
//! its right back since; so each is done once, by its number.
use super::asking::{REMEMBERED, lock};
use super::link::Mesh;
use super::wire::Message;
use crate::{
    cluster::{Channel, ReplicaId},
    protocol::ids::ProjectId,
};
use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::Notify;

/// Users sent away that not all have confirmed; past it the oldest is no longer told.
const MAX_KEPT: usize = 1_024;
/// What others have had done here, so that it is done once; past it the oldest are forgotten.
const MAX_DONE: usize = 4_096;

/// One that not all have confirmed.
#[derive(Debug)]
struct Kept {
    id: u64,
    project: Option<ProjectId>,
    user_id: String,
    since: Instant,
    /// Those who have to confirm.
    waits_for: HashSet<ReplicaId>,
    confirmed: HashSet<ReplicaId>,
    /// All who lived were known when it was told, or have become known since.
    all_known: bool,
}

/// The state.
#[derive(Debug, Default)]
pub(super) struct Expels {
    next: AtomicU64,
    kept: Mutex<VecDeque<Kept>>,
    confirmed: Notify,
    done: Mutex<VecDeque<(ReplicaId, u64)>>,
}

impl Expels {
    fn keep(&self, project: Option<ProjectId>, user: &str, others: Vec<ReplicaId>, all_known: bool) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (user_id, waits_for) = (user.to_owned(), others.into_iter().collect());
        let (since, confirmed) = (Instant::now(), HashSet::new());
        let mut kept = lock(&self.kept);
        if kept.len() >= MAX_KEPT {
            log::warn!("more users were sent away than replicas could be told: the oldest is told no more");
            kept.pop_front();
        }
        kept.push_back(Kept { id, project, user_id, since, waits_for, confirmed, all_known });
        id
    }

    /// It has been done there.
    pub(super) fn confirm(&self, from: &ReplicaId, id: u64) {
        if let Some(kept) = lock(&self.kept).iter_mut().find(|kept| kept.id == id) {
            kept.waits_for.remove(from);
            kept.confirmed.insert(from.clone());
        }
        self.confirmed.notify_waiters();
    }

    /// It has gone, and its connections with it.
    pub(super) fn gone(&self, replica: &ReplicaId) {
        for kept in lock(&self.kept).iter_mut() {
            kept.waits_for.remove(replica);
        }
        self.confirmed.notify_waiters();
    }

    /// Whether none of `living` has still to confirm it.
    fn is_confirmed(&self, id: u64, living: &[ReplicaId]) -> bool {
        let kept = lock(&self.kept);
        let Some(kept) = kept.iter().find(|kept| kept.id == id) else { return true };
        !living.iter().any(|replica| kept.waits_for.contains(replica))
    }

    /// Whether this was not done here before, for that replica.
    pub(super) fn is_new(&self, from: &ReplicaId, id: u64) -> bool {
        !lock(&self.done).iter().any(|(of, done)| *done == id && of == from)
    }

    /// It is done here now.
    pub(super) fn done(&self, from: &ReplicaId, id: u64) {
        let mut done = lock(&self.done);
        if done.len() >= MAX_DONE {
            done.pop_front();
        }
        done.push_back((from.clone(), id));
    }

    /// Who of `living` is to be told what once more.
    fn unconfirmed(&self, living: &[ReplicaId], all_known: bool) -> Vec<(ReplicaId, Message)> {
        let mut kept = lock(&self.kept);
        for kept in kept.iter_mut().filter(|kept| !kept.all_known) {
            let unheard = living.iter().filter(|replica| !kept.confirmed.contains(*replica));
            kept.waits_for.extend(unheard.cloned());
            kept.all_known = all_known;
        }
        kept.retain(|kept| kept.since.elapsed() < REMEMBERED && !(kept.all_known && kept.waits_for.is_empty()));
        let told = kept.iter().flat_map(|kept| {
            let lacking = living.iter().filter(|replica| kept.waits_for.contains(*replica));
            lacking.map(|replica| (replica.clone(), kept.message()))
        });
        told.collect()
    }
}

impl Kept {
    fn message(&self) -> Message {
        Message::Expel { project: self.project, user_id: self.user_id.clone(), id: self.id }
    }
}

impl Mesh {
    /// A user may no longer be in a room, or anywhere: the others are told, now and until each has confirmed, for ten
    /// minutes at most. True when all who live have confirmed within `answer_within`.
    pub async fn expel(&self, project: Option<ProjectId>, user: &str) -> bool {
        if self.is_alone() {
            return true;
        }
        let all_known = self.asks.knows_all(&self.limits);
        let id = self.expels.keep(project, user, self.asks.heard_within(REMEMBERED), all_known);
        self.tell(Channel::All, &Message::Expel { project, user_id: user.to_owned(), id }, &[]);
        if !self.state().is_up() {
            return false;
        }
        let confirmed = async {
            loop {
                let confirmed = self.expels.confirmed.notified();
                tokio::pin!(confirmed);
                // Listening before looking: a word in between is not missed.
                confirmed.as_mut().enable();
                // Who was silent for longer counts as gone; should it live after all it is told when it is heard again.
                if self.expels.is_confirmed(id, &self.asks.heard_within(self.limits.gone_after)) {
                    return;
                }
                confirmed.await;
            }
        };
        tokio::time::timeout(self.limits.answer_within, confirmed).await.is_ok() && all_known
    }

    /// Tell those who live and have not confirmed once more.
    pub(super) fn expel_again(&self) {
        let living = self.asks.heard_within(self.limits.suspect_after);
        for (replica, message) in self.expels.unconfirmed(&living, self.asks.knows_all(&self.limits)) {
            self.tell(Channel::One(replica.mark()), &message, &[]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_replica_is_told_until_it_has_confirmed_and_does_it_once() {
        let (a, b, c) = (ReplicaId::new("a"), ReplicaId::new("b"), ReplicaId::new("c"));
        let all = [a.clone(), b.clone(), c.clone()];
        let (here, there) = (Expels::default(), Expels::default());
        // Of c nothing was known yet.
        let id = here.keep(None, "ana", vec![a.clone(), b.clone()], false);
        assert_eq!(here.unconfirmed(&[], false), [], "nobody can be heard");
        here.confirm(&a, id);
        assert!(!here.is_confirmed(id, &all) && here.is_confirmed(id, std::slice::from_ref(&a)));
        let told: HashSet<_> = here.unconfirmed(&all, true).into_iter().map(|(replica, _)| replica).collect();
        assert_eq!(told, HashSet::from([b.clone(), c.clone()]));
        here.gone(&b);
        here.confirm(&c, id);
        assert!(here.is_confirmed(id, &all));
        assert_eq!(here.unconfirmed(&all, true), []);
        assert!(there.is_new(&a, id));
        there.done(&a, id);
        assert!(!there.is_new(&a, id) && there.is_new(&b, id) && there.is_new(&a, id + 1));
    }
}
