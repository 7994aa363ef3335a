//! How a runtime ends: every actor in reverse start order, then the threads, all under one deadline; and what was left. Once, on the
//! control thread, for whoever waits. Easy to get wrong: whoever asked for it may go away in the middle (a cancelled future, an actor that
//! is itself stopped); and the watchdog may be moving actors to a fresh thread, so it must be gone before the threads are counted.
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::{
    handle::{
        error::StopReason,
        state::{ShutdownReport, State},
    },
    host::hosted::Hosted,
    sync::primitives::lock,
    thread::{core::Core, timer::after, watching::Watchdog},
    tree::{
        group_spec::GroupState,
        node::{Member, Node},
    },
};

/// Begins the shutdown, unless it has begun, and waits for its report.
pub(crate) async fn run(core: &Arc<Core>, within: Duration) -> ShutdownReport {
    if begin(core) {
        let ending = Ending { core: core.clone(), report: None };
        core.control.spawn(end(ending, after(within)));
    }
    core.shutdown.wait().await
}

/// True for the one who is to shut down; from then on no actor starts.
fn begin(core: &Core) -> bool {
    // With the registry locked: a start has taken its name before, and then sees `closing` later, or takes none.
    let _registry = core.registry();
    core.closing.store(true, Ordering::Release);
    core.shutdown.begin()
}

/// Sends the report on its way however the shutdown ends, be it by a panic of ours.
struct Ending {
    core: Arc<Core>,
    report: Option<ShutdownReport>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let report = self.report.take().unwrap_or_else(|| ShutdownReport {
            timed_out: self.core.actors().iter().map(|actor| actor.name().clone()).collect(),
            ..ShutdownReport::default()
        });
        let quit = lock(&self.core.quit).take();
        match quit {
            // By the control thread, when it has ended. An error says that it has, and that was the report.
            Some(quit) => drop(quit.send(report)),
            None => self.core.shutdown.end(report),
        }
    }
}

/// The shutdown, on the control thread, which ends after it.
async fn end(mut ending: Ending, deadline: Instant) {
    let core = &ending.core;
    let mut report = ShutdownReport::default();
    let StopReport { drained, timed_out } = stop_members(core, core.members(), deadline).await;
    (report.drained, report.timed_out) = (drained, timed_out);
    report.leaked_threads = stop_threads(core, deadline).await;
    report.dead_letters = core.dead_letters.total();
    report.dead_letters_by_reason = core.dead_letters.by_reason();
    report.lost_threads = core.lost_threads.load(Ordering::Relaxed);
    if lock(&core.quit).is_none() {
        core.system.stop(); // the test kit's
    }
    ending.report = Some(report);
}

/// What `Group::stop` did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
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
    let deadline = after(within);
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

/// Waits for the state `Stopped`; false past the limit.
pub(crate) async fn wait_stopped(core: &Core, hosted: &dyn Hosted, within: Duration) -> bool {
    let mut state = hosted.watch();
    core.within(within, state.wait_for(|s| matches!(s, State::Stopped { .. }))).await.is_some()
}

/// What is left of the deadline for the threads even when the actors used it up.
const JOIN_GRACE: Duration = Duration::from_millis(250);

/// Stops and joins the watchdogs and the threads of actors; the labels of those that did not end in time.
async fn stop_threads(core: &Core, deadline: Instant) -> Vec<String> {
    let left = || deadline.saturating_duration_since(Instant::now()).max(JOIN_GRACE);
    let mut leaked = Vec::new();
    let watchdogs = std::mem::take(&mut *lock(&core.watchdogs));
    watchdogs.iter().for_each(Watchdog::stop);
    for watchdog in watchdogs {
        if core.within(left(), watchdog.ended().wait_for(|e| *e)).await.is_some() {
            watchdog.join();
        } else {
            leaked.push(format!("{}-watchdog", core.name));
        }
    }
    let mut homes = std::mem::take(&mut *lock(&core.retired));
    homes.extend(core.homes());
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
    leaked
}

/// Ends everything at once: the last handle was dropped, and nobody waits for a report.
pub(crate) fn abandon(core: &Arc<Core>) {
    if !begin(core) {
        return; // it is shutting down, or has
    }
    for hosted in core.actors().into_iter().rev() {
        hosted.end(StopReason::ThreadLost);
    }
    for group in core.groups() {
        group.finish(StopReason::ThreadLost);
    }
    lock(&core.watchdogs).iter().for_each(Watchdog::stop);
    for home in lock(&core.retired).iter() {
        home.stop();
    }
    core.homes().iter().for_each(|home| home.stop());
    core.system.stop();
    // The control thread ends by this.
    drop(lock(&core.quit).take());
}
