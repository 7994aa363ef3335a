//! The WebSocket door: the upgrade, and one task per connection that reads and obeys.
//!
//! Writing is shared with the shards through `actors::hub::peer`. Easy to get wrong: nothing here writes to the
//! socket except through the peer's outbox.
mod handshake;
mod rate;
mod session;

pub use handshake::{Door, Refused, SUBPROTOCOL, Verify, upgrade};
