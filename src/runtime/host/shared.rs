//! The part of an actor that outlives its instances: queue, state, counters, epoch. Handles and host share it; any
//! thread may call it. Running the actor is left to `host` and `pump`, where it stands to `lifecycle`, late replies to `replies`, what
//! type-blind callers do with it to `hosted`. Easy to get wrong: the epoch is read and raised under the
//! inbox lock, so that a fenced pump can never take a message that belongs to its successor; user values are dropped outside of it.
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicIsize, AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Waker},
    time::Duration,
};

use actix::{Actor, Context};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    handle::{
        error::{AbortReason, StartError, StopReason},
        event::Event,
        spec::{ChildSpec, Limits, Mailbox, Maker, Overflow, Policy},
        state::{Handled, State},
    },
    host::{
        hosted::Hosted,
        phase::{Life, Wish},
    },
    mailbox::{
        dead::DeadReason,
        envelope::{Failure, Item},
        inbox::{Deal, Doors, Hand, Inbox, Reclaimed},
        replies::Replies,
    },
    sync::{close::End, due::Due, handles::Handles, listed::Listed, primitives::lock},
    thread::core::Core,
    tree::{node::Node, policy::Ledger},
};

/// Whoever awaits the first start.
pub(crate) type FirstStart = oneshot::Sender<Result<(), StartError>>;

/// What the pump finds.
pub(crate) enum Next<A: Actor<Context = Context<A>>> {
    Hand(Arc<Hand<A>>),
    Urgent(Item<A>),
    Empty,
    Closed,
    Fenced,
}

