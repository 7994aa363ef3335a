//! The event-stream door (`GET /events`): the frames of the WebSocket as server-sent events.
//!
//! In reading order: what a frame looks like as an event ([`text`]), the open streams and how a client talks back to one
//! ([`registry`]), and the task that feeds a response ([`stream`]). Order, membership and bounds are the hub's and the
//! peer's, as for a WebSocket.
mod registry;
mod stream;
mod text;

pub(in crate::http) use registry::NoStream;
pub use registry::Streams;
pub(in crate::http) use stream::{Opening, open};
