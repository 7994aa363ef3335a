//! The relay inside one process: a bus that replicas join. A single process has a bus of its own, with nobody else on it.
//!
//! Tests put several replicas on one bus and make it lose, double and reorder what it carries ([`LocalBus::interfere`]),
//! or say that it is away ([`LocalBus::set_link`]). Easy to get wrong: a message is offered to each receiver without
//! waiting, under the bus's lock, so that all see one order; a receiver that is full loses it and is told so.
use super::relay::{Channel, Incoming, Link, MAX_WAITING, ReplicaId};
use bytes::Bytes;
use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{mpsc, watch};

/// What becomes of one message on its way to one replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It arrives.
    Deliver,
    /// It is lost, and nobody is told.
    Lose,
    /// It arrives twice.
    Double,
    /// It arrives after the next one that does.
    Delay,
}

type Interference = Box<dyn FnMut(&Incoming, &ReplicaId) -> Fate + Send>;

/// The bus. Clones are the same one.
#[derive(Clone, Default)]
pub struct LocalBus(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// How many are on it, for those who need not take the lock when they are alone.
    many: AtomicUsize,
    bus: Mutex<Bus>,
}

#[derive(Default)]
struct Bus {
    members: Vec<Member>,
    interference: Option<Interference>,
}

struct Member {
    replica: ReplicaId,
    follows: HashSet<Channel>,
    sender: mpsc::Sender<Incoming>,
    delayed: Vec<Incoming>,
    link: watch::Sender<Link>,
    gaps: watch::Sender<u64>,
}

impl fmt::Debug for LocalBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalBus({})", self.0.many.load(Ordering::Relaxed))
    }
}

impl LocalBus {
    /// A bus with nobody on it.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on `fate` decides about each message for each receiver; for tests.
    pub fn interfere(&self, fate: impl FnMut(&Incoming, &ReplicaId) -> Fate + Send + 'static) {
        self.lock().interference = Some(Box::new(fate));
    }

    /// Messages get through again, those that were delayed first; for tests.
    pub fn leave_alone(&self) {
        let mut bus = self.lock();
        bus.interference = None;
        bus.members.iter_mut().for_each(Member::deliver_delayed);
    }

    /// `replica` hears that its link is now like this. While it is down nothing reaches it and nothing comes from it; a
    /// change raises its gaps. For tests.
    pub fn set_link(&self, replica: &ReplicaId, link: Link) {
        for member in self.lock().members.iter_mut().filter(|member| member.replica == *replica) {
            member.link.send_replace(link.clone());
            member.gap();
        }
    }

    pub(super) fn join(&self, replica: ReplicaId) -> Endpoint {
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let (link, gaps) = (watch::Sender::new(Link::Local), watch::Sender::new(0));
        let endpoint = Endpoint {
            bus: self.clone(),
            replica: replica.clone(),
            incoming: Mutex::new(Some(receiver)),
            link: link.subscribe(),
            gaps: gaps.subscribe(),
        };
        let mut bus = self.lock();
        bus.members.push(Member { replica, follows: HashSet::new(), sender, delayed: Vec::new(), link, gaps });
        self.0.many.store(bus.members.len(), Ordering::Release);
        endpoint
    }

    fn lock(&self) -> MutexGuard<'_, Bus> {
        // Every change is complete when it could panic, and an interference that panics fails its test.
        self.0.bus.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn gap(&self) {
        self.gaps.send_modify(|gaps| *gaps += 1);
    }

    fn deliver(&mut self, message: Incoming) {
        match self.sender.try_send(message) {
            Ok(()) => {}
            // It has stopped listening, and will not ask why.
            Err(mpsc::error::TrySendError::Closed(_)) => return,
            Err(mpsc::error::TrySendError::Full(_)) => {
                metrics::counter!("tieout_relay_dropped_total", "reason" => "receiver_full").increment(1);
                self.gap();
            }
        }
        self.deliver_delayed();
    }

    fn deliver_delayed(&mut self) {
        for message in std::mem::take(&mut self.delayed) {
            self.deliver(message);
        }
    }
}

/// One replica on the bus. Dropped, it has left.
#[derive(Debug)]
pub(super) struct Endpoint {
    bus: LocalBus,
    replica: ReplicaId,
    incoming: Mutex<Option<mpsc::Receiver<Incoming>>>,
    link: watch::Receiver<Link>,
    gaps: watch::Receiver<u64>,
}

impl Endpoint {
    pub(super) fn replica(&self) -> ReplicaId {
        self.replica.clone()
    }

    pub(super) fn is_alone(&self) -> bool {
        self.bus.0.many.load(Ordering::Acquire) <= 1
    }

    pub(super) fn publish(&self, channel: Channel, payload: &Bytes) {
        if self.is_alone() {
            return;
        }
        let Bus { members, interference } = &mut *self.bus.lock();
        let cut_off = |member: &Member| !member.link.borrow().is_up();
        if !members.iter().any(|member| member.replica == self.replica && !cut_off(member)) {
            return;
        }
        for member in members {
            let listens = match channel {
                Channel::All => true,
                Channel::One(mark) => member.replica.mark() == mark,
                Channel::Room(_) => member.follows.contains(&channel),
            };
            if !listens || member.replica == self.replica || cut_off(member) {
                continue;
            }
            let message = Incoming { channel, from: self.replica.clone(), payload: payload.clone() };
            match interference.as_mut().map_or(Fate::Deliver, |fate| fate(&message, &member.replica)) {
                Fate::Deliver => member.deliver(message),
                Fate::Lose => {}
                Fate::Double => {
                    member.deliver(message.clone());
                    member.deliver(message);
                }
                Fate::Delay => member.delayed.push(message),
            }
        }
    }

    pub(super) fn follow(&self, channel: Channel) {
        self.with_member(|member| member.follows.insert(channel));
    }

    pub(super) fn unfollow(&self, channel: Channel) {
        self.with_member(|member| member.follows.remove(&channel));
    }

    pub(super) fn incoming(&self) -> Option<mpsc::Receiver<Incoming>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    pub(super) fn gaps(&self) -> watch::Receiver<u64> {
        self.gaps.clone()
    }

    pub(super) fn leave(&self) {
        let mut bus = self.bus.lock();
        bus.members.retain(|member| member.replica != self.replica);
        self.bus.0.many.store(bus.members.len(), Ordering::Release);
    }

    fn with_member(&self, change: impl FnOnce(&mut Member) -> bool) {
        if let Some(member) = self.bus.lock().members.iter_mut().find(|member| member.replica == self.replica) {
            change(member);
        }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.leave();
    }
}
