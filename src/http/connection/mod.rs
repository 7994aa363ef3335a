//! Connections as the network gives them: accepted within limits, watched, and ended when they stand still.
//!
//! `listener` accepts, `shares` bounds what one address has; `wire` is the TCP stream, `frames` counts what floods it, `streams` are
//! those of one HTTP/2 connection.
mod frames;
pub(super) mod listener;
pub(super) mod shares;
pub(super) mod streams;
pub(super) mod wire;
