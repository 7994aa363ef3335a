//! Questions to another replica: does it have this, and what does it say to that. And who lives, as far as it is known.
//!
//! What is asked is the doors' business and opaque here; what they give out says whose it is, so that one replica alone is
//! asked. Easy to get wrong: silence is no answer; that nobody has it is known only from its owner, or when all who live
//! could have been heard of by now and its owner is not among them.
use super::limits::MeshLimits;
use super::link::Mesh;
use super::wire::Message;
use crate::cluster::{Channel, ReplicaId};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// Questions that may be open at once; past it nobody is asked.
const MAX_OPEN: usize = 1_024;
/// Replicas that are remembered; past it new ones are not.
const MAX_KNOWN: usize = 256;
/// How long a silent one is remembered: it may be cut off, and live.
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

/// What a replica says to a question of another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// This.
    Answer(String),
    /// It is not this one's to answer.
    NotMine,
    /// It can't make sense of it, and says nothing: a newer replica's, perhaps.
    Nothing,
}

/// Answers a question of another replica. Must not wait.
pub type Answerer = Box<dyn Fn(&str) -> Said + Send + Sync>;

/// What came of a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// It has answered.
    Answered(String),
    /// It says that it has no such thing, or it does not live.
    Nobody,
    /// It could not be heard in time: it may have acted on the question.
    Unknown,
}

/// A question that waits for its answer.
struct Open {
    of: u64,
    told: oneshot::Sender<Asked>,
}

/// Who lives.
#[derive(Default)]
struct Known {
    /// Since when the others can be heard.
    since: Option<Instant>,
    heard: HashMap<ReplicaId, Instant>,
}

/// Questions of this replica, how it answers those of others, and who they are.
#[derive(Default)]
pub(super) struct Asks {
    answerer: OnceLock<Answerer>,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
    known: Mutex<Known>,
}

impl fmt::Debug for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asks").field("open", &lock(&self.open).len()).finish_non_exhaustive()
    }
}

impl Asks {
    /// The others can be heard from now on, or no more.
    pub(super) fn hears(&self, up: bool) {
        let mut known = lock(&self.known);
        known.since = up.then(|| known.since.unwrap_or_else(Instant::now));
    }

    /// It gave a sign of life. True when it was not known to live.
    pub(super) fn lives(&self, replica: &ReplicaId, limits: &MeshLimits) -> bool {
        let now = Instant::now();
        let heard = &mut lock(&self.known).heard;
        heard.retain(|_, heard| now.duration_since(*heard) < REMEMBERED);
        if heard.len() >= MAX_KNOWN && !heard.contains_key(replica) {
            return false;
        }
        let before = heard.insert(replica.clone(), now);
        before.is_none_or(|heard| now.duration_since(heard) >= limits.suspect_after)
    }

    /// It has gone, and what it had with it.
    pub(super) fn gone(&self, replica: &ReplicaId) {
        lock(&self.known).heard.remove(replica);
        let of = replica.mark();
        let theirs: Vec<Open> = lock(&self.open).extract_if(|_, open| open.of == of).map(|(_, open)| open).collect();
        for open in theirs {
            // Who asked may have stopped waiting just now.
            open.told.send(Asked::Nobody).ok();
        }
    }

    /// Whether all who live have been heard of: the others could be heard for long enough.
    pub(super) fn knows_all(&self, limits: &MeshLimits) -> bool {
        lock(&self.known).since.is_some_and(|since| since.elapsed() >= limits.suspect_after)
    }

    /// The replicas heard of within this time.
    pub(super) fn heard_within(&self, within: Duration) -> Vec<ReplicaId> {
        let known = lock(&self.known);
        let heard = known.heard.iter().filter(|(_, heard)| heard.elapsed() < within);
        heard.map(|(replica, _)| replica.clone()).collect()
    }

    /// What this replica says to a question.
    pub(super) fn answer(&self, question: &str) -> Said {
        // Who has no doors yet has given nothing out.
        self.answerer.get().map_or(Said::NotMine, |answerer| answerer(question))
    }

