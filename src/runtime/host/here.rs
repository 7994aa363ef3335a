//! Which actors this thread hosts, by id: how an actor finds its own address and runtime from inside its turn. Whose turn it is, is in
//! `thread::home`. Easy to get wrong: a zombie and its successor have one id, and the test kit hosts both on one thread, so whoever
//! leaves takes only its own entry away.
use std::{
    any::Any,
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
};

use actix::{Actor, Context};

use crate::{host::shared::Shared, thread::home};

struct Entry {
    epoch: u64,
    actor: Weak<dyn Any + Send + Sync>,
}

thread_local! {
    static HOSTED: RefCell<HashMap<u64, Entry>> = RefCell::default();
}

/// An actor is hosted here; dropping it says that it is not any more.
pub(crate) struct Here {
    id: u64,
    epoch: u64,
}

impl Here {
    pub(crate) fn new<A: Actor<Context = Context<A>>>(shared: &Arc<Shared<A>>, epoch: u64) -> Self {
        let id = shared.id;
        let weak: Weak<Shared<A>> = Arc::downgrade(shared);
        let actor: Weak<dyn Any + Send + Sync> = weak;
        HOSTED.with(|hosted| hosted.borrow_mut().insert(id, Entry { epoch, actor }));
        Self { id, epoch }
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // An error says that the thread ends, and its table with it.
        let _ = HOSTED.try_with(|hosted| {
            let mut hosted = hosted.borrow_mut();
            if hosted.get(&self.id).is_some_and(|entry| entry.epoch == self.epoch) {
                hosted.remove(&self.id);
            }
        });
    }
}

/// The actor whose turn it is on this thread, if it is of this type, and the epoch of its instance.
pub(crate) fn current_with_epoch<A: Actor<Context = Context<A>>>() -> Option<(Arc<Shared<A>>, u64)> {
    let id = home::current_actor();
    let find = |hosted: &RefCell<HashMap<u64, Entry>>| {
        let hosted = hosted.borrow();
        let entry = hosted.get(&id)?;
        Some((entry.actor.upgrade()?, entry.epoch))
    };
    let (actor, epoch) = HOSTED.try_with(find).ok()??;
    Some((actor.downcast().ok()?, epoch))
}

/// The same without the epoch.
pub(crate) fn current<A: Actor<Context = Context<A>>>() -> Option<Arc<Shared<A>>> {
    current_with_epoch().map(|(shared, _)| shared)
}
