//! How a runtime ends: every actor in reverse start order, then the threads, all under one deadline; and what was left. Easy
//! to get wrong: the watchdog may be moving actors to a fresh thread, so it must be gone before the threads are counted.
use std::{sync::atomic::Ordering, thread::JoinHandle, time::Duration};

use tokio::time::Instant;

use super::{
    addr::wait_stopped,
    core::{Core, lock},
    error::StopReason,
    state::ShutdownReport,
    system::{Inner, Runtime},
    watchdog::Watchdog,
};

/// The threads of a runtime that host no actor. The test kit's runtime has none.
pub(crate) struct Threads {
    pub(crate) control: Option<JoinHandle<()>>,
    pub(crate) watchdog: Option<Watchdog>,
}

impl Runtime {
    /// Stops every actor in reverse start order, each draining within its `stop_timeout` and all within `within`; then
    /// joins the threads. Later calls return the first report.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let deadline = Instant::now() + within;
        let core = &self.inner.core;
        let threads = {
            let _registry = core.registry();
            core.closing.store(true, Ordering::Release);
            lock(&self.inner.threads).take()
        };
        let Some(threads) = threads else {
            return lock(&self.inner.report).clone().unwrap_or_default();
        };
        let mut report = ShutdownReport::default();
        for hosted in core.actors().into_iter().rev() {
            hosted.drain();
            let limit = hosted.stop_limit().min(deadline.saturating_duration_since(Instant::now()));
            if wait_stopped(core, &*hosted, limit).await {
                report.drained.push(hosted.name().clone());
            } else {
                hosted.end(StopReason::TimedOut);
                report.timed_out.push(hosted.name().clone());
            }
        }
        report.leaked_threads = threads.stop(core, deadline).await;
        report.dead_letters = core.dead_letters.load(Ordering::Relaxed);
        *lock(&self.inner.report) = Some(report.clone());
        report
    }
}

/// What is left of the deadline for the threads even when the actors used it up.
const JOIN_GRACE: Duration = Duration::from_millis(250);

impl Threads {
    /// Stops and joins; the labels of threads that did not end in time.
    async fn stop(self, core: &Core, deadline: Instant) -> Vec<String> {
        let left = || deadline.saturating_duration_since(Instant::now()).max(JOIN_GRACE);
        let mut leaked = Vec::new();
        if let Some(watchdog) = self.watchdog {
            watchdog.stop();
            if core.within(left(), watchdog.ended().wait_for(|e| *e)).await.is_some() {
                watchdog.join();
            } else {
                leaked.push(format!("{}-watchdog", core.name));
            }
        }
        let mut homes = std::mem::take(&mut *lock(&core.retired));
        homes.push(lock(&core.home).clone());
        for home in &homes {
            home.stop();
        }
        for home in homes {
            // An error of the channel means that the sender, and so the thread, is gone.
            core.within(left(), home.ended().wait_for(|e| *e)).await;
            if !home.join() {
                leaked.push(home.label());
            }
        }
        core.system.stop();
        if let Some(control) = self.control {
            // Blocks for microseconds: the control thread runs nobody's code but actix's. Its panic would have been logged.
            let _ = control.join();
        }
        leaked
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Some(threads) = lock(&self.threads).take() else { return };
        self.core.closing.store(true, Ordering::Release);
        for hosted in self.core.actors().into_iter().rev() {
            hosted.end(StopReason::ThreadLost);
        }
        if let Some(watchdog) = &threads.watchdog {
            watchdog.stop();
        }
        lock(&self.core.home).stop();
        self.core.system.stop();
    }
}
