//! The relay over Redis: a message goes to the server that has its channel, and what is followed is heard from there.
//!
//! Leaves each server to `node`, and which has what to `topology`. Easy to get wrong: `publish` is called by those who
//! must not wait, so the only lock it takes is never held across I/O.
use super::inbox::{Inbox, dropped};
use super::links::Links;
use super::node::{Node, Outgoing, Shared};
use super::topology::{Map, Topology};
use super::wire::Names;
use super::{topology, wire};
use crate::cluster::options::{Options, StartError};
use crate::cluster::relay::{Channel, Incoming, Link, MAX_WAITING, ReplicaId};
use bytes::Bytes;
use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longest payload that is sent, in bytes; a longer one is dropped and counted. A room's events are far below.
const MAX_PAYLOAD: usize = 4 << 20;

/// One replica on Redis. Dropped, it has left.
pub(in crate::cluster) struct Remote {
    replica: ReplicaId,
    names: Names,
    map: Arc<RwLock<Map>>,
    incoming: Mutex<Option<mpsc::Receiver<Incoming>>>,
    link: watch::Receiver<Link>,
    gaps: watch::Receiver<u64>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// The longest that a connection may take to end.
    ends_within: Duration,
}

impl Remote {
    /// Starts connecting and returns.
    pub(in crate::cluster) fn start(options: &Options) -> Result<Self, StartError> {
        let mut servers = options.servers()?;
        let names = Names::new(&options.prefix, &options.replica);
        let (sender, receiver) = mpsc::channel(MAX_WAITING);
        let gaps = watch::Sender::new(0);
        let (links, gaps_seen) = (Links::new(), gaps.subscribe());
        let link = links.watch();
        let shared = Arc::new(Shared {
            inbox: Inbox { replica: options.replica.clone(), names: names.clone(), sender, gaps },
            links,
            probe_every: options.probe_every,
            answer_within: options.answer_within,
            sharded: servers.len() > 1,
            refresh: Notify::new(),
            tasks: TaskTracker::new(),
            started: AtomicU64::new(1),
        });
        let (stop, tasks) = (CancellationToken::new(), shared.tasks.clone());
        let always = [Channel::All, Channel::One(options.replica.mark())];
        let followed = HashSet::from(always);
        let map = Arc::new(RwLock::new(Map { followed, topology: Arc::default() }));
        if servers.len() == 1 {
            let node = Node::start(servers.remove(0), names.probe(0), &shared, stop.child_token());
            always.iter().for_each(|channel| node.want(names.of(*channel), true));
            write(&map).topology = Arc::new(Topology::single(node));
        } else {
            tasks.spawn(topology::keep(servers, shared, map.clone(), stop.clone()));
        }
        let incoming = Mutex::new(Some(receiver));
        let ends_within = options.answer_within * 2;
        let replica = options.replica.clone();
        Ok(Self { replica, names, map, incoming, link, gaps: gaps_seen, stop, tasks, ends_within })
    }

    pub(in crate::cluster) fn replica(&self) -> ReplicaId {
        self.replica.clone()
    }

    pub(in crate::cluster) fn publish(&self, channel: Channel, payload: &Bytes) {
        if payload.len() > MAX_PAYLOAD {
            return dropped("too_big", 1);
        }
        let name = self.names.of(channel);
        let topology = self.map.read().unwrap_or_else(PoisonError::into_inner).topology.clone();
        match topology.node(&name) {
            Some(node) => node.publish(Outgoing { name, message: wire::seal(&self.replica, payload) }),
            None => dropped("away", 1),
        }
    }

    pub(in crate::cluster) fn follow(&self, channel: Channel, wanted: bool) {
        // Every replica always hears what goes to all and what goes to it.
        let Channel::Room(_) = channel else { return };
        let mut map = write(&self.map);
        let news = if wanted { map.followed.insert(channel) } else { map.followed.remove(&channel) };
        let name = self.names.of(channel);
        // A server that is not known yet is told when it is.
        if let (true, Some(node)) = (news, map.topology.node(&name)) {
            node.want(name, wanted);
        }
    }

    pub(in crate::cluster) fn incoming(&self) -> Option<mpsc::Receiver<Incoming>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(in crate::cluster) fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    pub(in crate::cluster) fn gaps(&self) -> watch::Receiver<u64> {
        self.gaps.clone()
    }

    pub(in crate::cluster) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if timeout(self.ends_within, self.tasks.wait()).await.is_err() {
            log::warn!("the relay did not end in time tasks={}", self.tasks.len());
        }
    }
}

fn write(map: &RwLock<Map>) -> std::sync::RwLockWriteGuard<'_, Map> {
    // A map is whole after every call that could panic.
    map.write().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.replica)
    }
}
