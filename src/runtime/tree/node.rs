//! A group in the supervision tree: its members, its failures, what is to follow. Doing it is left to `restart`. Easy to
//! get wrong: failures are noted and members let in or out under one lock with the state, so that none falls between two restarts; no
//! user code and no await happens under it, and the registry's lock is never taken inside of it.
use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    handle::{
        error::{StartError, StopReason},
        event::Event,
        health::GroupHealth,
        spec::Policy,
    },
    host::hosted::Hosted,
    sync::primitives::lock,
    thread::core::Core,
    tree::{
        group_spec::{GroupSpec, GroupState, Strategy},
        policy::{Ledger, Verdict},
    },
};

/// Of a group, or of the runtime itself; in start order.
#[derive(Clone)]
pub(crate) enum Member {
    Actor(Arc<dyn Hosted>),
    Group(Arc<Node>),
}

impl Member {
    pub(crate) fn id(&self) -> u64 {
        match self {
            Self::Actor(hosted) => hosted.id(),
            Self::Group(node) => node.id,
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        match self {
            Self::Actor(hosted) => hosted.name(),
            Self::Group(node) => &node.name,
        }
    }
}

/// What a failed actor's host is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Restart it alone.
    Alone,
    /// Wait for the group.
    Wait,
}

/// A member's failure that the group has to answer.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) member: u64,
    pub(crate) cause: Arc<str>,
    /// No restart: the group gives up.
    pub(crate) last: bool,
}

pub(crate) struct Inner {
    /// By id, and so in start order.
    pub(crate) members: BTreeMap<u64, Member>,
    pub(crate) ledger: Ledger,
    /// At most one per member, since who failed waits; bounded by their number.
    failures: Vec<Failure>,
}

/// A group.
pub(crate) struct Node {
    pub(crate) id: u64,
    pub(crate) name: Arc<str>,
    pub(crate) strategy: Strategy,
    pub(crate) policy: Policy,
    pub(crate) parent: Option<Arc<Node>>,
    core: Weak<Core>,
    pub(crate) state: watch::Sender<GroupState>,
    pub(crate) restarts: watch::Sender<u64>,
    /// Rung when there are failures to answer.
    pub(crate) bell: Notify,
    inner: Mutex<Inner>,
}

impl Node {
    pub(crate) fn new(core: &Arc<Core>, parent: Option<Arc<Node>>, spec: GroupSpec) -> Self {
        Self {
            id: Core::next_id(),
            name: spec.name,
            strategy: spec.strategy,
            policy: spec.policy,
            parent,
            core: Arc::downgrade(core),
            state: watch::Sender::new(GroupState::Running),
            restarts: watch::Sender::new(0),
            bell: Notify::new(),
            inner: Mutex::new(Inner { members: BTreeMap::new(), ledger: Ledger::default(), failures: Vec::new() }),
        }
    }

