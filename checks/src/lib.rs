//! Model checks of the runtime's own concurrent code: the very source files of `src/runtime`, compiled with loom's or shuttle's
//! primitives in place of std's. `./run` runs all of it. Easy to get wrong: loom and shuttle see only what goes
//! through `sync::primitives`, and tokio's own queue is not instrumented: `queue` here is a stand-in for it, small and with the same
//! promises (a granted place survives `close`), so what is proved is our hand-over, not tokio's channel.
#![allow(dead_code)] // a check uses what it needs of a file

mod sync;

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
