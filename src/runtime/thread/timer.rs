//! Timers that work on any thread, with any tokio runtime or none: all are the control thread's. Easy to get wrong: tokio panics
//! in whoever polls a timer of a runtime that is gone, so no timer is polled once the control thread is about to end.
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, Sleep},
};

/// Longer than any process lives; "no deadline" on a clock that cannot count to `Duration::MAX`.
pub(crate) const FOREVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// The moment `d` from now; of what is longer than the clock can count, one that never comes.
pub(crate) fn after(d: Duration) -> Instant {
    Instant::now() + d.min(FOREVER)
}

/// Where timers come from.
pub(crate) struct Timers {
    control: Handle,
    /// Read while a timer is polled: `close` waits for those at it.
    open: RwLock<bool>,
}

impl Timers {
    pub(crate) fn new(control: Handle) -> Arc<Self> {
        Arc::new(Self { control, open: RwLock::new(true) })
    }

    pub(crate) fn sleep(self: &Arc<Self>, d: Duration) -> Timer {
        let _on_control = self.control.enter();
        Timer { timers: self.clone(), sleep: Box::pin(tokio::time::sleep(d)) }
    }

    /// From here on every timer is over. The end of the control thread's runtime wakes those who wait.
    pub(crate) fn close(&self) {
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = false;
    }
}

/// A pause; over as well when the runtime ends.
pub(crate) struct Timer {
    timers: Arc<Timers>,
    sleep: Pin<Box<Sleep>>,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        let open = this.timers.open.read().unwrap_or_else(PoisonError::into_inner);
        if *open { this.sleep.as_mut().poll(cx) } else { Poll::Ready(()) }
    }
}
