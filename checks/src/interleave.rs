//! One way to write a check for loom (every interleaving within a preemption bound), shuttle (random schedules) and plain
//! threads (Miri, which picks its own). Easy to get wrong: under plain threads one run proves nothing; Miri is given many seeds.
#[cfg(loom)]
pub(crate) use loom::{future::block_on, thread};
#[cfg(shuttle)]
pub(crate) use shuttle::{future::block_on, thread};
#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::thread;

/// Runs `check` under the checker this build is for.
#[cfg(loom)]
pub(crate) fn interleave(check: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    // Most bugs need two preemptions; three is what the time allows (LOOM_MAX_PREEMPTIONS overrides).
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(check);
}

/// Runs `check` under the checker this build is for.
#[cfg(shuttle)]
pub(crate) fn interleave(check: impl Fn() + Send + Sync + 'static) {
    let times = std::env::var("SHUTTLE_ITERATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000);
    shuttle::check_random(check, times);
}

/// Runs `check` under the checker this build is for.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn interleave(check: impl Fn() + Send + Sync + 'static) {
    for _ in 0..if cfg!(miri) { 3 } else { 1_000 } {
        check();
    }
}

/// Blocks the thread on a future.
#[cfg(not(any(loom, shuttle)))]
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    use std::{
        sync::Arc,
        task::{Context, Poll, Wake, Waker},
    };
    struct Unpark(thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
