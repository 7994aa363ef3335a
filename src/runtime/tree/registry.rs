//! Who is alive, by name and by id: actors and groups. What each of them is doing is its own. Easy to get wrong: whoever takes an entry
//! out drops it outside of the registry's lock, for with it may go the last handle to user code.
use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{host::hosted::Hosted, tree::node::Node};

/// A name that is taken.
struct Named {
    id: u64,
    /// The same actor by its own type.
    any: Arc<dyn Any + Send + Sync>,
}

/// The living actors and groups of a runtime. Ids rise in start order.
#[derive(Default)]
pub(crate) struct Registry {
    living: BTreeMap<u64, Arc<dyn Hosted>>,
    by_name: HashMap<Arc<str>, Named>,
    groups: BTreeMap<u64, Arc<Node>>,
    group_names: HashMap<Arc<str>, u64>,
}

impl Registry {
    /// Enters an actor; false if its name is taken.
    pub(crate) fn insert<T: Hosted + Any>(&mut self, actor: &Arc<T>) -> bool {
        if self.by_name.contains_key(actor.name()) {
            return false;
        }
        self.by_name.insert(actor.name().clone(), Named { id: actor.id(), any: actor.clone() });
        self.living.insert(actor.id(), actor.clone());
        true
    }

    /// The living actor of this name, to be cast to its type.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<dyn Any + Send + Sync>> {
        self.by_name.get(name).map(|named| named.any.clone())
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<dyn Hosted>> {
        self.living.get(&id).cloned()
    }

    /// Takes an actor out and frees its name.
    pub(crate) fn remove(&mut self, id: u64) -> Option<impl Sized + use<>> {
        let hosted = self.living.remove(&id)?;
        let named = match self.by_name.get(hosted.name()) {
            Some(named) if named.id == id => self.by_name.remove(hosted.name()),
            _ => None,
        };
        Some((hosted, named))
    }

    /// In start order.
    pub(crate) fn actors(&self) -> Vec<Arc<dyn Hosted>> {
        self.living.values().cloned().collect()
    }

    /// Enters a group; false if its name is taken.
    pub(crate) fn insert_group(&mut self, node: &Arc<Node>) -> bool {
        if self.group_names.contains_key(&node.name) {
            return false;
        }
        self.group_names.insert(node.name.clone(), node.id);
        self.groups.insert(node.id, node.clone());
        true
    }

    /// Takes a group out and frees its name.
    pub(crate) fn remove_group(&mut self, id: u64) -> Option<Arc<Node>> {
        let node = self.groups.remove(&id)?;
        self.group_names.remove(&node.name);
        Some(node)
    }

    /// In start order.
    pub(crate) fn groups(&self) -> Vec<Arc<Node>> {
        self.groups.values().cloned().collect()
    }
}
