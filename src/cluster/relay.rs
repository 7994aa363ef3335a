//! The handle of the relay: publish to the other replicas, follow channels, hear what came and what may not have come.
//!
//! Leaves the way to the others to its kinds. Easy to get wrong: it never waits and never fails its caller, so whoever
//! needs to know of losses watches [`Relay::gaps`].
use super::local::{Endpoint, LocalBus};
use super::options::{Options, StartError};
use super::redis::remote::Remote;
use crate::protocol::ids::ProjectId;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::{fmt, sync::Arc};
use tokio::sync::{mpsc, watch};
use uuid::Uuid;

/// Messages that may wait to be taken from [`Relay::incoming`]; past it they are dropped and the gaps rise.
pub(super) const MAX_WAITING: usize = 4_096;

/// Names one life of one replica: a restarted process is another one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ReplicaId(Arc<str>);

impl ReplicaId {
    /// A new life of the replica `name`.
    pub fn new(name: &str) -> Self {
        let mut life = Uuid::new_v4().simple().to_string();
        life.truncate(12);
        Self(format!("{name}-{life}").into())
    }

    /// As another replica wrote it.
    pub fn from_wire(text: &str) -> Self {
        Self(text.into())
    }

    /// A number that stands for it where a name would be too long.
    pub fn mark(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(self.0.as_bytes()));
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Channel {
    /// To the replicas that follow this project's room.
    Room(ProjectId),
    /// To every replica; nobody needs to follow it.
    All,
    /// To the replica with this mark, which need not follow it.
    One(u64),
}

/// A message of another replica.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Where it was sent.
    pub channel: Channel,
    /// By whom.
    pub from: ReplicaId,
    /// What, as it was published.
    pub payload: Bytes,
}

/// Whether messages get through, as far as is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// Within one process; there is nothing to fail.
    Local,
    /// A message of our own came back a short while ago.
    Up,
    /// None does.
    Down {
        /// Why, for people.
        reason: String,
    },
}

impl Link {
    /// Whether messages get through.
    pub fn is_up(&self) -> bool {
        !matches!(self, Self::Down { .. })
    }
}

/// The handle. Cheap to clone. Never blocks and never fails its caller: queues are bounded, and what does not fit is
/// dropped, counted and shown by [`Relay::gaps`].
#[derive(Clone, Debug)]
pub struct Relay(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Local(Endpoint),
    Redis(Remote),
}

impl Relay {
    /// A replica on `bus`. Several on one bus are replicas of one installation, within one process.
    pub fn local(bus: &LocalBus, replica: ReplicaId) -> Self {
        Self(Arc::new(Kind::Local(bus.join(replica))))
    }

    /// A replica on the servers of `options`, or on a bus of its own when there are none. Returns at once: servers that are
    /// away are tried until they are there. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Options that can never work.
    pub fn start(options: &Options) -> Result<Self, StartError> {
        if options.urls.is_empty() {
            return Ok(Self::local(&LocalBus::new(), options.replica.clone()));
        }
        Ok(Self(Arc::new(Kind::Redis(Remote::start(options)?))))
    }

    /// Who this is.
    pub fn replica(&self) -> ReplicaId {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.replica(),
            Kind::Redis(remote) => remote.replica(),
        }
    }

    /// Whether it is certain that nobody else can hear: what would be published need not even be made. Costs no lock.
    pub fn is_alone(&self) -> bool {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.is_alone(),
            Kind::Redis(_) => false,
        }
    }

    /// Send to the other replicas that listen to `channel`; never to this one. What one replica sends to one channel is
    /// received in this order as a rule, but may be lost, doubled or late.
    pub fn publish(&self, channel: Channel, payload: Bytes) {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.publish(channel, &payload),
            Kind::Redis(remote) => remote.publish(channel, &payload),
        }
    }

    /// Listen to `channel` from now on; again and again is once. Stays so through any loss of the link.
    pub fn follow(&self, channel: Channel) {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.follow(channel),
            Kind::Redis(remote) => remote.follow(channel, true),
        }
    }

    /// Listen to `channel` no more.
    pub fn unfollow(&self, channel: Channel) {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.unfollow(channel),
            Kind::Redis(remote) => remote.follow(channel, false),
        }
    }

    /// What the others send. Given once; it ends after [`Relay::stop`].
    pub fn incoming(&self) -> Option<mpsc::Receiver<Incoming>> {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.incoming(),
            Kind::Redis(remote) => remote.incoming(),
        }
    }

    /// Whether messages get through.
    pub fn link(&self) -> watch::Receiver<Link> {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.link(),
            Kind::Redis(remote) => remote.link(),
        }
    }

    /// Rises whenever messages may have been lost: the receiver then compares what it has with the store.
    pub fn gaps(&self) -> watch::Receiver<u64> {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.gaps(),
            Kind::Redis(remote) => remote.gaps(),
        }
    }

    /// Say no more and hear no more. What was published before is still sent where the way allows it.
    pub async fn stop(&self) {
        match &*self.0 {
            Kind::Local(endpoint) => endpoint.leave(),
            Kind::Redis(remote) => remote.stop().await,
        }
    }
}