    /// The runtime, unless it is gone.
    pub(crate) fn core(&self) -> Result<Arc<Core>, StartError> {
        self.core.upgrade().ok_or_else(|| StartError::ShuttingDown(self.name.clone()))
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    /// In start order.
    pub(crate) fn members(&self) -> Vec<Member> {
        self.inner().members.values().cloned().collect()
    }

    /// Takes a member in; `None` while it is being restarted.
    pub(crate) fn admit(&self, name: &Arc<str>, member: Member) -> Option<Result<(), StartError>> {
        let mut inner = self.inner();
        let state = self.state.borrow();
        match &*state {
            GroupState::Running => {
                inner.members.insert(member.id(), member);
                Some(Ok(()))
            }
            GroupState::Restarting { .. } | GroupState::Waiting => None,
            GroupState::Stopping | GroupState::Stopped { .. } => {
                Some(Err(StartError::GroupStopped { name: name.clone(), group: self.name.clone() }))
            }
        }
    }

    /// Takes an empty group in, whatever is going on.
    pub(crate) fn admit_group(&self, name: &Arc<str>, member: Member) -> Result<(), StartError> {
        let mut inner = self.inner();
        if matches!(*self.state.borrow(), GroupState::Stopping | GroupState::Stopped { .. }) {
            return Err(StartError::GroupStopped { name: name.clone(), group: self.name.clone() });
        }
        inner.members.insert(member.id(), member);
        Ok(())
    }

    pub(crate) fn remove(&self, id: u64) {
        let member = self.inner().members.remove(&id);
        drop(member); // outside of the lock
    }

    /// An actor of it failed and its own policy would restart it.
    pub(crate) fn actor_failed(&self, actor: &dyn Hosted, epoch: u64, cause: &Arc<str>) -> Follow {
        let mut inner = self.inner();
        let running = matches!(*self.state.borrow(), GroupState::Running);
        let mut last = None;
        if running && self.strategy == Strategy::OneForOne {
            match inner.ledger.failed(&self.policy, Instant::now().into_std(), 0.0) {
                Verdict::RestartIn(_) => return Follow::Alone, // after the actor's own pause
                Verdict::Exhausted => last = Some(self.exhausted(cause)),
            }
        }
        actor.park(epoch, cause);
        let failure =
            Failure { member: actor.id(), last: last.is_some(), cause: last.unwrap_or_else(|| cause.clone()) };
        self.note(&mut inner, failure);
        Follow::Wait
    }

    /// An actor of it used up its own intensity, and that is to be the group's failure.
    pub(crate) fn exhausted_by(&self, actor: &dyn Hosted, epoch: u64, cause: &Arc<str>) {
        let mut inner = self.inner();
        actor.park(epoch, cause);
        let cause = format!("actor {}: {cause}", actor.name()).into();
        self.note(&mut inner, Failure { member: actor.id(), cause, last: true });
    }

    /// A group of it used up its restarts; it is down.
    pub(crate) fn group_failed(&self, group: &Node, cause: &Arc<str>) {
        let cause = format!("group {}: {cause}", group.name).into();
        self.note(&mut self.inner(), Failure { member: group.id, cause, last: false });
    }

    fn note(&self, inner: &mut Inner, failure: Failure) {
        if !matches!(*self.state.borrow(), GroupState::Stopping | GroupState::Stopped { .. }) {
            inner.failures.push(failure);
            self.bell.notify_one();
        }
    }

    /// The failures to answer now.
    pub(crate) fn take_failures(&self) -> Vec<Failure> {
        mem::take(&mut self.inner().failures)
    }

    /// The failures, if it runs; with nothing to answer it goes on running, else it is being restarted.
    pub(crate) fn begin(&self) -> Option<Vec<Failure>> {
        let mut inner = self.inner();
        (*self.state.borrow() == GroupState::Running && !inner.failures.is_empty())
            .then(|| mem::take(&mut inner.failures))
    }

    /// Back to `Running`, unless there is a failure to answer first or the state says otherwise meanwhile.
    pub(crate) fn settle(&self) -> Result<(), Vec<Failure>> {
        let mut inner = self.inner();
        if !inner.failures.is_empty() {
            return Err(mem::take(&mut inner.failures));
        }
        inner.ledger.up(Instant::now().into_std());
        self.change(|s| matches!(s, GroupState::Restarting { .. }).then_some(GroupState::Running));
        Ok(())
    }

    /// Changes the state if `to` says so; a stopped group stays stopped.
    pub(crate) fn change(&self, to: impl FnOnce(&GroupState) -> Option<GroupState>) -> bool {
        self.state.send_if_modified(|s| match to(s) {
            Some(new) if !matches!(s, GroupState::Stopped { .. }) => {
                *s = new;
                true
            }
            _ => false,
        })
    }

    /// Counts a failure and says what follows.
    pub(crate) fn judge(&self, cause: &Arc<str>) -> Result<(u32, Duration), Arc<str>> {
        let mut inner = self.inner();
        match inner.ledger.failed(&self.policy, Instant::now().into_std(), fastrand::f64()) {
            Verdict::RestartIn(pause) => Ok((inner.ledger.attempt(), pause)),
            Verdict::Exhausted => Err(self.exhausted(cause)),
        }
    }

    fn exhausted(&self, cause: &Arc<str>) -> Arc<str> {
        let (n, window) = (self.policy.max_failures, self.policy.window);
        format!("more than {n} restarts in {window:?}; the last because {cause}").into()
    }

    /// The end: no members, the name is free.
    pub(crate) fn finish(self: &Arc<Self>, why: StopReason) {
        let core = self.core.upgrade();
        // The name is free before anybody hears of the end.
        if let Some(core) = &core {
            core.forget_group(self.id);
        }
        match (&self.parent, &core) {
            (Some(parent), _) => parent.remove(self.id),
            (None, Some(core)) => core.remove(self.id),
            (None, None) => {}
        }
        let members = {
            let mut inner = self.inner();
            if !self.change(|_| Some(GroupState::Stopped { why: why.clone() })) {
                return;
            }
            mem::take(&mut inner.members)
        };
        // Empty, unless the runtime was dropped or a member was let in at the last moment.
        for member in members.into_values() {
            match member {
                Member::Actor(hosted) => hosted.end(why.clone()),
                Member::Group(node) => node.finish(why.clone()),
            }
        }
        if let Some(core) = core {
            core.emit(&Event::GroupStopped { group: self.name.clone(), why });
        }
    }

    pub(crate) fn health(&self) -> GroupHealth {
        let inner = self.inner();
        GroupHealth {
            name: self.name.clone(),
            group: self.parent.as_ref().map(|parent| parent.name.clone()),
            strategy: self.strategy,
            state: self.state.borrow().clone(),
            members: inner.members.values().map(|m| m.name().clone()).collect(),
            restarts: *self.restarts.borrow(),
            recent_failures: inner.ledger.within(&self.policy, Instant::now().into_std()),
        }
    }
}
