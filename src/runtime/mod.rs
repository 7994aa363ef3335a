//! The actor runtime: one dedicated thread that hosts every actor, supervised, reached through handles that stay valid
//! across restarts. Actors are plain `actix::Actor` with `actix::Handler<M>`; nothing of Tieout is imported here.
//!
//! In reading order: what callers see (`addr`, `ask`, `tell`, `control`, `recipient`, `error`, `spec`, `state`, `dead`), how an actor is run
//! (`envelope`, `reply`, `inbox`, `hand`, `close`, `shared`, `pump`, `cycle`, `host`, `policy`, `panics`), the threads (`home`, `watchdog`,
//! `core`, `system`). Easy to get wrong: an actor's queue outlives the actor, so whoever ends one must close and empty it
//! (`Shared::finish`), or its askers hang.
#[cfg(panic = "abort")]
compile_error!("the actor runtime catches panics to restart actors: build with panic = \"unwind\"");

mod addr;
mod ask;
mod close;
mod control;
mod core;
mod cycle;
mod dead;
mod envelope;
mod error;
mod hand;
mod home;
mod host;
mod inbox;
#[cfg(test)]
mod inbox_tests;
mod panics;
mod policy;
mod pump;
mod recipient;
mod reply;
mod shared;
mod spec;
mod state;
mod sync;
mod system;
mod tell;
mod watchdog;

pub use addr::Addr;
pub use ask::{Ask, OnRestart, SWEPT_FROM};
pub use control::Control;
pub use dead::Rejected;
pub use error::{AbortReason, AskError, PanicInfo, SendError, StartError, StopReason, StopTimeout};
pub use recipient::Recipient;
pub use spec::{Backoff, ChildSpec, DEFAULT_MAILBOX, Mailbox, OnExhausted, Overflow, Restart};
pub use state::{ActorHealth, Event, Handled, Health, ShutdownReport, Stall, State};
pub use system::{Builder, Runtime};
pub use tell::CONTROL_MAILBOX;
pub use watchdog::OnStall;
