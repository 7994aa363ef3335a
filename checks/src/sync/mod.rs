//! The files of `src/runtime/sync`, by path and not through a feature of that crate: loom and shuttle would then be optional dependencies
//! of the product, in its lock file and in what `cargo deny` looks at.
#[cfg(any(loom, shuttle))]
pub(crate) mod primitives;
#[cfg(not(any(loom, shuttle)))]
#[path = "../../../src/runtime/sync/primitives.rs"]
pub(crate) mod primitives;

#[path = "../../../src/runtime/sync/close.rs"]
pub(crate) mod close;
#[path = "../../../src/runtime/sync/due.rs"]
pub(crate) mod due;
#[path = "../../../src/runtime/sync/hand.rs"]
pub(crate) mod hand;
#[path = "../../../src/runtime/sync/listed.rs"]
pub(crate) mod listed;
#[path = "../../../src/runtime/sync/once.rs"]
pub(crate) mod once;
#[path = "../../../src/runtime/sync/reply.rs"]
pub(crate) mod reply;
