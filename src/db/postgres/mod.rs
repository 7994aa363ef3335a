//! PostgreSQL: where it is, how it is reached, kept usable, and written in bulk.
//!
//! Reading order: the address, the connector, the opener that the supervisor drives, the copier.
mod address;
mod connector;
mod copier;
mod opener;

pub use address::{Address, BadAddress};
pub(crate) use connector::Connector;
pub(crate) use copier::{CopyConnections, copy, evict};
pub(crate) use opener::{Opener, answered, lock_schema, unlock_schema, until};
