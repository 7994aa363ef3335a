//! The relay over Redis, or a Redis Cluster.
//!
//! In reading order: the relay (`remote`), how messages look (`wire`), which server has which channel (`topology`, `server`), one
//! server (`node`) and one connection to it (`session`), what is subscribed (`links`) and what arrives (`inbox`).
mod inbox;
pub(super) mod links;
mod node;
pub(super) mod remote;
pub(super) mod server;
mod session;
mod topology;
mod wire;
