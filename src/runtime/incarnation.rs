//! One instance of an actor, from factory to end: built and polled under `catch_unwind`. What its end means is left to
//! `host`. Easy to get wrong: a panicked context must be terminated before it is dropped, or actix calls `stopping()` on the broken
//! state, and a second panic ends the process.
use std::{
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, ActorContext, AsyncContext, Context, dev::ContextFut};
use tokio::sync::oneshot;

use super::{
    envelope::Failure,
    error::{PanicInfo, StartError},
    home::Home,
    host::FirstStart,
    panics,
    pump::Pump,
    shared::Shared,
    state::Event,
};

/// How an instance ended.
pub(crate) enum End {
    Fenced,
    Stopped,
    Panicked(PanicInfo),
    FailedFirstStart(oneshot::Sender<Result<(), StartError>>, StartError),
}

/// A running instance.
pub(crate) struct Live<A: Actor<Context = Context<A>>> {
    fut: ContextFut<A, Context<A>>,
    /// A context without any address stops by itself.
    _keep: actix::Addr<A>,
}

/// One instance of the actor, from factory to end.
pub(crate) struct Incarnation<A: Actor<Context = Context<A>>> {
    pub(crate) shared: Arc<Shared<A>>,
    pub(crate) home: Arc<Home>,
    pub(crate) epoch: u64,
    pub(crate) ready: Rc<Cell<bool>>,
    pub(crate) first: FirstStart,
    pub(crate) live: Option<Live<A>>,
}

impl<A: Actor<Context = Context<A>>> Unpin for Incarnation<A> {}

impl<A: Actor<Context = Context<A>>> Incarnation<A> {
    fn poll_live(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let live = self.live.get_or_insert_with(|| {
            let mut ctx = Context::new();
            let actor = (self.shared.factory)(&mut ctx);
            ctx.spawn(Pump::new(self.shared.clone(), self.home.clone(), self.epoch, self.ready.clone()));
            let keep = ctx.address();
            Live { fut: ctx.into_future(actor), _keep: keep }
        });
        Pin::new(&mut live.fut).poll(cx)
    }

    /// Drops the instance without any of its hooks; a panicking destructor is caught.
    fn dispose(&mut self) {
        if let Some(mut live) = self.live.take() {
            live.fut.ctx().terminate();
            if catch_unwind(AssertUnwindSafe(|| drop(live))).is_err() {
                let note = panics::take_note().map(|n| n.into_info(self.shared.name.clone(), None));
                log::error!(
                    "a destructor panicked while an actor was dropped actor={} panic={note:?}",
                    self.shared.name
                );
            }
        }
    }

    fn panicked(&mut self, payload: &(dyn std::any::Any + Send)) -> End {
        let Some(reclaimed) = self.shared.reclaim(self.epoch) else {
            panics::take_note();
            return End::Fenced;
        };
        let running = reclaimed.running;
        let info = panics::caught(payload, self.shared.name.clone(), running.as_ref().map(|item| item.message()));
        self.shared.note_panic(info.clone());
        if let Some(item) = running {
            item.fail(&Failure::Panicked(info.clone()));
        }
        log::error!("{info}");
        self.shared.core.emit(&Event::Panicked(info.clone()));
        match self.first.take() {
            Some(first) => End::FailedFirstStart(first, StartError::Panicked(info)),
            None => End::Panicked(info),
        }
    }
}

impl<A: Actor<Context = Context<A>>> Future for Incarnation<A> {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<End> {
        let this = &mut *self;
        // A fenced instance must not register: it would take the place of its successor, whose drain then has nobody to wake.
        let fenced = this.shared.fenced(this.epoch) || {
            this.shared.waker.register(cx.waker());
            this.shared.fenced(this.epoch)
        };
        if fenced {
            this.dispose();
            return Poll::Ready(End::Fenced);
        }
        this.home.enter(this.shared.id);
        let polled = catch_unwind(AssertUnwindSafe(|| this.poll_live(cx)));
        this.home.leave();
        if this.ready.get()
            && let Some(first) = this.first.take()
        {
            // Nobody listens any more when the start had timed out.
            let _ = first.send(Ok(()));
        }
        let end = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) if this.shared.reclaim(this.epoch).is_none() => End::Fenced,
            Ok(Poll::Ready(())) => match this.first.take() {
                Some(first) => End::FailedFirstStart(first, StartError::StoppedItself(this.shared.name.clone())),
                None => End::Stopped,
            },
            Err(payload) => this.panicked(&*payload),
        };
        this.home.enter(this.shared.id);
        this.dispose();
        this.home.leave();
        Poll::Ready(end)
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Incarnation<A> {
    fn drop(&mut self) {
        self.dispose();
    }
}
