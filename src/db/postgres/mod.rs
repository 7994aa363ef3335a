//! PostgreSQL: where it is, how it is reached, kept usable, and written in bulk.
//!
//! Reading order: the address; the socket, the wire (its bytes, looked at) and the connector; the pools' connections, those that
//! fell silent, and the pooler that may be between; the opener that the supervisor drives; the copier.
mod address;
pub(super) mod appending;
mod connections;
mod connector;
mod copier;
pub(super) mod locks;
mod opener;
mod pooler;
mod silence;
mod socket;
pub mod wakeups;
mod wire;

pub use address::{Address, BadAddress};
pub(crate) use connections::{CopyConnections, DieselConnections};
pub(crate) use connector::{Connector, Hearer, Linked};
pub(crate) use copier::{copy, evict};
pub(crate) use opener::{Opener, Writes, answered, lock_schema, unlock_schema, until};
pub(crate) use wire::Line;
