//! What crosses from one replica to the others: a relay of small messages that may be lost, and says when they may have been.
//!
//! In reading order: the handle (`relay`), and the relay inside one process (`local`). What the messages mean is left to
//! `actors`. Easy to get wrong: nothing here is a promise; what must not be lost is in the store, and a relay only makes
//! it arrive sooner.
mod local;
mod relay;

pub use local::{Fate, LocalBus};
pub use relay::{Channel, Incoming, Link, Relay, ReplicaId};
