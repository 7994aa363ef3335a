//! Live connections: WebSockets, event streams and the tickets that open them.
//!
//! `ws` and `sse` are the two ways; `tickets` are given out by a request and open one connection; `elsewhere` asks the replica that
//! gave out a ticket or has a stream.
pub(crate) mod elsewhere;
pub(crate) mod sse;
pub(crate) mod tickets;
pub mod ws;
