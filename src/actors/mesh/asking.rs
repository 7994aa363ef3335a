//! Questions to the other replicas: who has this, and what does it say to that. One answers, or all who live say no.
//!
//! What is asked is the doors' business and opaque here. Easy to get wrong: silence is no answer; only when every replica
//! that lives has said no is it known that nobody has it.
use super::{limits::MeshLimits, link::Mesh, wire::Message};
use crate::cluster::{Channel, ReplicaId};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::sync::oneshot;

/// Questions that may be open at once; past it nobody is asked.
const MAX_OPEN: usize = 1_024;
/// Replicas whose answers are waited for.
const MAX_LIVING: usize = 256;

/// Answers a question of another replica; none when it is not for this one. Must not wait.
pub type Answerer = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// One has answered.
    Answered(String),
    /// All who live have said that it is not theirs.
    Nobody,
    /// Not all could be heard in time: it may be theirs, and they may have acted on it.
    Unknown,
}

/// A question that waits for its answer.
struct Open {
    waits_for: HashSet<ReplicaId>,
    told: oneshot::Sender<Asked>,
}

/// Questions of this replica, and how it answers those of others.
pub(super) struct Asks {
    since: Instant,
    answerer: OnceLock<Answerer>,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
    living: Mutex<HashMap<ReplicaId, Instant>>,
}

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asks").field("open", &lock(&self.open).len()).finish_non_exhaustive()
    }
}

impl Default for Asks {
    fn default() -> Self {
        let (open, living) = (Mutex::default(), Mutex::default());
        Self { since: Instant::now(), answerer: OnceLock::new(), next: AtomicU64::new(1), open, living }
    }
}

impl Asks {
    /// It gave a sign of life. True when it was not known to live.
    pub fn lives(&self, replica: &ReplicaId, limits: &MeshLimits) -> bool {
        let now = Instant::now();
        let mut living = lock(&self.living);
        living.retain(|_, heard| now.duration_since(*heard) < limits.suspect_after);
        living.len() < MAX_LIVING && living.insert(replica.clone(), now).is_none()
    }

    /// It has gone: nobody waits for it any more.
    pub fn gone(&self, replica: &ReplicaId) {
        lock(&self.living).remove(replica);
        let open: Vec<u64> = lock(&self.open).keys().copied().collect();
        open.into_iter().for_each(|id| self.answered(replica, id, None));
    }

    /// What this replica says to a question.
    pub fn answer(&self, question: &str) -> Option<String> {
        self.answerer.get().and_then(|answerer| answerer(question))
    }

    /// Another replica has answered.
    pub fn answered(&self, from: &ReplicaId, id: u64, answer: Option<String>) {
        let mut open = lock(&self.open);
        let Some(one) = open.get_mut(&id) else { return };
        one.waits_for.remove(from);
        let result = match answer {
            Some(answer) => Asked::Answered(answer),
            None if one.waits_for.is_empty() => Asked::Nobody,
            None => return,
        };
        if let Some(one) = open.remove(&id) {
            // Who asked may have stopped waiting just now.
            one.told.send(result).ok();
        }
    }

    fn begin(&self, limits: &MeshLimits) -> Option<(u64, oneshot::Receiver<Asked>)> {
        let now = Instant::now();
        let heard = |(replica, heard): (&ReplicaId, &Instant)| {
            (now.duration_since(*heard) < limits.suspect_after).then(|| replica.clone())
        };
        let waits_for: HashSet<ReplicaId> = lock(&self.living).iter().filter_map(heard).collect();
        let (told, answer) = oneshot::channel();
        if waits_for.is_empty() && now.duration_since(self.since) >= limits.suspect_after {
            // For so long nobody has been heard of that nobody is there.
            told.send(Asked::Nobody).ok()?;
            return Some((0, answer));
        }
        let mut open = lock(&self.open);
        if open.len() >= MAX_OPEN {
            return None;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(id, Open { waits_for, told });
        Some((id, answer))
    }

    fn end(&self, id: u64) {
        lock(&self.open).remove(&id);
    }
}

impl Mesh {
    /// How questions of the others are answered here; the first one given counts.
    pub fn answer_with(&self, answerer: Answerer) {
        if self.asks.answerer.set(answerer).is_err() {
            log::error!("questions of other replicas are answered by somebody already");
        }
    }

    /// Ask the other replicas, and wait at most `answer_within` for the one whose business it is.
    pub async fn ask_others(&self, question: String) -> Asked {
        if self.is_alone() {
            return Asked::Nobody;
        }
        if !self.state().is_up() {
            return Asked::Unknown;
        }
        let Some((id, answer)) = self.asks.begin(&self.limits) else { return Asked::Unknown };
        if id != 0 {
            self.tell(Channel::All, &Message::Ask { id, question }, &[]);
        }
        let answer = tokio::time::timeout(self.limits.answer_within, answer).await;
        self.asks.end(id);
        match answer {
            Ok(Ok(asked)) => asked,
            Ok(Err(_)) | Err(_) => Asked::Unknown,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete when it could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_nobodys_only_when_all_who_live_have_said_so() {
        let (asks, limits) = (Asks::default(), MeshLimits::default());
        let (a, b) = (ReplicaId::new("a"), ReplicaId::new("b"));
        assert!(asks.lives(&a, &limits) && asks.lives(&b, &limits) && !asks.lives(&a, &limits));
        let (id, mut answer) = asks.begin(&limits).unwrap();
        asks.answered(&a, id, None);
        asks.answered(&a, id, None);
        assert!(answer.try_recv().is_err(), "b may have it");
        asks.answered(&b, id, None);
        assert_eq!(answer.try_recv(), Ok(Asked::Nobody));
        let (id, mut answer) = asks.begin(&limits).unwrap();
        asks.answered(&b, id, Some("mine".into()));
        assert_eq!(answer.try_recv(), Ok(Asked::Answered("mine".into())));
        let (id, mut answer) = asks.begin(&limits).unwrap();
        asks.answered(&a, id, None);
        asks.gone(&b);
        assert_eq!(answer.try_recv(), Ok(Asked::Nobody), "who has gone has nothing");
    }

    #[test]
    fn no_more_questions_are_open_than_may_be() {
        let (asks, limits) = (Asks::default(), MeshLimits::default());
        let open: Vec<_> = (0..MAX_OPEN).map(|_| asks.begin(&limits).unwrap()).collect();
        assert!(asks.begin(&limits).is_none());
        asks.end(open[0].0);
        assert!(asks.begin(&limits).is_some());
    }
}
