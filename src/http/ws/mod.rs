//! The WebSocket door: the upgrade, one task per connection that reads, and the dialogue that obeys.
//!
//! Writing is shared with the shards through `actors::hub::peer`. Easy to get wrong: nothing here writes to the
//! socket except through the peer's outbox.
mod dialogue;
mod flood;
mod handshake;
mod rate;
mod socket;

pub use dialogue::Dialogue;
pub use handshake::{Door, Refused, SUBPROTOCOL, Upgrading, Verify, upgrade};
pub use socket::{Listener, Socket};
