//! Who waits for whom: an ask that would close a circle of actors, each of which takes no message until its ask is answered, is refused
//! with their names instead of hanging until a deadline. Only an ask whose first poll is in the turn of a blocked actor (`AtomicResponse`,
//! `ctx.wait`) is an edge; an actor that goes on handling messages closes no circle. Easy to get wrong: what is not seen is an ask of a
//! future spawned elsewhere (`tokio::spawn`, a `ResponseFuture`) and a thread that blocks; there the deadline, or the watchdog, speaks.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use crate::sync::primitives::lock;

#[derive(Default)]
struct Graph {
    /// Actors that take no message at present, by id.
    blocked: HashMap<u64, Arc<str>>,
    /// (token, who waits, for whom).
    edges: Vec<(u64, u64, u64)>,
    next: u64,
}

/// The wait-for graph of one runtime.
pub(crate) struct Waits {
    on: bool,
    graph: Mutex<Graph>,
}

/// An ask of a blocked actor under way; dropping it takes the edge away.
pub(crate) struct Edge {
    waits: Arc<Waits>,
    token: u64,
}

impl Drop for Edge {
    fn drop(&mut self) {
        lock(&self.waits.graph).edges.retain(|(token, ..)| *token != self.token);
    }
}

impl Waits {
    pub(crate) fn new(on: bool) -> Self {
        Self { on, graph: Mutex::default() }
    }

    /// The actor takes no message until it says otherwise.
    pub(crate) fn block(&self, id: u64, name: &Arc<str>) {
        if self.on {
            lock(&self.graph).blocked.insert(id, name.clone());
        }
    }

    pub(crate) fn unblock(&self, id: u64) {
        if self.on {
            lock(&self.graph).blocked.remove(&id);
        }
    }

    /// An ask of `from` to `to`: refused with the names if it closes a circle of blocked actors; no edge if `from` is not blocked.
    pub(crate) fn ask(self: &Arc<Self>, from: u64, to: u64) -> Result<Option<Edge>, Vec<Arc<str>>> {
        if !self.on || from == 0 {
            return Ok(None);
        }
        let mut graph = lock(&self.graph);
        if !graph.blocked.contains_key(&from) {
            return Ok(None);
        }
        if let Some(path) = graph.path(to, from) {
            let circle = std::iter::once(from).chain(path);
            return Err(circle.filter_map(|id| graph.blocked.get(&id).cloned()).collect());
        }
        graph.next += 1;
        let token = graph.next;
        graph.edges.push((token, from, to));
        Ok(Some(Edge { waits: self.clone(), token }))
    }
}

impl Graph {
    /// A way from one blocked actor to another, both ends included.
    fn path(&self, from: u64, to: u64) -> Option<Vec<u64>> {
        let mut ways = vec![vec![from]];
        let mut seen = vec![from];
        while let Some(way) = ways.pop() {
            let here = *way.last().expect("a way has its start");
            if !self.blocked.contains_key(&here) {
                continue;
            }
            if here == to {
                return Some(way);
            }
            for (_, _, next) in self.edges.iter().filter(|(_, who, _)| *who == here) {
                if !seen.contains(next) {
                    seen.push(*next);
                    ways.push(way.iter().copied().chain([*next]).collect());
                }
            }
        }
        None
    }
}