/// An actor's permanent part.
pub(crate) struct Shared<A: Actor<Context = Context<A>>> {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) core: Arc<Core>,
    pub(crate) maker: Maker<A>,
    pub(crate) parent: Option<Arc<Node>>,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    /// `limits.ask` on the coarse clock.
    pub(crate) ask_limit: u64,
    pub(crate) mailbox: Mailbox,
    pub(crate) handles: Handles,
    pub(crate) max_in_flight: usize,
    /// Which of the runtime's threads hosts it.
    pub(crate) slot: usize,
    pub(crate) tx: mpsc::Sender<Item<A>>,
    pub(crate) control: mpsc::Sender<Item<A>>,
    pub(crate) control_waiting: Arc<AtomicIsize>,
    /// When the sweep has to look at what waits in the queue.
    pub(crate) due: Due,
    /// Whether the sweep knows of it.
    pub(crate) listed: Listed,
    pub(crate) state: watch::Sender<State>,
    /// `State::Stalled` came after `Starting`; written with `state` locked.
    pub(crate) stalled_in_start: AtomicBool,
    pub(crate) wish: watch::Sender<Wish>,
    /// The wish is `Hold`; spares the instance a lock per poll.
    pub(crate) held: AtomicBool,
    pub(crate) life: watch::Sender<Life>,
    /// Its first instance was launched: from then on a re-homing takes it along.
    pub(crate) launched: AtomicBool,
    /// Here and not with the instance, so that a successor on another thread answers for one that was stuck.
    pub(crate) first: Mutex<Option<FirstStart>>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) restarts: AtomicU64,
    pub(crate) inbox: Mutex<Inbox<A>>,
    pub(crate) replies: Arc<Replies<A>>,
    epoch: AtomicU64,
    pub(crate) end: End,
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn new(core: Arc<Core>, parent: Option<Arc<Node>>, spec: ChildSpec<A>, first: FirstStart) -> Self {
        let (Doors { tx, control, control_waiting }, inbox) = Inbox::new(spec.mailbox.capacity);
        let id = Core::next_id();
        let name = if spec.numbered { format!("{}#{id}", spec.name).into() } else { spec.name };
        let slot = core.slot(spec.placement);
        let ask_limit = core.coarse(spec.limits.ask);
        Self {
            id,
            replies: Arc::new(Replies::new(core.clone(), name.clone())),
            name,
            core,
            maker: spec.maker,
            parent,
            policy: spec.policy,
            limits: spec.limits,
            ask_limit,
            mailbox: spec.mailbox,
            handles: Handles::new(spec.stops_with_last_handle),
            max_in_flight: spec.max_in_flight,
            slot,
            tx,
            control,
            control_waiting,
            due: Due::new(),
            listed: Listed::new(),
            state: watch::Sender::new(State::Starting),
            stalled_in_start: AtomicBool::new(false),
            wish: watch::Sender::new(Wish::Live),
            held: AtomicBool::new(false),
            life: watch::Sender::new(Life::Starting),
            launched: AtomicBool::new(false),
            first: Mutex::new(Some(first)),
            ledger: Mutex::new(Ledger::default()),
            restarts: AtomicU64::new(0),
            inbox: Mutex::new(inbox),
            epoch: AtomicU64::new(0),
            end: End::new(),
        }
    }

    /// The pump's next hand; it has worked off and let go of its last one. `spare` is empty before and after.
    pub(crate) fn next(&self, epoch: u64, spare: &mut Vec<Item<A>>, cx: &mut TaskContext<'_>) -> Next<A> {
        let mut inbox = lock(&self.inbox);
        if self.fenced(epoch) {
            return Next::Fenced;
        }
        let deal = inbox.deal(spare, cx);
        drop(inbox);
        spare.clear();
        match deal {
            Deal::Hand(hand) => Next::Hand(hand),
            Deal::Urgent(item) => Next::Urgent(item),
            Deal::Empty => Next::Empty,
            Deal::Closed => Next::Closed,
        }
    }

    /// A control message for a pump that takes no other at present, to be followed by `end_urgent`; leaves `cx` to be woken for one.
    pub(crate) fn next_urgent(&self, epoch: u64, cx: &mut TaskContext<'_>) -> Option<Item<A>> {
        let mut inbox = lock(&self.inbox);
        if self.fenced(epoch) {
            return None;
        }
        match inbox.poll_control(cx) {
            Some(Deal::Urgent(item)) => Some(item),
            _ => None,
        }
    }

    /// A control message, if one waits; to be followed by `end_urgent`.
    pub(crate) fn take_urgent(&self, epoch: u64) -> Option<Item<A>> {
        if self.control_waiting.load(Ordering::Relaxed) <= 0 {
            return None;
        }
        let mut inbox = lock(&self.inbox);
        if self.fenced(epoch) { None } else { inbox.take_urgent() }
    }

    pub(crate) fn end_urgent(&self, epoch: u64) {
        let mut inbox = lock(&self.inbox);
        let done = if self.fenced(epoch) { None } else { inbox.urgent.take() };
        drop(inbox);
        drop(done);
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub(crate) fn fenced(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) != epoch
    }

    /// Whom to wake when there is something to do. False for a fenced instance, which must not take the place of its
    /// successor, or nobody would wake that; so the look and the entry are one step beside [`Self::raise_epoch`].
    pub(crate) fn register(&self, epoch: u64, waker: &Waker) -> bool {
        let _inbox = lock(&self.inbox);
        let mine = !self.fenced(epoch);
        if mine {
            self.replies.waker.register(waker);
        }
        mine
    }

    /// Fences the present instance; what was in its hand waits for the next one, except what it was handling.
    pub(crate) fn raise_epoch(&self) -> (u64, Reclaimed<A>) {
        let mut inbox = lock(&self.inbox);
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(epoch, Ordering::Release);
        (epoch, self.take_hand(&mut inbox))
    }

    /// The same after a panic of the instance of `epoch`; `None` if it was fenced meanwhile.
    pub(crate) fn reclaim(&self, epoch: u64) -> Option<Reclaimed<A>> {
        let mut inbox = lock(&self.inbox);
        if self.fenced(epoch) { None } else { Some(self.take_hand(&mut inbox)) }
    }

    fn take_hand(&self, inbox: &mut Inbox<A>) -> Reclaimed<A> {
        // What waited in the hand was looked at there; now it waits in the queue.
        self.due.note(0);
        inbox.reclaim()
    }

    /// What an instance that does not go on was handling or computing gets no reply.
    pub(crate) fn abort_under_way(&self, reclaimed: Reclaimed<A>, why: AbortReason) {
        let failure = Failure::Aborted(why);
        let replies = self.replies.take_all();
        let Reclaimed { running, hand } = reclaimed;
        // One that no handler has seen is given back to its asker; a tell has none.
        self.kill_all(running.into_iter().chain(replies), |_| failure.clone(), DeadReason::Stopped);
        self.core.guarded("(a hand)", || drop(hand));
    }

    /// Fails an envelope, and drops what may be a user's message with it; it is a dead letter if it still waited.
    pub(crate) fn kill(&self, item: Item<A>, failure: &Failure, reason: DeadReason) {
        self.kill_all([item], |_| failure.clone(), reason);
    }

    /// The same for several; every asker is told before a callback, which may block, hears of any.
    pub(crate) fn kill_all(
        &self,
        items: impl IntoIterator<Item = Item<A>>,
        failure: impl Fn(&Item<A>) -> Failure,
        reason: DeadReason,
    ) {
        let fail = |item: Item<A>| {
            let (message, failure) = (item.message(), failure(&item));
            let waited = self.core.guarded(message, || {
                let waited = item.fail(&failure);
                drop(item);
                waited
            });
            // A destructor that panicked was that of a message, which waited.
            waited.unwrap_or(true).then_some(message)
        };
        let dead: Vec<_> = items.into_iter().filter_map(fail).collect();
        for message in dead {
            self.core.dead_letter(&self.name, message, reason);
        }
    }

    /// Reports a sampled message.
    pub(crate) fn handled(&self, message: &'static str, queue_time: Duration, handle_time: Duration) {
        if let Some((every, on_handled)) = &self.core.plugs.on_handled {
            let handled = Handled { actor: self.name.clone(), message, queue_time, handle_time, weight: *every };
            self.core.guarded("on_handled", || on_handled(&handled));
        }
    }

    /// Makes room for a newer message.
    pub(crate) fn evict_oldest(&self) {
        let mut inbox = lock(&self.inbox);
        let oldest = inbox.take_normal();
        drop(inbox);
        if let Some(item) = oldest {
            self.kill(item, &Failure::Full, DeadReason::Overflow);
        }
    }

    /// Waiting messages of both lanes.
    pub(crate) fn depth(&self) -> usize {
        let (used, inbox) = (|tx: &mpsc::Sender<_>| tx.max_capacity() - tx.capacity(), lock(&self.inbox));
        used(&self.tx) + used(&self.control) + inbox.taken()
    }

    /// Called after each send that succeeded: one that raced with the end must not wait for ever.
    pub(crate) fn after_send(self: &Arc<Self>) {
        if self.listed.enter() {
            let hosted: Arc<dyn Hosted> = self.clone();
            self.core.agenda.enter(&hosted);
        }
        self.end.sent(|| self.throw_away(&self.stop_reason()));
    }

    pub(crate) fn throw_away(&self, why: &StopReason) {
        let failure = Failure::Stopped(why.clone());
        End::empty(&self.inbox, |item: Item<A>| self.kill(item, &failure, DeadReason::Stopped));
    }

    /// The end, decided in one place: nothing is accepted, whoever waits is told, the name is free. Called from any thread, so
    /// whatever of users' it drops or calls is guarded: it always comes to its own end.
    pub(crate) fn finish(&self, why: StopReason) {
        if !self.end.begin() {
            return;
        }
        self.core.forget(self.id);
        match &self.parent {
            Some(group) => group.remove(self.id),
            None => self.core.remove(self.id),
        }
        let (_, reclaimed) = self.raise_epoch();
        self.set_state(State::Stopped { why: why.clone() });
        self.abort_under_way(reclaimed, AbortReason::ActorStopped(why.clone()));
        self.throw_away(&why);
        self.life.send_replace(Life::Gone);
        self.replies.waker.wake();
        let first = lock(&self.first).take();
        if let Some(first) = first {
            let name = self.name.clone();
            // Nobody listens when it was the caller who went away.
            let _ = first.send(Err(match self.core.closing.load(Ordering::Acquire) {
                true => StartError::ShuttingDown(name),
                false => StartError::Stopped { name, why: why.clone() },
            }));
        }
        self.core.emit(&Event::Stopped { actor: self.name.clone(), why });
    }
}

/// Whether `Overflow` lets a sender wait.
pub(crate) fn may_wait(mailbox: Mailbox) -> bool {
    mailbox.overflow == Overflow::Wait
}
