//! The WebSocket door: the upgrade, one task per connection that reads, and the dialogue that obeys.
//!
//! Writing is shared with the shards through `actors::hub::peer`. Easy to get wrong: nothing here writes to the
//! socket except through the peer's outbox.
mod dialogue;
mod flood;
mod handshake;
mod rate;
mod refusal;
mod socket;

pub use dialogue::Dialogue;
pub(in crate::http) use dialogue::welcome;
pub use handshake::{Door, Refused, SUBPROTOCOL, Upgrading, Verify, check, upgrade};
pub use refusal::{Closing, close_at_once};
pub use socket::{Listener, Socket};
