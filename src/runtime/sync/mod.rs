//! The few concurrent pieces without a lock or with one of their own, each small enough for loom and shuttle to run: `checks/` compiles
//! these very files with their primitives, but for `handles`.
pub(crate) mod close;
pub(crate) mod due;
pub(crate) mod hand;
pub(crate) mod handles;
pub(crate) mod listed;
pub(crate) mod once;
pub(crate) mod primitives;
pub(crate) mod reply;
