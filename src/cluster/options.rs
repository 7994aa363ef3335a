//! What a relay needs to know, and what about it can never work.
//!
//! Leaves reading addresses to `server`. Easy to get wrong: an address holds a password, so neither these options nor
//! their errors may show one.
use super::redis::server::Server;
use super::relay::ReplicaId;
use std::{fmt, time::Duration};

/// Longest name of a replica as its messages carry it, in bytes.
pub(super) const MAX_REPLICA: usize = 200;
/// Longest prefix of channel names, in bytes.
const MAX_PREFIX: usize = 64;

/// How replicas reach each other.
#[derive(Clone)]
pub struct Options {
    /// Starts the names of all channels; the replicas of one installation share it, and no others do.
    pub prefix: String,
    /// Who this is.
    pub replica: ReplicaId,
    /// Addresses, `redis://` or `rediss://`. None: there are no other replicas. Several are nodes of one cluster.
    pub urls: Vec<String>,
    /// Time between two probes of a link that is idle otherwise.
    pub probe_every: Duration,
    /// How long a probe, a command or a new connection may take; past it the connection is given up.
    pub answer_within: Duration,
}

impl Options {
    /// No addresses, the prefix `tieout`, and the times that suit a network.
    pub fn new(replica: ReplicaId) -> Self {
        Self {
            prefix: "tieout".to_owned(),
            replica,
            urls: Vec::new(),
            probe_every: Duration::from_secs(10),
            answer_within: Duration::from_secs(2),
        }
    }

    /// The servers behind the addresses.
    ///
    /// # Errors
    /// What about these options can never work.
    pub(super) fn servers(&self) -> Result<Vec<Server>, StartError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > MAX_PREFIX || !self.prefix.chars().all(plain) {
            return Err(StartError::Prefix(self.prefix.clone()));
        }
        if self.replica.as_str().len() > MAX_REPLICA {
            return Err(StartError::Replica(self.replica.to_string()));
        }
        if self.probe_every.is_zero() || self.answer_within.is_zero() {
            return Err(StartError::Time);
        }
        let parse = |(index, url): (usize, &String)| {
            Server::parse(url).map_err(|reason| StartError::Url { number: index + 1, reason })
        };
        self.urls.iter().enumerate().map(parse).collect()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, replica, urls, probe_every, answer_within } = self;
        let shown = format_args!("{} of them", urls.len());
        let mut all = f.debug_struct("Options");
        all.field("prefix", prefix).field("replica", replica).field("urls", &shown);
        all.field("probe_every", probe_every).field("answer_within", answer_within).finish()
    }
}

/// Options that can never work. A Redis that is away is not among them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StartError {
    /// An address can't be used.
    #[error("address {number} of the relay: {reason}")]
    Url {
        /// Which one, from 1.
        number: usize,
        /// What is wrong with it, without the address itself.
        reason: String,
    },
    /// The prefix can't start a channel's name.
    #[error("the relay's prefix {0:?}: expected 1 to {MAX_PREFIX} letters, digits, `-`, `_` or `.`")]
    Prefix(String),
    /// The replica's name is too long for a message.
    #[error("the replica's name {0:?} is longer than {MAX_REPLICA} bytes")]
    Replica(String),
    /// A time is zero.
    #[error("the relay's times must be longer than zero")]
    Time,
}
