//! What the hub reads from the store: the events that a member has missed, and changes of claims.
//!
//! `reader` has the reads and their limits; `catching_up` lets connections that miss the same events share one read.
mod catching_up;
mod reader;

pub use reader::Reader;
