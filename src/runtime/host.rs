//! Runs an actor's instances one after another on its thread: builds, polls under `catch_unwind`, decides by policy,
//! pauses, builds again. What outlives an instance is in `shared`. Easy to get wrong: a panicked context must be
//! terminated before it is dropped, or actix calls `stopping()` on the broken state, and a second panic ends the process.
use std::{
    cell::Cell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    sync::{Arc, PoisonError, atomic::Ordering},
    task::{Context as TaskContext, Poll},
};

use actix::{Actor, ActorContext, AsyncContext, Context, dev::ContextFut};
use tokio::sync::oneshot;

use super::{
    envelope::Failure,
    error::{PanicInfo, StartError, StopReason},
    home::{self, Home},
    panics,
    policy::Verdict,
    pump::Pump,
    shared::{Shared, Wish},
    spec::{OnExhausted, Restart},
    state::{Event, State},
};

/// Whoever awaits the first start.
pub(crate) type FirstStart = Option<oneshot::Sender<Result<(), StartError>>>;

/// Starts hosting on `home`.
pub(crate) fn launch<A: Actor<Context = Context<A>>>(
    shared: Arc<Shared<A>>,
    epoch: u64,
    home: &Arc<Home>,
    first: FirstStart,
) {
    let (shared2, home2) = (shared.clone(), home.clone());
    let sent = home.arbiter().spawn_fn(move || {
        actix_rt::spawn(host(shared2, epoch, home2, first));
    });
    if !sent {
        shared.finish(StopReason::ThreadLost);
    }
}

/// Ends the actor if its task is dropped, e.g. with its thread.
struct EndGuard<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    epoch: u64,
}

impl<A: Actor<Context = Context<A>>> Drop for EndGuard<A> {
    fn drop(&mut self) {
        if !self.shared.fenced(self.epoch) {
            self.shared.finish(StopReason::ThreadLost);
        }
    }
}

async fn host<A: Actor<Context = Context<A>>>(
    shared: Arc<Shared<A>>,
    epoch: u64,
    home: Arc<Home>,
    mut first: FirstStart,
) {
    let _guard = EndGuard { shared: shared.clone(), epoch };
    loop {
        let ready = Rc::new(Cell::new(false));
        let end = Incarnation {
            shared: shared.clone(),
            home: home.clone(),
            epoch,
            ready: ready.clone(),
            first: first.take(),
            live: None,
        }
        .await;
        let stopping = *shared.wish.borrow() != Wish::Live;
        let failure = match end {
            End::Fenced => return,
            End::FailedFirstStart(first, e) => {
                // The name is free before the caller hears of it.
                shared.finish(StopReason::StartFailed(e.to_string()));
                // Nobody listens any more when the start had timed out.
                let _ = first.send(Err(e));
                return;
            }
            End::Stopped if stopping => return shared.finish(StopReason::Requested),
            End::Panicked(info) if stopping || shared.policy.restart == Restart::Temporary => {
                return shared.finish(StopReason::Panicked(info));
            }
            End::Stopped if shared.policy.restart != Restart::Permanent => return shared.finish(StopReason::Finished),
            End::Stopped => "it stopped itself".to_owned(),
            End::Panicked(info) => info.to_string(),
        };
        if !pause(&shared, epoch, failure).await {
            return;
        }
    }
}

/// Waits out the backoff; false when the actor is not to be started again.
async fn pause<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>, epoch: u64, failure: String) -> bool {
    let (verdict, attempt) = {
        let mut ledger = shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        (ledger.failed(&shared.policy, tokio::time::Instant::now().into_std(), rand::random()), ledger.attempt())
    };
    let Verdict::RestartIn(retry_after) = verdict else {
        let (n, window) = (shared.policy.max_failures, shared.policy.window);
        shared
            .finish(StopReason::Exhausted(format!("more than {n} restarts in {window:?}; the last because {failure}")));
        shared.core.exhausted(&shared.name, shared.policy.on_exhausted);
        return false;
    };
    shared.restarts.fetch_add(1, Ordering::Relaxed);
    shared.set_state(State::Restarting { attempt, retry_after });
    shared.core.emit(&Event::Restarting { actor: shared.name.clone(), attempt, retry_after });
    let mut wish = shared.wish.subscribe();
    tokio::select! {
        () = tokio::time::sleep(retry_after) => !shared.fenced(epoch),
        _ = wish.wait_for(|w| *w != Wish::Live) => {
            if !shared.fenced(epoch) {
                shared.finish(StopReason::Requested);
            }
            false
        }
    }
}

enum End {
    Fenced,
    Stopped,
    Panicked(PanicInfo),
    FailedFirstStart(oneshot::Sender<Result<(), StartError>>, StartError),
}

struct Live<A: Actor<Context = Context<A>>> {
    fut: ContextFut<A, Context<A>>,
    /// A context without any address stops by itself.
    _keep: actix::Addr<A>,
}

/// One instance of the actor, from factory to end.
struct Incarnation<A: Actor<Context = Context<A>>> {
    shared: Arc<Shared<A>>,
    home: Arc<Home>,
    epoch: u64,
    ready: Rc<Cell<bool>>,
    first: FirstStart,
    live: Option<Live<A>>,
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
        this.shared.waker.register(cx.waker());
        if this.shared.fenced(this.epoch) {
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

/// What exhaustion means beyond the actor itself.
pub(crate) fn is_fatal(on_exhausted: OnExhausted) -> bool {
    on_exhausted == OnExhausted::StopProcess
}

/// Whether the caller runs inside the actor `id`'s own turn.
pub(crate) fn inside(id: u64) -> bool {
    home::current_actor() == id
}
