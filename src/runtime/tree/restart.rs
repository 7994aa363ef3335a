//! Restarts a group: stops members in reverse start order, pauses, starts them in start order, and gives up past the
//! intensity. One task per group, on the control thread, which no handler can block. Easy to get wrong: the group above may overrule a
//! restart at any await, by holding the whole group; so every step must be harmless to leave and to repeat.
use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{
    handle::{
        error::StopReason,
        event::Event,
        spec::{OnExhausted, Restart},
    },
    host::{hosted::Hosted, phase::Life},
    thread::core::Core,
    tree::{
        group_spec::{GroupState, Strategy},
        node::{Failure, Member, Node},
        policy::Ledger,
    },
};

/// Which members a failure concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    One(u64),
    /// Those started as that one or later; ids rise in start order.
    From(u64),
}

const ALL: Scope = Scope::From(0);

impl Scope {
    fn holds(self, id: u64) -> bool {
        match self {
            Self::One(one) => id == one,
            Self::From(first) => id >= first,
        }
    }

    fn of(strategy: Strategy, failures: &[Failure]) -> Self {
        let first = failures.iter().map(|f| f.member).min().unwrap_or_default();
        match strategy {
            Strategy::OneForOne => Self::One(first),
            Strategy::OneForAll => ALL,
            Strategy::RestForOne => Self::From(first),
        }
    }
}

/// The group's task: answers failures until the group's end.
pub(crate) async fn tend(node: Arc<Node>) {
    let mut state = node.state.subscribe();
    loop {
        tokio::select! {
            biased;
            () = state_is(&mut state, |s| matches!(s, GroupState::Stopping | GroupState::Stopped { .. })) => return,
            () = node.bell.notified() => {}
        }
        while let Some(failures) = node.begin() {
            let mut state = node.state.subscribe();
            tokio::select! {
                biased;
                () = state_is(&mut state, overruled) => break,
                () = answer(&node, failures) => {}
            }
        }
    }
}

fn overruled(state: &GroupState) -> bool {
    matches!(state, GroupState::Waiting | GroupState::Stopping | GroupState::Stopped { .. })
}

async fn state_is(state: &mut watch::Receiver<GroupState>, is: impl FnMut(&GroupState) -> bool) {
    // An error says that the node is gone, and so is the group.
    let _ = state.wait_for(is).await;
}

async fn answer(node: &Arc<Node>, mut failures: Vec<Failure>) {
    let Ok(core) = node.core() else { return };
    while !failures.is_empty() {
        if let Some(last) = failures.iter().find(|f| f.last) {
            return give_up(&core, node, last.cause.clone()).await;
        }
        // One for one: each failure is its own. Otherwise those that failed at once are restarted, and counted, at once.
        let rest = if node.strategy == Strategy::OneForOne { failures.split_off(1) } else { Vec::new() };
        let cause = failures[0].cause.clone();
        let (attempt, pause) = match node.judge(&cause) {
            Ok(verdict) => verdict,
            Err(cause) => return give_up(&core, node, cause).await,
        };
        let scope = Scope::of(node.strategy, &failures);
        failures = match restart(&core, node, scope, &cause, attempt, pause).await {
            Ok(()) => rest,
            Err(more) => rest.into_iter().chain(more).collect(),
        };
        if failures.is_empty()
            && let Err(more) = node.settle()
        {
            failures = more;
        }
    }
}

/// Stops, pauses, starts; the failures that came in the meantime, if the restart did not succeed for them.
async fn restart(
    core: &Arc<Core>,
    node: &Arc<Node>,
    scope: Scope,
    cause: &Arc<str>,
    attempt: u32,
    pause: Duration,
) -> Result<(), Vec<Failure>> {
    let group = node.name.clone();
    log::warn!("members of a group are restarted group={group} attempt={attempt} in={pause:?} cause={cause}");
    core.emit(&Event::GroupRestarting { group: group.clone(), cause: cause.clone(), attempt, retry_after: pause });
    if node.strategy != Strategy::OneForOne {
        node.change(|s| (!overruled(s)).then_some(GroupState::Restarting { attempt, retry_after: pause }));
    }
    hold(core, node, scope, attempt, pause, cause).await;
    core.sleep(pause).await;
    // One that failed outside of the scope widens it: an earlier sibling of rest-for-one.
    let meanwhile: Vec<_> = node.take_failures();
    if !meanwhile.is_empty() && node.strategy != Strategy::OneForOne {
        return Err(meanwhile.into_iter().chain(first_of(node, scope, cause)).collect());
    }
    let started = start(core, node, scope).await;
    let mut more = node.take_failures();
    more.extend(meanwhile);
    match started {
        Ok(actors) if more.is_empty() => {
            node.restarts.send_modify(|n| *n += 1);
            let restarts = *node.restarts.borrow();
            core.emit(&Event::GroupRestarted { group, restarts, actors });
            return Ok(());
        }
        Ok(_) => {}
        Err(failure) if more.iter().any(|f| f.member == failure.member) => {}
        Err(failure) => more.push(failure),
    }
    Err(more)
}

/// Keeps a scope that was stopped and not started in the next one.
fn first_of(node: &Node, scope: Scope, cause: &Arc<str>) -> Option<Failure> {
    let member = node.members().iter().map(Member::id).find(|id| scope.holds(*id))?;
    Some(Failure { member, cause: cause.clone(), last: false })
}

