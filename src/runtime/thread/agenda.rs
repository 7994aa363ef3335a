//! The actors that the sweep has to look at, at every tick of the watchdog: those with something queued or in flight. All others cost it
//! nothing. How an actor gets on and off the list is in `sync::listed`. Easy to get wrong: a sweep may be held up by user code, and then
//! another watchdog goes on with the list, so a sweep takes a copy and nobody off before it has looked. The list keeps nobody alive: the
//! runtime's core has it, and every actor has the core.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
};

use crate::{host::hosted::Hosted, sync::primitives::lock};

/// By id, so that a sweep takes the same order every time.
#[derive(Default)]
pub(crate) struct Agenda(Mutex<BTreeMap<u64, Weak<dyn Hosted>>>);

impl Agenda {
    pub(crate) fn enter(&self, hosted: &Arc<dyn Hosted>) {
        lock(&self.0).insert(hosted.id(), Arc::downgrade(hosted));
    }

    /// Those on the list. One of them may be the last handle by the time it is dropped.
    pub(crate) fn listed(&self) -> Vec<Arc<dyn Hosted>> {
        let mut there = Vec::new();
        lock(&self.0).retain(|_, listed| {
            let hosted = listed.upgrade();
            let is_there = hosted.is_some();
            there.extend(hosted);
            is_there
        });
        there
    }

    /// After a look: takes the actor off unless there is more to look at.
    pub(crate) fn looked_at(&self, hosted: &dyn Hosted) {
        if hosted.busy() {
            return;
        }
        let mut listed = lock(&self.0);
        if hosted.leaves() {
            listed.remove(&hosted.id());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use actix::prelude::*;

    use crate::{ChildSpec, Runtime, sync::primitives::lock};

    /// Answers when it is told to go on, if ever.
    struct Slow;
    impl Actor for Slow {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Later(tokio::sync::oneshot::Receiver<()>);
    impl Handler<Later> for Slow {
        type Result = ResponseFuture<()>;
        fn handle(&mut self, Later(go): Later, _: &mut Context<Self>) -> Self::Result {
            Box::pin(async move {
                // An error says the same.
                let _ = go.await;
            })
        }
    }

    fn listed(rt: &Runtime) -> usize {
        lock(&rt.inner.core.agenda.0).len()
    }

    fn becomes(rt: &Runtime, n: usize) -> bool {
        let until = Instant::now() + Duration::from_secs(10);
        while listed(rt) != n && Instant::now() < until {
            std::thread::yield_now();
        }
        listed(rt) == n
    }

    #[tokio::test]
    async fn the_list_keeps_nothing_of_a_runtime_alive_that_ended_with_an_actor_on_it() {
        let rt = Runtime::builder().start().unwrap();
        let slow = rt.supervise(ChildSpec::new("slow", |_: &mut Context<Slow>| Slow)).await.unwrap();
        let (_never, wait) = tokio::sync::oneshot::channel();
        let asked = slow.clone();
        let asker = tokio::spawn(async move { asked.ask(Later(wait)).await });
        while listed(&rt) == 0 {
            tokio::task::yield_now().await;
        }
        let core = std::sync::Arc::downgrade(&rt.inner.core);
        rt.shutdown(Duration::from_millis(100)).await;
        asker.await.unwrap().unwrap_err();
        drop((slow, rt));
        let until = Instant::now() + Duration::from_secs(10);
        while core.strong_count() > 0 && Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(core.strong_count(), 0, "the core is gone with the last handle");
    }

    #[tokio::test]
    async fn an_actor_is_on_the_list_while_a_deadline_of_its_may_pass_and_no_longer() {
        let rt = Runtime::builder().start().unwrap();
        let slow = rt.supervise(ChildSpec::new("slow", |_: &mut Context<Slow>| Slow)).await.unwrap();
        assert!(becomes(&rt, 0));
        let (go, wait) = tokio::sync::oneshot::channel();
        let asked = slow.clone();
        let asker = tokio::spawn(async move { asked.ask(Later(wait)).await });
        while slow.mailbox_depth() > 0 || rt.health().actors[0].replies_in_flight == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(listed(&rt), 1, "its reply is under way and has a deadline");
        go.send(()).unwrap();
        asker.await.unwrap().unwrap();
        assert!(becomes(&rt, 0), "there is nothing left");
        // The work of a tell has no deadline: it is waited for by a drain, not by the sweep.
        let (_never, wait) = tokio::sync::oneshot::channel();
        slow.tell(Later(wait)).await.unwrap();
        assert!(becomes(&rt, 0));
    }
}
