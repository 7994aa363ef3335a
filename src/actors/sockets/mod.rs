//! Connections and the threads that write to them: a shard has some of all connections, and gets commands through a queue.
//!
//! In reading order: the `commands` and their `queue`, the threads (`workers`) and their `shard`s, a connection as its shard
//! sees it (`line`) and as the others do (`peer`), what waits to be written (`outbox`) at which `pace`, `users` and their connections,
//! sessions that end in time (`expiry`).
pub mod commands;
pub mod expiry;
mod line;
pub mod outbox;
pub mod pace;
pub mod peer;
pub mod queue;
pub mod shard;
pub mod users;
pub mod workers;

pub use peer::Peer;
