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
use tokio::time::Sleep;

use crate::{
    handle::{
        error::{AbortReason, PanicInfo},
        event::Event,
        spec::Making,
    },
    host::{
        here::Here,
        hosted::SNAPSHOT,
        phase::Life,
        pump::Pump,
        recovery::Recovery,
        shared::Shared,
        snapshots::{Made, Snapshots},
    },
    mailbox::{dead::DeadReason, envelope::Failure},
    sync::primitives::lock,
    thread::{home::Home, panics},
};

/// How an instance ended.
pub(crate) enum End {
    /// Its actor was moved; nothing it did counts any more.
    Fenced,
    /// Its group holds it.
    Held,
    /// By itself.
    Ended {
        fault: Fault,
        /// It had taken messages.
        started: bool,
    },
}

/// How an instance ended by itself.
pub(crate) enum Fault {
    /// Its factory returned an error.
    Failed(String),
    Stopped,
    Panicked(PanicInfo),
    StartTimedOut,
}

struct Live<A: Actor<Context = Context<A>>> {
    fut: ContextFut<A, Context<A>>,
    /// A context without any address stops by itself.
    _keep: actix::Addr<A>,
}

/// One instance of the actor, from factory to end.
pub(crate) struct Incarnation<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    home: Arc<Home>,
    epoch: u64,
    ready: Rc<Cell<bool>>,
    /// Until it is ready: when that would be too late.
    starting: Option<Pin<Box<Sleep>>>,
    /// An asynchronous factory under way.
    making: Option<Making<A>>,
    live: Option<Live<A>>,
    /// The thread knows of it, for `OwnContext`.
    _here: Here,
}

impl<A: Actor<Context = Context<A>>> Unpin for Incarnation<A> {}

impl<A: Actor<Context = Context<A>>> Incarnation<A> {
    pub(crate) fn new(shared: Arc<Shared<A>>, home: Arc<Home>, epoch: u64) -> Self {
        let starting = Some(Box::pin(tokio::time::sleep(shared.limits.start)));
        let _here = Here::new(&shared, epoch);
        Self { shared, home, epoch, ready: Rc::new(Cell::new(false)), starting, making: None, live: None, _here }
    }

    /// Makes the actor if there is none yet, and polls it. An error is its factory's.
    fn poll_live(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), String>> {
        if self.live.is_none() {
            let mut ctx = Context::new();
            let making = match self.making.take() {
                Some(making) => Made::Later(making),
                None => self.shared.make(&mut ctx),
            };
            let actor = match making {
                Made::Now(actor) => actor,
                Made::Failed(cause) => return Poll::Ready(Err(cause)),
                Made::Later(mut making) => match making.as_mut().poll(cx) {
                    Poll::Ready(made) => made?,
                    Poll::Pending => {
                        self.making = Some(making);
                        return Poll::Pending;
                    }
                },
            };
            ctx.spawn(Pump::new(self.shared.clone(), self.home.clone(), self.epoch, self.ready.clone()));
            if let Some(snapshots) = Snapshots::new(&self.shared, self.epoch) {
                ctx.spawn(snapshots);
            }
            let keep = ctx.address();
            self.live = Some(Live { fut: ctx.into_future(actor), _keep: keep });
        }
        let live = self.live.as_mut().expect("it was just made");
        Pin::new(&mut live.fut).poll(cx).map(Ok)
    }

    /// One turn, under guard.
    fn turn<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> std::thread::Result<T> {
        panics::forget();
        self.home.enter(self.shared.id);
        let out = catch_unwind(AssertUnwindSafe(|| f(self)));
        self.home.leave();
        out
    }

    /// Drops the instance without any of its hooks; a panicking destructor is caught.
    fn dispose(&mut self) {
        let (making, mut live) = (self.making.take(), self.live.take());
        if making.is_none() && live.is_none() {
            return;
        }
        if let Some(live) = &mut live {
            live.fut.ctx().terminate();
        }
        if let Err(payload) = self.turn(|_| drop((making, live))) {
            let panic = panics::caught(payload, self.shared.name.clone(), None);
            log::error!("a destructor panicked while an actor was dropped actor={} panic={panic:?}", self.shared.name);
        }
    }

