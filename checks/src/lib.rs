//! Model checks of the runtime's own concurrent code: the very source files of `src/runtime`, compiled with loom's or shuttle's
//! primitives in place of std's. What is checked is in `tests/`; `./run` runs all of it. Easy to get wrong: loom and shuttle see
//! only what goes through `sync`, and tokio's own queue is not instrumented: `queue` here is a stand-in for it, small and
//! with the same promises (a granted place survives `close`), so what is proved is our hand-over, not tokio's channel.
#![allow(dead_code)] // a check uses what it needs of a file

#[path = "../../src/runtime/close.rs"]
pub(crate) mod close;
#[path = "../../src/runtime/due.rs"]
pub(crate) mod due;
#[path = "../../src/runtime/hand.rs"]
pub(crate) mod hand;
#[path = "../../src/runtime/once.rs"]
pub(crate) mod once;
#[path = "../../src/runtime/reply.rs"]
pub(crate) mod reply;
#[cfg(not(any(loom, shuttle)))]
#[path = "../../src/runtime/sync.rs"]
pub(crate) mod sync;
#[cfg(any(loom, shuttle))]
pub(crate) mod sync;

#[cfg(test)]
mod deadlines;
#[cfg(test)]
mod hand_over;
#[cfg(test)]
mod interleave;
#[cfg(test)]
mod queue;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod slot;
#[cfg(all(test, not(any(loom, shuttle))))]
mod slot_random;
