//! The hub: the actor that orders the events of every room, and the handle by which the process reaches it.
//!
//! The handle is in `handle`, with its parts `publishing`, `encode` and `connections`; the actor in `actor`. What the actor decides is in
//! [`rooms`](super::rooms), what it has written to clients in [`sockets`](super::sockets). Easy to get wrong: a turn of the actor must
//! not depend on the size of a room.
pub mod actor;
mod connections;
pub(super) mod encode;
mod error;
mod handle;
mod health;
mod options;
mod publishing;

pub use actor::Hub;
pub use connections::{Admission, Place, RefusalPlace, SentAway};
pub use error::{ClaimError, RealtimeError};
pub use handle::{HUB_MAILBOX, Realtime};
pub use health::RealtimeHealth;
pub use options::{Mode, Options};
