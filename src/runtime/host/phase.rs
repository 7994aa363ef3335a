//! What is wished of an actor, and whether it has an instance: what group, host and stop tell each other. Plain data; where it is kept and
//! changed is in `shared` and `lifecycle`.
use std::sync::Arc;

/// How an actor is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Live,
    /// Be down, with the queue kept, until its group says `Live` again.
    Hold,
    Drain,
    End,
}

/// Whether there is an instance, as its group's restart needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Life {
    /// There is none; it is waiting or being held.
    Down,
    /// One is being made.
    Starting,
    /// It takes messages.
    Up,
    /// The last one failed; the group decides.
    Failed(Arc<str>),
    /// There will be none.
    Gone,
}
