//! How a runtime ends: every actor in reverse start order, then the threads, all under one deadline; and what was left. Easy
//! to get wrong: the watchdog may be moving actors to a fresh thread, so it must be gone before the threads are counted.
use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::{
    addr::wait_stopped,
    core::{Core, lock},
    error::StopReason,
    group::GroupState,
    group_node::{Member, Node},
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
    /// Stops every actor and group in reverse start order, a group's members in reverse start order too, each actor draining within its `stop_timeout` and all within `within`; then
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
        let StopReport { drained, timed_out } = stop_members(core, core.members(), deadline).await;
        (report.drained, report.timed_out) = (drained, timed_out);
        report.leaked_threads = threads.stop(core, deadline).await;
        report.dead_letters = core.dead_letters.total();
        report.dead_letters_by_reason = core.dead_letters.by_reason();
        *lock(&self.inner.report) = Some(report.clone());
        report
    }
}

/// What `Group::stop` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Actors that finished their queue and stopped, in the order they did.
    pub drained: Vec<Arc<str>>,
    /// Actors that did not stop in time and were ended.
    pub timed_out: Vec<Arc<str>>,
}

impl StopReport {
    /// Whether all stopped in time.
    pub fn clean(&self) -> bool {
        self.timed_out.is_empty()
    }
}

/// Stops a group; to its end, whether or not the caller waits for it.
pub(crate) async fn stop_group(node: &Arc<Node>, within: Duration) -> StopReport {
    let deadline = Instant::now() + within;
    let Ok(core) = node.core() else { return StopReport::default() };
    let (node, control) = (node.clone(), core.control.clone());
    let stopped = control.spawn(async move { stop_node(&core, &node, deadline).await });
    // An error says that the runtime was shut down meanwhile, whose report has these actors.
    stopped.await.unwrap_or_default()
}

async fn stop_node(core: &Arc<Core>, node: &Arc<Node>, deadline: Instant) -> StopReport {
    {
        let _none_comes_in = node.inner();
        node.change(|_| Some(GroupState::Stopping));
    }
    let report = stop_members(core, node.members(), deadline).await;
    node.finish(StopReason::Requested);
    report
}

/// Stops members in reverse start order, each awaited.
fn stop_members<'a>(core: &'a Arc<Core>, members: Vec<Member>, deadline: Instant) -> BoxFuture<'a, StopReport> {
    Box::pin(async move {
        let mut report = StopReport::default();
        for member in members.into_iter().rev() {
            match member {
                Member::Group(node) => {
                    let part = stop_node(core, &node, deadline).await;
                    report.drained.extend(part.drained);
                    report.timed_out.extend(part.timed_out);
                }
                Member::Actor(hosted) => {
                    hosted.drain();
                    let limit = hosted.stop_limit().min(deadline.saturating_duration_since(Instant::now()));
                    if wait_stopped(core, &*hosted, limit).await {
                        report.drained.push(hosted.name().clone());
                    } else {
                        hosted.end(StopReason::TimedOut);
                        report.timed_out.push(hosted.name().clone());
                    }
                }
            }
        }
        report
    })
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
        for group in self.core.groups() {
            group.finish(StopReason::ThreadLost);
        }
        if let Some(watchdog) = &threads.watchdog {
            watchdog.stop();
        }
        lock(&self.core.home).stop();
        self.core.system.stop();
    }
}
