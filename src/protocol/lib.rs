//! What crosses the wire: identifiers, principals, frames, errors and close codes. No I/O.
//!
//! Left to others: reading and writing sockets, order and membership. Easy to get
//! wrong: a server frame is encoded once and shared by every member, so nothing in it may depend on the reader.
pub mod asyncapi;
pub mod bare;
pub mod client;
pub mod close;
#[cfg(feature = "diesel")]
pub mod columns;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod ids;
pub mod json;
pub mod names;
pub mod positions;
pub mod principal;
pub mod schema;
pub mod server;
pub mod trace;

/// The README, so that `cargo test --doc` compiles and runs its code.
#[cfg(doctest)]
#[doc = include_str!("README.md")]
pub struct Readme;

pub use client::{ClientFrame, ClientMessage, parse};
pub use close::CloseCode;
pub use error::ErrorCode;
pub use server::{Head, ServerMessage};
pub use trace::Trace;
