//! Replies that a future computes after its handler has returned: forwarded, waited for by a drain, and explained when they do not
//! come. What is answered at once is in `envelope`. Easy to get wrong: such a future outlives its actor's instance, so whoever moves or ends
//! the actor takes its item out of `in_flight`, and then its value counts no more.
use std::sync::{Arc, atomic::Ordering};

use actix::{Actor, Context};
use tokio::sync::oneshot;

use super::{core::lock, envelope::Failure, error::AbortReason, inbox::Item, panics, shared::Shared};

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
    pub(crate) fn reply_later<R: 'static>(self: &Arc<Self>, item: &Item<A>, rx: oneshot::Receiver<R>) {
        let id = self.next_reply.fetch_add(1, Ordering::Relaxed);
        lock(&self.in_flight).insert(id, item.clone());
        let (shared, instance) = (self.clone(), self.instance.load(Ordering::Relaxed));
        actix_rt::spawn(async move {
            let outcome = rx.await;
            let item = lock(&shared.in_flight).remove(&id);
            match (item, outcome) {
                (Some(item), Ok(value)) => item.deliver(&mut Some(value)),
                (Some(item), Err(_)) => {
                    item.fail(&shared.why_lost(item.message(), instance));
                }
                (None, _) => {} // failed meanwhile: the actor moved or ended
            }
            shared.waker.wake();
        });
    }

    fn why_lost(&self, message: &'static str, instance: u64) -> Failure {
        if let Some(note) = panics::take_note() {
            // A panic nobody has taken: of the task that computed this reply.
            return Failure::Panicked(note.into_info(self.name.clone(), Some(message)));
        }
        let loss = lock(&self.last_loss).clone();
        Failure::Aborted(loss.filter(|(of, _)| *of == instance).map_or(AbortReason::ReplyDropped, |(_, why)| why))
    }

    pub(crate) fn replies_in_flight(&self) -> usize {
        lock(&self.in_flight).len()
    }
}
