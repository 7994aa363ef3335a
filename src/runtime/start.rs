//! The start of an actor or a group, at the runtime's root or in a group: name, place in the tree, first instance. Restarts are
//! left to `host` and `group_restart`. Easy to get wrong: the name is taken before anything can fail, so each failure must free it.
use std::sync::{Arc, atomic::Ordering};

use actix::{Actor, Context};
use tokio::{sync::oneshot, time::Instant};

use super::{
    addr::Addr,
    core::{Core, Entry, lock},
    error::{StartError, StopReason},
    group::{Group, GroupSpec, GroupState},
    group_node::{Member, Node},
    group_restart, home, host,
    hosted::Hosted,
    shared::Shared,
    spec::ChildSpec,
};

/// Starts an actor and awaits its `started()`.
pub(crate) async fn supervise<A: Actor<Context = Context<A>>>(
    core: &Arc<Core>,
    group: Option<&Arc<Node>>,
    mut spec: ChildSpec<A>,
) -> Result<Addr<A>, StartError> {
    if home::on_retired_thread() {
        return Err(StartError::Fenced(spec.name));
    }
    if group.is_some() && !spec.own_intensity {
        spec.policy.max_failures = usize::MAX; // the group counts
    }
    let limit = spec.limits.start;
    let deadline = Instant::now() + limit;
    let (tx, rx) = oneshot::channel();
    let shared = Arc::new(Shared::new(core.clone(), group.cloned(), spec, tx));
    let name = shared.name.clone();
    take_name(core, &shared)?;
    let timed_out = || {
        shared.end(StopReason::TimedOut);
        StartError::TimedOut { name: name.clone(), after: limit }
    };
    let admitted = core.within(limit, admit(core, group, &shared)).await.ok_or_else(timed_out)?;
    if let Err(e) = admitted {
        shared.end(StopReason::Requested);
        return Err(e);
    }
    let started = core.within(deadline.saturating_duration_since(Instant::now()), rx).await.ok_or_else(timed_out)?;
    match started {
        Ok(Ok(())) => Ok(Addr { shared }),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(StartError::ShuttingDown(name)),
    }
}

fn take_name<A: Actor<Context = Context<A>>>(core: &Core, shared: &Arc<Shared<A>>) -> Result<(), StartError> {
    let mut registry = core.registry();
    let name = &shared.name;
    if core.closing.load(Ordering::Acquire) {
        return Err(StartError::ShuttingDown(name.clone()));
    }
    if registry.by_name.contains_key(name) {
        return Err(StartError::NameTaken(name.clone()));
    }
    registry.by_name.insert(name.clone(), shared.id);
    registry.living.push(Entry { hosted: shared.clone(), any: shared.clone() });
    Ok(())
}

/// Puts it into the tree and launches its first instance; waits while its group is being restarted.
async fn admit<A: Actor<Context = Context<A>>>(
    core: &Arc<Core>,
    group: Option<&Arc<Node>>,
    shared: &Arc<Shared<A>>,
) -> Result<(), StartError> {
    let member = Member::Actor(shared.clone());
    let Some(group) = group else {
        core.add(member);
        launch(core, shared);
        return Ok(());
    };
    let mut state = group.state.subscribe();
    loop {
        if let Some(admitted) = group.admit(&shared.name, member.clone()) {
            admitted?;
            launch(core, shared);
            return Ok(());
        }
        // An error says that the group is gone, which `admit` says better.
        let _ = state.wait_for(|s| !matches!(s, GroupState::Restarting { .. } | GroupState::Waiting)).await;
    }
}

fn launch<A: Actor<Context = Context<A>>>(core: &Core, shared: &Arc<Shared<A>>) {
    // Under this lock a re-homing can't come between the choice of the home and the launch.
    let home = lock(&core.home);
    shared.launched.store(true, Ordering::Release);
    host::launch(shared.clone(), shared.epoch(), &home);
}

/// Makes an empty group.
pub(crate) fn group(core: &Arc<Core>, parent: Option<&Arc<Node>>, spec: GroupSpec) -> Result<Group, StartError> {
    let name = spec.name.clone();
    if home::on_retired_thread() {
        return Err(StartError::Fenced(name));
    }
    let node = Arc::new(Node::new(core, parent.cloned(), spec));
    {
        let mut registry = core.registry();
        if core.closing.load(Ordering::Acquire) {
            return Err(StartError::ShuttingDown(name));
        }
        if registry.groups.iter().any(|g| g.name == name) {
            return Err(StartError::NameTaken(name));
        }
        registry.groups.push(node.clone());
    }
    let member = Member::Group(node.clone());
    let admitted = match parent {
        // An empty group has nothing to wait for, so it may join one that is being restarted.
        Some(parent) => parent.admit_group(&name, member),
        None => {
            core.add(member);
            Ok(())
        }
    };
    if let Err(e) = admitted {
        core.forget_group(node.id);
        return Err(e);
    }
    core.control.spawn(group_restart::tend(node.clone()));
    Ok(Group { node })
}