    /// Another replica has answered.
    pub(super) fn answered(&self, from: &ReplicaId, id: u64, answer: Option<String>) {
        let mut open = lock(&self.open);
        if open.get(&id).is_some_and(|open| open.of == from.mark())
            && let Some(one) = open.remove(&id)
        {
            one.told.send(answer.map_or(Asked::Nobody, Asked::Answered)).ok();
        }
    }

    /// A question of the replica with this mark: its number and where its answer comes, or what is known without asking.
    fn begin(&self, of: u64, limits: &MeshLimits) -> Result<(u64, oneshot::Receiver<Asked>), Asked> {
        let lives = self.heard_within(limits.suspect_after).iter().any(|replica| replica.mark() == of);
        if !lives && self.knows_all(limits) {
            return Err(Asked::Nobody);
        }
        let (told, answer) = oneshot::channel();
        let mut open = lock(&self.open);
        if open.len() >= MAX_OPEN {
            return Err(Asked::Unknown);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        open.insert(id, Open { of, told });
        Ok((id, answer))
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

    /// Ask the replica with this mark, and wait at most `answer_within`.
    pub async fn ask_one(&self, of: u64, question: String) -> Asked {
        if self.is_alone() || of == self.relay.replica().mark() {
            return Asked::Nobody;
        }
        if !self.state().is_up() {
            return Asked::Unknown;
        }
        let (id, answer) = match self.asks.begin(of, &self.limits) {
            Ok(open) => open,
            Err(asked) => return asked,
        };
        self.tell(Channel::One(of), &Message::Ask { id, question }, &[]);
        let answer = tokio::time::timeout(self.limits.answer_within, answer).await;
        self.asks.end(id);
        match answer {
            Ok(Ok(asked)) => asked,
            Ok(Err(_)) | Err(_) => Asked::Unknown,
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is complete when it could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> MeshLimits {
        MeshLimits { suspect_after: Duration::from_secs(3_600), ..MeshLimits::default() }
    }

    #[test]
    fn its_owner_alone_answers_a_question() {
        let (asks, limits) = (Asks::default(), limits());
        let (a, b) = (ReplicaId::new("a"), ReplicaId::new("b"));
        assert!(asks.lives(&a, &limits) && asks.lives(&b, &limits) && !asks.lives(&a, &limits));
        let (id, mut answer) = asks.begin(b.mark(), &limits).unwrap();
        asks.answered(&a, id, None);
        assert!(answer.try_recv().is_err(), "a was not asked");
        asks.answered(&b, id, None);
        assert_eq!(answer.try_recv(), Ok(Asked::Nobody));
        let (id, mut answer) = asks.begin(b.mark(), &limits).unwrap();
        asks.answered(&b, id, Some("mine".into()));
        assert_eq!(answer.try_recv(), Ok(Asked::Answered("mine".into())));
        let (_, mut answer) = asks.begin(b.mark(), &limits).unwrap();
        asks.gone(&b);
        assert_eq!(answer.try_recv(), Ok(Asked::Nobody), "who has gone has nothing");
    }

    #[test]
    fn that_an_owner_does_not_live_is_known_only_after_all_who_live_could_be_heard_of() {
        let (asks, slow) = (Asks::default(), limits());
        let quick = MeshLimits { suspect_after: Duration::ZERO, ..limits() };
        let nobody = ReplicaId::new("gone").mark();
        assert!(asks.begin(nobody, &quick).is_ok(), "nobody can be heard");
        asks.hears(true);
        assert!(asks.begin(nobody, &slow).is_ok(), "it may be there, and not have given a sign of life yet");
        assert_eq!(asks.begin(nobody, &quick).err(), Some(Asked::Nobody));
        asks.hears(false);
        assert!(asks.begin(nobody, &quick).is_ok(), "what is true now is not known");
    }

    #[test]
    fn no_more_questions_are_open_than_may_be() {
        let (asks, limits) = (Asks::default(), limits());
        let open: Vec<_> = (0..MAX_OPEN).map(|_| asks.begin(1, &limits).unwrap()).collect();
        assert_eq!(asks.begin(1, &limits).err(), Some(Asked::Unknown));
        asks.end(open[0].0);
        assert!(asks.begin(1, &limits).is_ok());
    }
}
