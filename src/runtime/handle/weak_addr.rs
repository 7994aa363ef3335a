//! Handles that keep nothing alive: an actor's address and the runtime. For an actor's own fields, and for tables of sessions. Easy to
//! get wrong: an actor that owned a `Runtime`, or, if it stops with its last handle, an `Addr` of itself, would never end.
use std::{
    fmt,
    sync::{Arc, Weak},
};

use actix::{Actor, Context};

use crate::{handle::addr::Addr, host::shared::Shared};

/// An [`Addr`] that keeps nothing alive, from `Addr::downgrade` and [`OwnContext::own_addr`](crate::OwnContext::own_addr).
pub struct WeakAddr<A: Actor<Context = Context<A>>> {
    shared: Weak<Shared<A>>,
}

impl<A: Actor<Context = Context<A>>> Addr<A> {
    /// The same address, which keeps nothing alive.
    pub fn downgrade(&self) -> WeakAddr<A> {
        WeakAddr::new(&self.shared)
    }
}

impl<A: Actor<Context = Context<A>>> WeakAddr<A> {
    pub(crate) fn new(shared: &Arc<Shared<A>>) -> Self {
        Self { shared: Arc::downgrade(shared) }
    }

    /// One of no actor: `upgrade` gives nothing.
    pub(crate) fn dangling() -> Self {
        Self { shared: Weak::new() }
    }

    /// The address, unless the actor is gone, or stops because its last handle was dropped.
    pub fn upgrade(&self) -> Option<Addr<A>> {
        let shared = self.shared.upgrade()?;
        if shared.end.has_begun() { None } else { Addr::another(shared) }
    }
}

impl<A: Actor<Context = Context<A>>> Clone for WeakAddr<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<A: Actor<Context = Context<A>>> fmt::Debug for WeakAddr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shared.upgrade() {
            Some(shared) => write!(f, "WeakAddr({})", shared.name),
            None => f.write_str("WeakAddr(gone)"),
        }
    }
}