/// Stops members in reverse start order, each awaited. Their queues wait.
fn hold<'a>(
    core: &'a Arc<Core>,
    node: &'a Arc<Node>,
    scope: Scope,
    attempt: u32,
    pause: Duration,
    cause: &'a Arc<str>,
) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        for member in node.members().into_iter().rev().filter(|m| scope.holds(m.id())) {
            match member {
                Member::Actor(actor) => {
                    actor.hold(attempt, pause, cause);
                    down(core, &*actor).await;
                    if actor.restart() == Restart::Temporary {
                        actor.end(StopReason::GroupRestarted(node.name.clone()));
                    }
                }
                Member::Group(group) => {
                    group.change(|s| {
                        matches!(s, GroupState::Running | GroupState::Restarting { .. }).then_some(GroupState::Waiting)
                    });
                    hold(core, &group, ALL, attempt, pause, cause).await;
                }
            }
        }
    })
}

async fn down(core: &Core, actor: &dyn Hosted) {
    let mut life = actor.life();
    let ended = life.wait_for(|l| matches!(l, Life::Down | Life::Failed(_) | Life::Gone));
    let mut ended = std::pin::pin!(ended);
    if core.within(actor.stop_limit(), &mut ended).await.is_some() {
        return;
    }
    // An instance is stopped within one turn, so its thread is stuck, and nothing could be started there. The watchdog's.
    log::warn!("a member of a group does not stop actor={} running={:?}", actor.name(), actor.running());
    // An error says that the actor is gone.
    let _ = ended.await;
}

/// Starts members in start order, each awaited; how many actors, or the first that failed.
fn start<'a>(core: &'a Arc<Core>, node: &'a Arc<Node>, scope: Scope) -> BoxFuture<'a, Result<usize, Failure>> {
    Box::pin(async move {
        let mut started = 0;
        for member in node.members().into_iter().filter(|m| scope.holds(m.id())) {
            match &member {
                Member::Actor(actor) => {
                    actor.release();
                    started += usize::from(up(core, &**actor).await?);
                }
                Member::Group(group) => {
                    // A new count, as for a supervisor that is started afresh.
                    group.inner().ledger = Ledger::default();
                    group.take_failures();
                    started += start(core, group, ALL).await.map_err(|f| Failure { member: group.id, ..f })?;
                    group.change(|s| (*s == GroupState::Waiting).then_some(GroupState::Running));
                    // What failed since is the group's own to answer.
                    group.bell.notify_one();
                }
            }
        }
        Ok(started)
    })
}

/// Whether it runs; false if it is gone.
async fn up(core: &Core, actor: &dyn Hosted) -> Result<bool, Failure> {
    let mut life = actor.life();
    let begun = life.wait_for(|l| matches!(l, Life::Up | Life::Failed(_) | Life::Gone));
    let mut begun = std::pin::pin!(begun);
    let limit = actor.start_limit().saturating_mul(2);
    let life = if let Some(life) = core.within(limit, &mut begun).await {
        life
    } else {
        // The instance keeps its own time, so its thread is stuck. The watchdog's.
        log::warn!("a member of a group does not start actor={} limit={limit:?}", actor.name());
        begun.await
    };
    match life.as_deref() {
        Ok(Life::Failed(cause)) => Err(Failure { member: actor.id(), cause: cause.clone(), last: false }),
        Ok(Life::Gone) | Err(_) => Ok(false),
        Ok(_) => Ok(true),
    }
}

/// Past the intensity.
async fn give_up(core: &Arc<Core>, node: &Arc<Node>, cause: Arc<str>) {
    let retry_after = Duration::ZERO;
    node.change(|s| (!overruled(s)).then_some(GroupState::Restarting { attempt: 0, retry_after }));
    if node.policy.on_exhausted == OnExhausted::Escalate
        && let Some(parent) = &node.parent
    {
        log::error!("a group used up its restarts group={} escalated_to={} cause={cause}", node.name, parent.name);
        let (child, to) = (node.name.clone(), Some(parent.name.clone()));
        core.emit(&Event::Escalated { child, to, cause: cause.clone() });
        hold(core, node, ALL, 0, retry_after, &cause).await;
        // Nothing is awaited from here on: by its state the group's own task is overruled.
        node.change(|s| (!overruled(s)).then_some(GroupState::Waiting));
        return parent.group_failed(node, &cause);
    }
    core.exhausted(&node.name, node.policy.on_exhausted, &cause);
    end(core, node, &StopReason::Exhausted(format!("group {}: {cause}", node.name))).await;
}

/// Ends a group for good: members in reverse start order, with their hooks as far as they stop in time.
fn end<'a>(core: &'a Arc<Core>, node: &'a Arc<Node>, why: &'a StopReason) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        let cause: Arc<str> = why.to_string().into();
        for member in node.members().into_iter().rev() {
            match member {
                Member::Actor(actor) => {
                    actor.hold(0, Duration::ZERO, &cause);
                    let mut life = actor.life();
                    let down = life.wait_for(|l| matches!(l, Life::Down | Life::Failed(_) | Life::Gone));
                    // Past the limit it is ended all the same, and its thread is the watchdog's.
                    core.within(actor.stop_limit(), down).await;
                    actor.end(why.clone());
                }
                Member::Group(group) => {
                    group.change(|s| (!overruled(s)).then_some(GroupState::Waiting));
                    end(core, &group, why).await;
                }
            }
        }
        node.finish(why.clone());
    })
}
