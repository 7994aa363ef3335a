//! The hub: rooms, order, membership, presence, claims and progress, and the shards that write for it.
//!
//! In reading order: what is asked (`messages`), the decisions (`core` over `room` and `claims`, pure), the actor shell
//! (`actor`), who is at other replicas and what they are told (`remote`, `share`), what shards are handed (`jobs` through `queue`) and how they write it (`workers`, `shard`, `line`, `pace`, `peer`, `outbox`),
//! what ends in time (`expiry`), limits, counters (`meters`). It leaves parsing
//! and authentication to `http::ws`. Easy to get wrong: the actor's turn must not depend on a room's size.
pub mod actor;
pub mod claims;
pub mod core;
pub mod expiry;
pub mod jobs;
pub mod limits;
mod line;
pub mod messages;
pub mod meters;
pub mod outbox;
pub mod pace;
pub mod peer;
pub mod presence;
pub mod queue;
pub mod remote;
pub mod room;
pub mod shard;
pub mod share;
pub mod users;
pub mod workers;

pub use actor::Hub;
pub use claims::{Claim, ClaimRefused};
pub use limits::{Limits, Shared};
pub use peer::Peer;
pub use presence::PresenceLimits;
