//! Replies that a future computes after its handler has returned: forwarded, waited for by a drain, and explained when they do not
//! come. What is answered at once is in `envelope`. Easy to get wrong: such a future outlives its actor's instance, so whoever moves or ends
//! the actor takes its item out of `in_flight`, and then its value counts no more; and a panic is this reply's only if it is what
//! dropped the reply's sender, as `Arrival` hears at that very moment.
use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context as TaskContext, Poll, Wake, Waker},
};

use actix::{Actor, Context};
use futures_util::task::AtomicWaker;
use tokio::{sync::oneshot, task::unconstrained};

use crate::{
    handle::error::{AbortReason, PanicInfo},
    mailbox::envelope::{Failure, Item},
    sync::primitives::lock,
    thread::{
        core::Core,
        home,
        panics::{self, Note},
    },
};

/// Hears of a reply, or of its loss.
#[derive(Default)]
struct Arrival {
    task: AtomicWaker,
    /// It was lost by the panic of the task that computed it; without a note if that was resumed.
    panic: Mutex<Option<Option<Note>>>,
}

impl Wake for Arrival {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // In an actor's turn the panic is the actor's, and explained as such.
        if std::thread::panicking() && home::current_actor() == 0 {
            *lock(&self.panic) = Some(panics::unwinding());
        }
        self.task.wake();
    }
}

type Outcome<R> = Result<R, oneshot::error::RecvError>;

/// Not subject to tokio's budget of a task: one that was used up would leave `waker` unregistered.
fn poll<R>(rx: &mut oneshot::Receiver<R>, waker: &Waker) -> Poll<Outcome<R>> {
    pin!(unconstrained(rx)).poll(&mut TaskContext::from_waker(waker))
}

struct InFlight<A: Actor<Context = Context<A>>> {
    /// A drain waits for each; one past its deadline has no item left to answer.
    items: HashMap<u64, Option<Item<A>>>,
    /// No deadline of theirs is earlier; `u64::MAX` if none has any.
    due: u64,
}

/// An actor's replies that are still being computed.
pub(crate) struct Replies<A: Actor<Context = Context<A>>> {
    core: Arc<Core>,
    actor: Arc<str>,
    in_flight: Mutex<InFlight<A>>,
    next: AtomicU64,
    /// Counts instances, so that a lost reply is explained by the end of its own.
    instance: AtomicU64,
    last_loss: Mutex<Option<(u64, AbortReason)>>,
    /// Woken when the host has to look: stop, fence, last reply in flight.
    pub(crate) waker: AtomicWaker,
}

impl<A: Actor<Context = Context<A>>> Replies<A> {
    pub(crate) fn new(core: Arc<Core>, actor: Arc<str>) -> Self {
        Self {
            core,
            actor,
            in_flight: Mutex::new(InFlight { items: HashMap::new(), due: u64::MAX }),
            next: AtomicU64::new(0),
            instance: AtomicU64::new(0),
            last_loss: Mutex::new(None),
            waker: AtomicWaker::new(),
        }
    }

    /// A new instance begins.
    pub(crate) fn begin(&self) {
        self.instance.fetch_add(1, Ordering::Relaxed);
    }

    /// The present instance ended, and this is what becomes of replies it was computing.
    pub(crate) fn note_loss(&self, why: AbortReason) {
        *lock(&self.last_loss) = Some((self.instance.load(Ordering::Relaxed), why));
    }

    /// A reply is computed by a future: forwards it, says why if it does not come, and lets a drain wait for it.
    pub(crate) fn reply_later<R: 'static>(self: &Arc<Self>, item: &Item<A>, mut rx: oneshot::Receiver<R>) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        {
            let mut in_flight = lock(&self.in_flight);
            in_flight.due = in_flight.due.min(item.times().deadline);
            in_flight.items.insert(id, Some(item.clone()));
        }
        if home::on_retired_thread() {
            // The thread ends before a forwarder on it would come to its end, and a place in flight would never be given back. After the
            // insert: `take_all` of a move that comes only now sees the reply.
            if let Some(item) = self.remove(id) {
                item.fail(&Failure::Aborted(AbortReason::ReplyDropped));
            }
            return;
        }
        let (replies, instance) = (self.clone(), self.instance.load(Ordering::Relaxed));
        let arrival = Arc::new(Arrival::default());
        let waker = Waker::from(arrival.clone());
        // Before its future runs: that may panic at once.
        let early = poll(&mut rx, &waker);
        actix_rt::spawn(async move {
            let outcome = match early {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    poll_fn(|cx| {
                        arrival.task.register(cx.waker());
                        poll(&mut rx, &waker)
                    })
                    .await
                }
            };
            let item = replies.remove(id);
            if let Some(item) = item {
                let panic = lock(&arrival.panic).take();
                replies.settle(item, outcome, panic, instance);
            } // else failed meanwhile: past its deadline, or the actor moved or ended
            replies.waker.wake();
        });
    }

    /// The item of a reply that is there, unless it was failed meanwhile.
    fn remove(&self, id: u64) -> Option<Item<A>> {
        let mut in_flight = lock(&self.in_flight);
        let item = in_flight.items.remove(&id).flatten();
        if in_flight.items.is_empty() {
            in_flight.due = u64::MAX;
        }
        item
    }

    /// Answers with what came, or why it did not. The value is a user's, and so is the asker's waker.
    fn settle<R: 'static>(&self, item: Item<A>, outcome: Outcome<R>, panic: Option<Option<Note>>, instance: u64) {
        let message = item.message();
        self.core.guarded(message, || {
            match outcome {
                Ok(value) => item.deliver(&mut Some(value)),
                Err(_) => {
                    item.fail(&self.why_lost(message, panic, instance));
                }
            }
            drop(item);
        });
    }

    fn why_lost(&self, message: &'static str, panic: Option<Option<Note>>, instance: u64) -> Failure {
        let actor = self.actor.clone();
        match panic {
            Some(Some(note)) => return Failure::Panicked(note.into_info(actor, Some(message))),
            Some(None) => {
                let text = "(a panic that was resumed)".to_owned();
                return Failure::Panicked(PanicInfo { actor, message: Some(message), text, location: None });
            }
            None => {}
        }
        let loss = lock(&self.last_loss).clone();
        Failure::Aborted(loss.filter(|(of, _)| *of == instance).map_or(AbortReason::ReplyDropped, |(_, why)| why))
    }

    /// Replies in flight that are past their deadline, each once. The work is still waited for by a drain.
    pub(crate) fn take_late(&self, now: u64) -> Vec<Item<A>> {
        let mut in_flight = lock(&self.in_flight);
        if in_flight.due > now {
            return Vec::new(); // most ticks: no look at each
        }
        let (mut late, mut due) = (Vec::new(), u64::MAX);
        for item in in_flight.items.values_mut() {
            match item.as_ref().map(|item| item.times().deadline) {
                Some(deadline) if deadline > now => due = due.min(deadline),
                Some(_) => late.extend(item.take()),
                None => {}
            }
        }
        in_flight.due = due;
        late
    }

    /// Whether one may have a deadline to come.
    pub(crate) fn have_deadline(&self) -> bool {
        lock(&self.in_flight).due != u64::MAX
    }

    /// All of them, for an instance that does not go on.
    pub(crate) fn take_all(&self) -> Vec<Item<A>> {
        let mut in_flight = lock(&self.in_flight);
        in_flight.due = u64::MAX;
        in_flight.items.drain().filter_map(|(_, item)| item).collect()
    }

    pub(crate) fn in_flight(&self) -> usize {
        lock(&self.in_flight).items.len()
    }
}
