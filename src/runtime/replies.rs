//! Replies that a future computes after its handler has returned: forwarded, waited for by a drain, and explained when they do not
//! come. What is answered at once is in `envelope`. Easy to get wrong: such a future outlives its actor's instance, so whoever moves or ends
//! the actor takes its item out of `in_flight`, and then its value counts no more; and a panic is this reply's only if it is what
//! dropped the reply's sender, as `Arrival` hears at that very moment.
use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Mutex, atomic::Ordering},
    task::{Context as TaskContext, Poll, Wake, Waker},
};

use actix::{Actor, Context};
use futures_util::task::AtomicWaker;
use tokio::{sync::oneshot, task::unconstrained};

use super::{
    core::lock,
    envelope::Failure,
    error::{AbortReason, PanicInfo},
    home,
    inbox::Item,
    panics::{self, Note},
    shared::Shared,
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

impl<A: Actor<Context = Context<A>>> Shared<A> {
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
        let id = self.next_reply.fetch_add(1, Ordering::Relaxed);
        lock(&self.in_flight).insert(id, Some(item.clone()));
        let (shared, instance) = (self.clone(), self.instance.load(Ordering::Relaxed));
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
            let item = lock(&shared.in_flight).remove(&id).flatten();
            if let Some(item) = item {
                let panic = lock(&arrival.panic).take();
                shared.settle(item, outcome, panic, instance);
            } // else failed meanwhile: past its deadline, or the actor moved or ended
            shared.waker.wake();
        });
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
        let actor = self.name.clone();
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
    pub(crate) fn late_replies(&self, now: u64) -> Vec<Item<A>> {
        let mut in_flight = lock(&self.in_flight);
        in_flight.values_mut().filter_map(|item| item.take_if(|item| item.times().expired(now))).collect()
    }

    pub(crate) fn replies_in_flight(&self) -> usize {
        lock(&self.in_flight).len()
    }
}
