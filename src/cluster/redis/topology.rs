//! Which server has which channels: one has all, or the masters of a cluster share them by slots.
//!
//! Leaves talking to the servers to `node`. Easy to get wrong: slots move while we look; a connection that finds its
//! channels gone asks for a new look, and until then it is the channel's messages that are lost, not our place in them.
use super::node::{Node, Shared};
use super::server::Server;
use super::session::refused;
use crate::cluster::relay::Channel;
use redis::{Value, cmd};
use std::{
    collections::{HashMap, HashSet},
    ops::RangeInclusive,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Slots of a cluster.
const SLOTS: u16 = 16_384;
/// Time between two looks at a cluster that nothing is known to have changed of.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Least time between two looks, however many connections ask.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Names tried for a probe; one in `SLOTS` at the least is the server's, so many miss with a chance below one in a million.
const PROBES_TRIED: u32 = SLOTS as u32 * 16;

/// Servers and their slots.
#[derive(Default)]
pub(super) struct Topology {
    pub(super) nodes: Vec<Arc<Node>>,
    /// Slots, and the place of their server in `nodes`; none: the only server has all.
    slots: Vec<(RangeInclusive<u16>, usize)>,
    /// What it was made of.
    owners: Owners,
}

impl Topology {
    /// One server for everything.
    pub(super) fn single(node: Arc<Node>) -> Self {
        Self { nodes: vec![node], ..Self::default() }
    }

    /// The server of a channel with this name, if one is known.
    pub(super) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        if self.slots.is_empty() {
            return self.nodes.first();
        }
        let slot = slot(name);
        let (_, index) = self.slots.iter().find(|(range, _)| range.contains(&slot))?;
        self.nodes.get(*index)
    }
}

/// What is followed, and where.
pub(super) struct Map {
    pub(super) followed: HashSet<Channel>,
    pub(super) topology: Arc<Topology>,
}

/// Slots by server.
type Owners = HashMap<(String, u16), Vec<RangeInclusive<u16>>>;

/// Keeps `map` like the cluster until `stop`. Starts from `seeds`, any of which may be away.
pub(super) async fn keep(seeds: Vec<Server>, shared: Arc<Shared>, map: Arc<RwLock<Map>>, stop: CancellationToken) {
    // The part of the link that stands for a cluster of which no server is known.
    let cluster = ("cluster".to_owned(), 0);
    let mut asked = 0;
    loop {
        let known: Vec<Server> = read(&map).nodes.iter().map(|node| node.server.clone()).collect();
        let candidates: Vec<&Server> = known.iter().chain(&seeds).collect();
        // Another one each time: one that is cut off from the rest must not be believed for long.
        let server = candidates[asked % candidates.len()];
        asked += 1;
        let looked = tokio::select! {
            () = stop.cancelled() => return,
            looked = look(server, &shared) => looked,
        };
        let pause = match looked {
            Ok(owners) => {
                shared.links.forget(&cluster);
                apply(server, owners, &shared, &map, &stop);
                LOOK_EVERY
            }
            Err(reason) => {
                if read(&map).nodes.is_empty() {
                    shared.links.down(&cluster, &format!("{}: {reason}", server.name()));
                }
                log::debug!("the cluster's slots are not known from {}: {reason}", server.name());
                // Jitter keeps the replicas of one outage from asking in step.
                LOOK_AGAIN.mul_f64(rand::random_range(0.5..=2.0))
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = async { sleep(LOOK_AGAIN).await; shared.refresh.notified().await } => {}
            () = sleep(pause) => {}
        }
    }
}

fn read(map: &RwLock<Map>) -> Arc<Topology> {
    map.read().unwrap_or_else(PoisonError::into_inner).topology.clone()
}

/// Asks one server who has which slots.
async fn look(server: &Server, shared: &Shared) -> Result<Owners, String> {
    let mut connection = server.connect(shared.answer_within, |_| Ok::<(), ()>(())).await?;
    let answer = connection.send_packed_command(cmd("CLUSTER").arg("SLOTS")).await.map_err(|e| e.to_string())?;
    if let Some(reason) = refused(&answer) {
        return Err(reason);
    }
    owners(&answer, server.host()).ok_or_else(|| "CLUSTER SLOTS gave an answer of another kind".to_owned())
}

/// Reads the answer to CLUSTER SLOTS; a server that does not know its own host is at the one that was asked.
fn owners(answer: &Value, asked: &str) -> Option<Owners> {
    let Value::Array(ranges) = answer else { return None };
    let mut owners = Owners::new();
    for range in ranges {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(from), Value::Int(to), Value::Array(master), ..] = parts.as_slice() else { return None };
        let (host, port) = match master.as_slice() {
            [Value::BulkString(host), Value::Int(port), ..] => (String::from_utf8(host.clone()).ok()?, *port),
            [Value::Nil, Value::Int(port), ..] => (String::new(), *port),
            _ => return None,
        };
        let host = if host.is_empty() { asked.to_owned() } else { host };
        let slots = u16::try_from(*from).ok()?..=u16::try_from(*to).ok()?;
        owners.entry((host, u16::try_from(port).ok()?)).or_default().push(slots);
    }
    // In one order, whoever was asked.
    owners.values_mut().for_each(|slots| slots.sort_by_key(|range| *range.start()));
    Some(owners)
}

