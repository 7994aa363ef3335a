//! What lies between a sender and an actor: envelopes, the queue with its two lanes, replies under way, the sweep of deadlines.
pub(crate) mod dead;
pub(crate) mod door;
pub(crate) mod envelope;
pub(crate) mod inbox;
#[cfg(test)]
mod inbox_tests;
pub(crate) mod replies;
pub(crate) mod sweep;
pub(crate) mod times;
