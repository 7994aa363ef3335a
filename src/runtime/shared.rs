//! The part of an actor that outlives its instances: queue, state, counters, epoch. Handles and host share it; any
//! thread may call it. Running the actor is left to `host` and `pump`. Easy to get wrong: the epoch is read and raised under the
//! inbox lock, so that a fenced pump can never take a message that belongs to its successor; user values are dropped outside of it.
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use actix::{Actor, Context};
use futures_util::task::AtomicWaker;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    core::Core,
    envelope::{Envelope, Failure},
    error::{AbortReason, PanicInfo, StopReason},
    home::Home,
    host, panics,
    policy::Ledger,
    spec::{ChildSpec, Factory, Limits, Mailbox, Overflow, Policy},
    state::{ActorHealth, Event, State},
};

/// An envelope on its way.
pub(crate) type Item<A> = Arc<dyn Envelope<A>>;

/// How an actor is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Live,
    Drain,
    End,
}

/// Messages the pump takes out of the channel in one go; one release of permits for all.
const AHEAD: usize = 32;

/// Mailboxes smaller than this are taken from one by one; in larger ones what is taken ahead counts towards the bound.
const EXACT_BELOW: usize = 4 * AHEAD;

struct Inbox<A: Actor<Context = Context<A>>> {
    /// Taken ahead; at most `ahead`.
    front: VecDeque<Item<A>>,
    ahead: usize,
    /// Between the channel and `front`; empty outside of `take`.
    landing: Vec<Item<A>>,
    rx: mpsc::Receiver<Item<A>>,
    /// Nothing that waits was sent before this (coarse clock): spares the sweep a look.
    oldest: u64,
    /// What the pump is handling now.
    running: Option<Item<A>>,
}

impl<A: Actor<Context = Context<A>>> Inbox<A> {
    fn poll_take(&mut self, cx: &mut TaskContext<'_>) -> Poll<Option<Item<A>>> {
        if let Some(item) = self.front.pop_front() {
            return Poll::Ready(Some(item));
        }
        match self.rx.poll_recv_many(cx, &mut self.landing, self.ahead) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(_) => {
                self.front.extend(self.landing.drain(..));
                Poll::Ready(self.front.pop_front())
            }
        }
    }

    fn try_take(&mut self) -> Option<Item<A>> {
        self.front.pop_front().or_else(|| self.rx.try_recv().ok())
    }
}

/// What the pump finds.
pub(crate) enum Next<A: Actor<Context = Context<A>>> {
    Item(Item<A>),
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
    inbox: Mutex<Inbox<A>>,
    in_flight: Mutex<HashMap<u64, Item<A>>>,
    next_reply: AtomicU64,
    last_panic: Mutex<Option<PanicInfo>>,
    epoch: AtomicU64,
    ended: AtomicBool,
}