/// Makes the servers those of `owners`: keeps connections that stay, starts and ends others, moves what is followed.
///
/// Nobody else changes the topology, and those who follow and publish must not wait; so the lock is held for two short
/// moments, and what is followed between them is seen to in the second.
fn apply(asked: &Server, owners: Owners, shared: &Arc<Shared>, map: &RwLock<Map>, stop: &CancellationToken) {
    let before = read(map);
    if before.owners == owners {
        return;
    }
    let mut next = Topology { owners: owners.clone(), ..Topology::default() };
    for ((host, port), slots) in owners {
        let server = asked.at(&host, port);
        let has = |name: &str| slots.iter().any(|range| range.contains(&slot(name)));
        let kept = before.nodes.iter().find(|node| node.part.0 == server.name() && has(&node.probe)).cloned();
        let probe = || (0..PROBES_TRIED).map(|number| shared.inbox.names.probe(number)).find(|name| has(name));
        // A server with slots in which no probe can be sent gets none of our channels either.
        let started = || probe().map(|probe| Node::start(server, probe, shared, stop.child_token()));
        let Some(node) = kept.or_else(started) else { continue };
        next.slots.extend(slots.into_iter().map(|range| (range, next.nodes.len())));
        next.nodes.push(node);
    }
    let next = Arc::new(next);
    let followed = {
        let mut map = map.write().unwrap_or_else(PoisonError::into_inner);
        map.topology = next.clone();
        map.followed.clone()
    };
    for gone in before.nodes.iter().filter(|old| !next.nodes.iter().any(|node| Arc::ptr_eq(node, old))) {
        gone.stop.cancel();
    }
    let names: Vec<String> = followed.iter().map(|channel| shared.inbox.names.of(*channel)).collect();
    let mut moved = false;
    for node in &next.nodes {
        let theirs = names.iter().filter(|name| next.node(name).is_some_and(|owner| Arc::ptr_eq(owner, node)));
        moved |= node.want_only(theirs.cloned().collect());
    }
    let map = map.write().unwrap_or_else(PoisonError::into_inner);
    for channel in map.followed.symmetric_difference(&followed) {
        let name = shared.inbox.names.of(*channel);
        if let Some(node) = next.node(&name) {
            node.want(name, map.followed.contains(channel));
        }
    }
    drop(map);
    if moved {
        shared.inbox.gap();
    }
}

/// The slot of a name, which has no braces: CRC-16/XMODEM, as the cluster specification says.
fn slot(name: &str) -> u16 {
    let crc = name.bytes().fold(0_u16, |crc, byte| {
        let mixed = crc ^ (u16::from(byte) << 8);
        (0..8).fold(mixed, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    });
    crc % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // From the cluster specification and from CLUSTER KEYSLOT.
        assert_eq!([slot("123456789"), slot("foo"), slot("")], [0x31C3 % SLOTS, 12_182, 0]);
    }

    #[test]
    fn a_server_that_does_not_know_its_host_is_at_the_one_that_was_asked() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let range = |from, to, host, port| {
            Value::Array(vec![Value::Int(from), Value::Int(to), Value::Array(vec![host, Value::Int(port), text("id")])])
        };
        let answer = Value::Array(vec![
            range(0, 5, text("a"), 1),
            range(6, 7, Value::Nil, 2),
            range(8, 9, text("a"), 1),
            range(10, 11, text(""), 3),
        ]);
        let found = owners(&answer, "asked").unwrap();
        assert_eq!(found[&("a".to_owned(), 1)], [0..=5, 8..=9]);
        assert_eq!(found[&("asked".to_owned(), 2)], [6..=7]);
        assert_eq!(found[&("asked".to_owned(), 3)], [10..=11]);
        assert!(owners(&Value::Okay, "asked").is_none());
    }
}
