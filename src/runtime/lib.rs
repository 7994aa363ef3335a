//! The actor runtime: a thread of its own that hosts every actor (or several, `Builder::threads`), supervised, reached through handles
//! that stay valid across restarts. Actors are plain `actix::Actor` with `actix::Handler<M>`; nothing of Tieout is imported here. The contract is `docs/RUNTIME.md`.
//!
//! By subject: `handle` (what callers hold and say), `mailbox` (between sender and actor), `host` (an actor on its thread), `tree`
//! (supervision), `thread` (threads, watchdog, what is shared), `sync` (the pieces that loom and shuttle check). Easy to get wrong: an
//! actor's queue outlives the actor, so whoever ends one must close and empty it (`Shared::finish`), or its askers hang.
#[cfg(panic = "abort")]
compile_error!("the actor runtime catches panics to restart actors: build with panic = \"unwind\"");

mod handle;
mod host;
mod mailbox;
mod sync;
mod thread;
mod tree;

#[cfg(doctest)]
mod guides;
pub mod intervals;
pub mod prelude;
#[cfg(feature = "test-kit")]
pub mod test_kit;

/// The actix whose actors are hosted here. Its derive macros name the crate `actix`, so a program that uses them depends on it as well.
pub use actix;

pub use handle::{
    addr::Addr,
    ask::{Ask, OnRestart, SWEPT_FROM},
    builder::Builder,
    control::Control,
    error::{AbortReason, AskError, PanicInfo, StartError, StopError, StopReason},
    event::{Event, RestartReason},
    events::{Events, EventsError},
    group::Group,
    health::{ActorHealth, GroupHealth, Health, RuntimeFailure},
    own::OwnContext,
    recipient::Recipient,
    recover::{DEFAULT_SNAPSHOT_TRIES, Recover},
    runtime::Runtime,
    send_error::SendError,
    spec::{Backoff, ChildSpec, DEFAULT_MAILBOX, Mailbox, OnExhausted, Overflow, Placement, Restart},
    state::{Handled, ShutdownReport, Stall, State},
    watch::{Watch, WatchEnded},
    weak_addr::WeakAddr,
    weak_runtime::WeakRuntime,
};
pub use mailbox::{dead::Rejected, inbox::CONTROL_MAILBOX};
pub use thread::watchdog::OnStall;
pub use tree::{
    group_spec::{GroupSpec, GroupState, Strategy},
    shutdown::StopReport,
};