fn lock<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under these locks, so a poisoned one is still consistent.
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<A: Actor<Context = Context<A>>> Shared<A> {
    pub(crate) fn new(id: u64, core: Arc<Core>, spec: ChildSpec<A>) -> Self {
        let capacity = spec.mailbox.capacity;
        let (ahead, in_channel) = if capacity < EXACT_BELOW { (1, capacity) } else { (AHEAD, capacity - AHEAD) };
        let (tx, rx) = mpsc::channel(in_channel);
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
            inbox: Mutex::new(Inbox {
                front: VecDeque::with_capacity(ahead),
                ahead,
                landing: Vec::with_capacity(ahead),
                rx,
                oldest: 0,
                running: None,
            }),
            in_flight: Mutex::new(HashMap::new()),
            next_reply: AtomicU64::new(0),
            last_panic: Mutex::new(None),
            epoch: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// The pump's next message; what it handled before is done.
    pub(crate) fn next(&self, epoch: u64, cx: &mut TaskContext<'_>) -> Next<A> {
        let mut inbox = lock(&self.inbox);
        if self.epoch.load(Ordering::Relaxed) != epoch {
            return Next::Fenced;
        }
        let Poll::Ready(item) = inbox.poll_take(cx) else {
            let done = inbox.running.take();
            inbox.oldest = self.core.now();
            drop(inbox);
            drop(done);
            return Next::Empty;
        };
        if let Some(item) = &item {
            inbox.oldest = item.times().sent;
        }
        let done = std::mem::replace(&mut inbox.running, item.clone());
        drop(inbox);
        drop(done);
        item.map_or(Next::Closed, Next::Item)
    }

    /// The pump leaves without looking for more.
    pub(crate) fn pause(&self, epoch: u64) {
        let mut inbox = lock(&self.inbox);
        if self.epoch.load(Ordering::Relaxed) == epoch {
            let done = inbox.running.take();
            drop(inbox);
            drop(done);
        }
    }

    pub(crate) fn fenced(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::Acquire) != epoch
    }

    /// Fences the present instance and takes what it was handling.
    fn raise_epoch(&self) -> (u64, Option<Item<A>>) {
        let mut inbox = lock(&self.inbox);
        let epoch = self.epoch.load(Ordering::Relaxed) + 1;
        self.epoch.store(epoch, Ordering::Release);
        (epoch, inbox.running.take())
    }

    /// The message being handled, for the message type in a panic or a stall.
    pub(crate) fn take_running(&self) -> Option<Item<A>> {
        lock(&self.inbox).running.take()
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
    pub(crate) fn reply_later<R: 'static>(
        self: &Arc<Self>,
        item: Item<A>,
        rx: oneshot::Receiver<R>,
        reply: impl FnOnce(R) + 'static,
    ) {
        let id = self.next_reply.fetch_add(1, Ordering::Relaxed);
        lock(&self.in_flight).insert(id, item);
        let shared = self.clone();
        actix_rt::spawn(async move {
            let outcome = rx.await;
            let item = lock(&shared.in_flight).remove(&id);
            match outcome {
                Ok(value) => reply(value),
                Err(_) => {
                    if let Some(item) = &item {
                        item.fail(&shared.why_lost(item.message()));
                    }
                }
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

    fn throw_away(&self, why: &StopReason) {
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
        let (_, running) = self.raise_epoch();
        let replies: Vec<_> = lock(&self.in_flight).drain().collect();
        self.set_state(State::Stopped { why: why.clone() });
        for item in running.into_iter().chain(replies.into_iter().map(|(_, item)| item)) {
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

/// An actor of any type, as registry, watchdog and shutdown see it.
pub(crate) trait Hosted: Send + Sync {
    fn id(&self) -> u64;
    fn name(&self) -> &Arc<str>;
    fn health(&self) -> ActorHealth;
    fn stop_limit(&self) -> Duration;
    fn watch(&self) -> watch::Receiver<State>;
    /// The type of the message being handled.
    fn running(&self) -> Option<&'static str>;
    fn stalled(&self, since: Option<Duration>);
    /// Fails what is past its deadline.
    fn sweep(&self, now: u64);
    /// Takes no more messages, finishes those it has, stops.
    fn drain(&self);
    /// Ends now.
    fn end(&self, why: StopReason);
    /// Rebuilds it on `home`, with the same queue; the present instance is fenced.
    fn rehome(self: Arc<Self>, home: &Arc<Home>, ran_for: Duration);
}

impl<A: Actor<Context = Context<A>>> Hosted for Shared<A> {
    fn id(&self) -> u64 {
        self.id
    }

    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn health(&self) -> ActorHealth {
        ActorHealth {
            name: self.name.clone(),
            state: self.state.borrow().clone(),
            mailbox_depth: self.tx.max_capacity() - self.tx.capacity() + lock(&self.inbox).front.len(),
            restarts: self.restarts.load(Ordering::Relaxed),
        }
    }

    fn stop_limit(&self) -> Duration {
        self.limits.stop
    }

    fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    fn running(&self) -> Option<&'static str> {
        lock(&self.inbox).running.as_ref().map(|item| item.message())
    }

    fn stalled(&self, since: Option<Duration>) {
        match since {
            None => self.unstall(),
            Some(since) => {
                self.state.send_if_modified(|s| {
                    let may = matches!(s, State::Running | State::Stalled { .. } | State::Starting);
                    if may {
                        *s = State::Stalled { since };
                    }
                    may
                });
            }
        }
    }

    fn sweep(&self, now: u64) {
        if self.ended.load(Ordering::Acquire) {
            return self.throw_away(&self.stop_reason());
        }
        let running = lock(&self.inbox).running.clone();
        let in_flight: Vec<_> = lock(&self.in_flight).values().filter(|i| i.times().expired(now)).cloned().collect();
        for item in running.into_iter().chain(in_flight) {
            if item.times().expired(now) {
                item.fail(&Failure::Expired { ran_for: item.times().age(now) });
            }
        }
        loop {
            let mut inbox = lock(&self.inbox);
            if inbox.oldest.saturating_add(self.ask_limit) > now {
                return;
            }
            let Some(item) = inbox.try_take() else {
                inbox.oldest = now;
                return;
            };
            inbox.oldest = item.times().sent;
            if !item.times().expired(now) {
                inbox.front.push_front(item);
                return;
            }
            drop(inbox);
            if item.fail(&Failure::Expired { ran_for: Duration::ZERO }) {
                self.core.dead_letter(&self.name, item.message(), "expired");
            }
        }
    }

    fn drain(&self) {
        // The wish comes before the close: a pump that finds its queue closed asks for the wish.
        self.wish.send_if_modified(|w| *w == Wish::Live && std::mem::replace(w, Wish::Drain) == Wish::Live);
        self.state.send_if_modified(|s| {
            let may = !matches!(s, State::Stopped { .. });
            if may {
                *s = State::Stopping;
            }
            may
        });
        lock(&self.inbox).rx.close();
        self.waker.wake();
    }

    fn end(&self, why: StopReason) {
        self.wish.send_replace(Wish::End);
        self.finish(why);
    }

    fn rehome(self: Arc<Self>, home: &Arc<Home>, ran_for: Duration) {
        let (epoch, running) = self.raise_epoch();
        let replies: Vec<_> = lock(&self.in_flight).drain().collect();
        for item in running.into_iter().chain(replies.into_iter().map(|(_, item)| item)) {
            item.fail(&Failure::Aborted(AbortReason::Rehomed { ran_for }));
        }
        self.waker.wake();
        self.restarts.fetch_add(1, Ordering::Relaxed);
        if self.wish.borrow().eq(&Wish::Live) {
            self.set_state(State::Restarting { attempt: 1, retry_after: Duration::ZERO });
        }
        host::launch(self, epoch, home, None);
    }
}

/// Whether `Overflow` lets a sender wait.
pub(crate) fn may_wait(mailbox: Mailbox) -> bool {
    mailbox.overflow == Overflow::Wait
}
