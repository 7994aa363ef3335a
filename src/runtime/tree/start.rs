//! The start of an actor or a group, at the runtime's root or in a group: name, place in the tree, first instance. Restarts are
//! left to `host` and `restart`. Easy to get wrong: the name is taken before anything can fail, so each failure must free it, and
//! so must a caller that goes away in the middle.
use std::sync::{Arc, atomic::Ordering};

use actix::{Actor, Context};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    handle::{
        addr::Addr,
        error::{StartError, StopReason},
        spec::ChildSpec,
    },
    host::{hosted::Hosted, run, shared::Shared},
    sync::primitives::lock,
    thread::{core::Core, home, timer::after},
    tree::{
        group_spec::{GroupSpec, GroupState},
        node::{Member, Node},
        restart,
    },
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
    let deadline = after(limit);
    let (tx, rx) = oneshot::channel();
    let shared = Arc::new(Shared::new(core.clone(), group.cloned(), spec, tx));
    let name = shared.name.clone();
    take_name(core, &shared)?;
    let pending = Pending(Some(shared));
    let Some(shared) = &pending.0 else { unreachable!("it was just made") };
    let timed_out = || {
        shared.end(StopReason::TimedOut);
        StartError::TimedOut { name: name.clone(), after: limit }
    };
    core.within(limit, admit(core, group, shared)).await.ok_or_else(timed_out)??;
    let started = core.within(deadline.saturating_duration_since(Instant::now()), rx).await.ok_or_else(timed_out)?;
    match started {
        Ok(Ok(())) => Ok(Addr { shared: pending.done() }),
        Ok(Err(e)) => Err(e),
        // The answer is given by whoever ends the actor, at the latest.
        Err(_) => Err(StartError::ShuttingDown(name)),
    }
}

/// An actor whose start nobody has seen succeed. Dropped, by an error, a cancelled caller or a panic, it ends the actor and with it
/// frees the name and the place in the group.
struct Pending<A: Actor<Context = Context<A>>>(Option<Arc<Shared<A>>>);

impl<A: Actor<Context = Context<A>>> Pending<A> {
    fn done(mut self) -> Arc<Shared<A>> {
        self.0.take().expect("it is taken here alone")
    }
}

impl<A: Actor<Context = Context<A>>> Drop for Pending<A> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.end(StopReason::Requested);
        }
    }
}

fn take_name<A: Actor<Context = Context<A>>>(core: &Core, shared: &Arc<Shared<A>>) -> Result<(), StartError> {
    let mut registry = core.registry();
    let name = &shared.name;
    if core.closing.load(Ordering::Acquire) {
        return Err(StartError::ShuttingDown(name.clone()));
    }
    if registry.insert(shared) { Ok(()) } else { Err(StartError::NameTaken(name.clone())) }
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
        // Added before a shutdown looks at the members, or told so here.
        if core.closing.load(Ordering::Acquire) {
            return Err(StartError::ShuttingDown(shared.name.clone()));
        }
        return launch(core, shared);
    };
    let mut state = group.state.subscribe();
    loop {
        if let Some(admitted) = group.admit(&shared.name, member.clone()) {
            admitted?;
            return launch(core, shared);
        }
        // An error says that the group is gone, which `admit` says better.
        let _ = state.wait_for(|s| !matches!(s, GroupState::Restarting { .. } | GroupState::Waiting)).await;
    }
}

fn launch<A: Actor<Context = Context<A>>>(core: &Core, shared: &Arc<Shared<A>>) -> Result<(), StartError> {
    // Under this lock a move to another thread can't come between the choice of the home and the launch. Nothing of users runs under it.
    let homes = lock(&core.homes);
    let home = &homes[shared.slot];
    if core.unhosted.load(Ordering::Acquire) {
        return Err(StartError::Stopped { name: shared.name.clone(), why: StopReason::ThreadLost });
    }
    shared.launched.store(true, Ordering::Release);
    let sent = run::launch(shared, shared.epoch(), home);
    let ended = !sent && home.is_told();
    drop(homes);
    if ended {
        shared.finish(StopReason::ThreadLost);
    }
    // Not sent, and not told to end: the thread is lost, and the watchdog moves the actor to another.
    Ok(())
}

/// Makes an empty group.
pub(crate) fn group(core: &Arc<Core>, parent: Option<&Arc<Node>>, spec: GroupSpec) -> Result<Arc<Node>, StartError> {
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
        if !registry.insert_group(&node) {
            return Err(StartError::NameTaken(name));
        }
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
    core.control.spawn(restart::tend(node.clone()));
    Ok(node)
}
