//! What crosses from one replica to the others: a relay of small messages that may be lost, and says when they may have been.
//!
//! In reading order: the handle (`relay`), the relay inside one process (`local`), and the one over Redis (`remote`): what
//! it needs stands in `options`. What the messages mean is left to `actors`. Easy to get wrong: nothing here is a promise;
//! what must not be lost is in the store, and a relay only makes it arrive sooner.
mod local;
mod options;
mod redis;
mod relay;

pub use local::{Fate, LocalBus};
pub use options::{Options, StartError};
pub use relay::{Channel, Incoming, Link, Relay, ReplicaId};
