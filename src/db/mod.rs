//! All SQL: one store interface, its schema and its migrations.
//!
//! Reading order: the handle and its life ([`store`]), then one file per noun with one function per intent, each
//! in one transaction. It leaves authorisation, live delivery and status codes to its callers.
mod bulk;
mod clock;
mod error;
mod meters;
mod migrate;
mod migrations;
mod paging;
mod pool;
pub mod postgres;
mod schema;
mod sql_types;
#[cfg(test)]
mod sql_types_tests;
mod sqlite;
pub mod store;
mod supervisor;
mod trouble;

pub mod checkpoints;
pub mod claims;
pub mod events;
pub mod installation;
pub mod jobs;
mod jobs_run;
mod jobs_wishes;
pub mod parts;
pub mod projects;
pub mod publications;
pub mod records;
pub mod results;
pub mod snapshot;
pub mod sources;
pub mod staging;
pub mod sweep;
mod wording;

pub use error::StoreError;
pub use events::{Committed, DurableEvent, Page, Position};
pub use migrate::Step;
pub use migrations::Migrations;
pub use postgres::{Address, BadAddress};
pub(crate) use sqlite::lockfile::LockFile as DataLock;
pub use store::{Options, Place, StartError, Status, Store};