    /// Its first message may come: the start has succeeded.
    fn came_up(&mut self) {
        self.starting = None;
        let now = tokio::time::Instant::now().into_std();
        lock(&self.shared.ledger).up(now);
        if let Some(recovery) = self.shared.recovery() {
            recovery.started();
        }
        self.shared.set_life(self.epoch, Life::Up);
        if let Some(first) = self.shared.first(self.epoch) {
            // Nobody listens any more when the start had timed out.
            let _ = first.send(Ok(()));
        }
    }

    fn start_is_late(&mut self, cx: &mut TaskContext<'_>) -> bool {
        self.starting.as_mut().is_some_and(|limit| limit.as_mut().poll(cx).is_ready())
    }

    fn panicked(&mut self, payload: Box<dyn std::any::Any + Send>) -> End {
        let Some(reclaimed) = self.shared.reclaim(self.epoch) else {
            panics::discard(payload);
            return End::Fenced;
        };
        let running = reclaimed.running;
        let in_snapshot = self.shared.recovery().is_some_and(Recovery::taking).then_some(SNAPSHOT);
        let message = running.as_ref().map(|item| item.message()).or(in_snapshot);
        let info = panics::caught(payload, self.shared.name.clone(), message);
        self.shared.replies.note_loss(AbortReason::ActorPanicked(info.clone()));
        if let Some(item) = running {
            self.shared.kill(item, &Failure::Panicked(info.clone()), DeadReason::Stopped);
        }
        log::error!("{info}");
        self.shared.core.emit(&Event::Panicked(info.clone()));
        if self.shared.held() {
            return End::Held; // one of the hooks of an orderly stop
        }
        End::Ended { fault: Fault::Panicked(info), started: self.ready.get() }
    }
}

impl<A: Actor<Context = Context<A>>> Future for Incarnation<A> {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<End> {
        let this = &mut *self;
        if !this.shared.register(this.epoch, cx.waker()) {
            this.dispose();
            return Poll::Ready(End::Fenced);
        }
        let held = this.shared.held();
        if held {
            match &mut this.live {
                // Its pump takes a last snapshot and stops it, unless a future that the actor waits for comes first.
                Some(_) if this.ready.get() && this.shared.recovery().is_some() => {}
                // This turn runs `stopping()` and `stopped()` and nothing else.
                Some(live) => live.fut.ctx().stop(),
                None => {
                    this.dispose();
                    return Poll::Ready(End::Held);
                }
            }
        }
        let mut polled = this.turn(|this| this.poll_live(cx));
        if held
            && matches!(polled, Ok(Poll::Pending))
            && let Some(live) = &mut this.live
        {
            live.fut.ctx().stop();
            polled = this.turn(|this| this.poll_live(cx));
        }
        let started = this.ready.get();
        if started && this.starting.is_some() && !held {
            this.came_up();
        }
        let end = match polled {
            // The thread was given up while a timer or a future of the actor was stuck.
            Ok(_) if this.shared.fenced(this.epoch) => End::Fenced,
            Ok(Poll::Pending) if !held && !this.start_is_late(cx) => return Poll::Pending,
            Err(payload) => this.panicked(payload),
            // What waits in the hand goes back into the queue.
            Ok(_) if this.shared.reclaim(this.epoch).is_none() => End::Fenced,
            Ok(_) if held => End::Held,
            Ok(Poll::Pending) => End::Ended { fault: Fault::StartTimedOut, started },
            Ok(Poll::Ready(Ok(()))) => End::Ended { fault: Fault::Stopped, started },
            Ok(Poll::Ready(Err(cause))) => End::Ended { fault: Fault::Failed(cause), started },
        };
        this.dispose();
        Poll::Ready(end)
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Incarnation<A> {
    fn drop(&mut self) {
        self.dispose();
    }
}
