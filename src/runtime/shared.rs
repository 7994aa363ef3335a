//! The part of an actor that outlives its instances: queue, state, counters, epoch. Handles and host share it; any
//! thread may call it. Running the actor is left to `host` and `pump`, what type-blind callers do with it to `hosted`. Easy to get wrong: the epoch is read and raised under the
//! inbox lock, so that a fenced pump can never take a message that belongs to its successor; user values are dropped outside of it.
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Context as TaskContext,
    time::Duration,
};

use actix::{Actor, Context};
use futures_util::task::AtomicWaker;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    core::{Core, lock},
    envelope::Failure,
    error::{AbortReason, PanicInfo, StopReason},
    inbox::{Deal, Hand, Inbox, Item, Reclaimed},
    panics,
    policy::Ledger,
    spec::{ChildSpec, Factory, Limits, Mailbox, Overflow, Policy},
    state::{Event, Handled, State},
};

/// How an actor is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Live,
    Drain,
    End,
}

/// What the pump finds.
pub(crate) enum Next<A: Actor<Context = Context<A>>> {
    Hand(Arc<Hand<A>>),
    Empty,
    Closed,
    Fenced,
}

/// An actor's permanent part.
pub(crate) struct Shared<A: Actor<Context = Context<A>>> {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) core: Arc<Core>,
    pub(crate) factory: Factory<A>,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
    /// `limits.ask` on the coarse clock.
    pub(crate) ask_limit: u64,
    pub(crate) mailbox: Mailbox,
    pub(crate) tx: mpsc::Sender<Item<A>>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) wish: watch::Sender<Wish>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) restarts: AtomicU64,
    /// Woken when the host has to look: stop, fence, last reply in flight.
    pub(crate) waker: AtomicWaker,
    pub(crate) inbox: Mutex<Inbox<A>>,
    pub(crate) in_flight: Mutex<HashMap<u64, Item<A>>>,
    next_reply: AtomicU64,
    last_panic: Mutex<Option<PanicInfo>>,
    epoch: AtomicU64,
    pub(crate) ended: AtomicBool,
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn new(id: u64, core: Arc<Core>, spec: ChildSpec<A>) -> Self {
        let (tx, inbox) = Inbox::new(spec.mailbox.capacity);
        let ask_limit = core.coarse(spec.limits.ask);
        Self {
            id,
            name: spec.name,
            core,
            factory: spec.factory,
            policy: spec.policy,
            limits: spec.limits,
            ask_limit,
            mailbox: spec.mailbox,
            tx,
            state: watch::Sender::new(State::Starting),
            wish: watch::Sender::new(Wish::Live),
            ledger: Mutex::new(Ledger::default()),
            restarts: AtomicU64::new(0),
            waker: AtomicWaker::new(),
            inbox: Mutex::new(inbox),
            in_flight: Mutex::new(HashMap::new()),
            next_reply: AtomicU64::new(0),
            last_panic: Mutex::new(None),
            epoch: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// The pump's next hand; it has worked off and let go of its last one. `spare` is empty before and after.
    pub(crate) fn next(&self, epoch: u64, spare: &mut Vec<Item<A>>, cx: &mut TaskContext<'_>) -> Next<A> {
        let mut inbox = lock(&self.inbox);
        if self.fenced(epoch) {
            return Next::Fenced;
        }
        let deal = inbox.deal(spare, self.core.now(), cx);
        drop(inbox);
        spare.clear();
        match deal {
            Deal::Hand(hand) => Next::Hand(hand),
            Deal::Empty => Next::Empty,
            Deal::Closed => Next::Closed,
        }
    }

    pub(crate) fn fenced(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) != epoch
    }

    /// Fences the present instance; what was in its hand waits for the next one, except what it was handling.
    pub(crate) fn raise_epoch(&self) -> (u64, Reclaimed<A>) {
        let mut inbox = lock(&self.inbox);
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(epoch, Ordering::Release);
        (epoch, inbox.reclaim())
    }

    /// The same after a panic of the instance of `epoch`; `None` if it was fenced meanwhile.
    pub(crate) fn reclaim(&self, epoch: u64) -> Option<Reclaimed<A>> {
        let mut inbox = lock(&self.inbox);
        if self.fenced(epoch) { None } else { Some(inbox.reclaim()) }
    }

    pub(crate) fn note_panic(&self, info: PanicInfo) {
        *lock(&self.last_panic) = Some(info);
    }

    pub(crate) fn set_state(&self, state: State) {
        self.state.send_replace(state);
    }

    pub(crate) fn set_running(&self, restarts: u64) {
        let changed = self.state.send_if_modified(|s| match s {
            State::Starting | State::Restarting { .. } | State::Stalled { .. } => {
                *s = State::Running;
                true
            }
            _ => false,
        });
        if changed {
            self.core.emit(&Event::Started { actor: self.name.clone(), restarts });
        }
    }

    /// A reply is computed by a future: forwards it, says why if it does not come, and lets a drain wait for it.
    pub(crate) fn reply_later<R: 'static>(self: &Arc<Self>, item: &Item<A>, rx: oneshot::Receiver<R>) {
        let id = self.next_reply.fetch_add(1, Ordering::Relaxed);
        lock(&self.in_flight).insert(id, item.clone());
        let shared = self.clone();
        actix_rt::spawn(async move {
            let outcome = rx.await;
            let item = lock(&shared.in_flight).remove(&id);
            match (item, outcome) {
                (Some(item), Ok(value)) => item.deliver(&mut Some(value)),
                (Some(item), Err(_)) => {
                    item.fail(&shared.why_lost(item.message()));
                }
                (None, _) => {} // failed meanwhile: the actor moved or ended
            }
            shared.waker.wake();
        });
    }

    fn why_lost(&self, message: &'static str) -> Failure {
        if let Some(note) = panics::take_note() {
            // A panic nobody has taken: of the task that computed this reply.
            return Failure::Panicked(note.into_info(self.name.clone(), Some(message)));
        }
        let panicked = lock(&self.last_panic).clone();
        Failure::Aborted(panicked.map_or(AbortReason::ReplyDropped, AbortReason::ActorPanicked))
    }

    pub(crate) fn replies_in_flight(&self) -> usize {
        lock(&self.in_flight).len()
    }

    /// Fails an envelope that is past its deadline; whether it is.
    pub(crate) fn expire(&self, item: &Item<A>, now: u64) -> bool {
        let times = item.times();
        if !times.expired(now) {
            return false;
        }
        if item.fail(&Failure::Expired { ran_for: times.age(now) }) {
            self.core.dead_letter(&self.name, item.message(), "expired");
        }
        true
    }

    /// Reports a sampled message.
    pub(crate) fn handled(&self, message: &'static str, queue_time: Duration, handle_time: Duration) {
        if let Some((every, on_handled)) = &self.core.plugs.on_handled {
            on_handled(&Handled { actor: self.name.clone(), message, queue_time, handle_time, weight: *every });
        }
    }

    /// Makes room for a newer message.
    pub(crate) fn evict_oldest(&self) {
        let mut inbox = lock(&self.inbox);
        let oldest = inbox.try_take();
        drop(inbox);
        if let Some(item) = oldest
            && item.fail(&Failure::Full)
        {
            self.core.dead_letter(&self.name, item.message(), "overflow");
        }
    }

    /// Called after each send that succeeded: one that raced with the end must not wait for ever.
    pub(crate) fn after_send(&self) {
        if self.ended.load(Ordering::Acquire) {
            self.throw_away(&self.stop_reason());
        }
    }

    pub(crate) fn stop_reason(&self) -> StopReason {
        match &*self.state.borrow() {
            State::Stopped { why } => why.clone(),
            _ => StopReason::Requested,
        }
    }

    pub(crate) fn throw_away(&self, why: &StopReason) {
        loop {
            let mut inbox = lock(&self.inbox);
            inbox.rx.close();
            let item = inbox.try_take();
            drop(inbox);
            let Some(item) = item else { return };
            if item.fail(&Failure::Stopped(why.clone())) {
                self.core.dead_letter(&self.name, item.message(), "stopped");
            }
        }
    }

    /// The end, decided in one place: nothing is accepted, whoever waits is told, the name is free.
    pub(crate) fn finish(&self, why: StopReason) {
        if self.ended.swap(true, Ordering::AcqRel) {
            return;
        }
        self.core.forget(self.id);
        let (_, reclaimed) = self.raise_epoch();
        let replies: Vec<_> = lock(&self.in_flight).drain().collect();
        self.set_state(State::Stopped { why: why.clone() });
        for item in reclaimed.running.into_iter().chain(replies.into_iter().map(|(_, item)| item)) {
            item.fail(&Failure::Aborted(AbortReason::ActorStopped(why.clone())));
        }
        self.throw_away(&why);
        self.waker.wake();
        self.core.emit(&Event::Stopped { actor: self.name.clone(), why });
    }

    /// `State::Stalled` is only left behind when the handler returns.
    pub(crate) fn unstall(&self) {
        self.state.send_if_modified(|s| {
            let was = matches!(s, State::Stalled { .. });
            if was {
                *s = State::Running;
            }
            was
        });
    }
}

/// Whether `Overflow` lets a sender wait.
pub(crate) fn may_wait(mailbox: Mailbox) -> bool {
    mailbox.overflow == Overflow::Wait
}
