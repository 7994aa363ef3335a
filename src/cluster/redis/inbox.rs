//! What comes from the other replicas, on its way to whoever asked for it.
//!
//! Leaves connections to `session`. Easy to get wrong: it is filled from within a connection's own task, so it never
//! waits; what finds no place is dropped, counted and said to be missing.
use super::wire;
use super::wire::Names;
use crate::cluster::relay::{Incoming, ReplicaId};
use tokio::sync::{
    mpsc::{Sender, error::TrySendError},
    watch,
};

/// The receiving end of all connections of a relay.
pub(super) struct Inbox {
    pub(super) replica: ReplicaId,
    pub(super) names: Names,
    pub(super) sender: Sender<Incoming>,
    pub(super) gaps: watch::Sender<u64>,
}

impl Inbox {
    /// Hands on a message as it came over a channel, unless it is our own.
    pub(super) fn take(&self, name: &[u8], message: Vec<u8>) {
        let (Some(channel), Some((from, payload))) = (self.names.channel(name), wire::open(message)) else {
            return dropped("unreadable", 1);
        };
        if from == self.replica {
            return;
        }
        match self.sender.try_send(Incoming { channel, from, payload }) {
            Ok(()) => metrics::counter!("tieout_relay_received_total").increment(1),
            Err(TrySendError::Full(_)) => {
                dropped("receiver_full", 1);
                self.gap();
            }
            // It has stopped listening, and will not ask why.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// Messages may have been lost.
    pub(super) fn gap(&self) {
        self.gaps.send_modify(|gaps| *gaps += 1);
        metrics::counter!("tieout_relay_gaps_total").increment(1);
    }
}

/// Counts messages that reach nobody.
pub(super) fn dropped(reason: &'static str, count: usize) {
    metrics::counter!("tieout_relay_dropped_total", "reason" => reason).increment(count as u64);
}
