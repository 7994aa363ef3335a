//! Rooms: order, membership, presence, claims and progress, decided without I/O and without a clock.
//!
//! In reading order: the requests (`messages`), the decisions (`core` over `room`, `claims` and `presence`), members at other replicas
//! (`remote`) and what those are told (`share`), limits, counters (`meters`).
pub mod claims;
pub mod core;
pub mod limits;
pub mod messages;
pub mod meters;
pub mod presence;
pub mod remote;
pub mod room;
pub mod share;

pub use claims::{Claim, ClaimRefused};
pub use limits::{Limits, Shared};
pub use presence::PresenceLimits;
