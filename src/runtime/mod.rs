//! The actor runtime: one dedicated thread that hosts every actor, supervised, reached through handles that stay valid
//! across restarts. Actors are plain `actix::Actor` with `actix::Handler<M>`; nothing of Tieout is imported here.
//!
//! In reading order: what callers see (`addr`, `ask`, `error`, `spec`, `state`), how an actor is run (`envelope`, `inbox`, `shared`,
//! `pump`, `host`, `policy`, `panics`), the threads (`home`, `watchdog`, `core`, `system`). Easy to get wrong: an actor's queue outlives
//! the actor, so whoever ends one must close and empty it (`Shared::finish`), or its askers hang.
#[cfg(panic = "abort")]
compile_error!("the actor runtime catches panics to restart actors: build with panic = \"unwind\"");

mod addr;
mod ask;
mod core;
mod envelope;
mod error;
mod home;
mod host;
mod inbox;
mod panics;
mod policy;
mod pump;
mod shared;
mod spec;
mod state;
mod system;
#[cfg(feature = "test-kit")]
pub mod test_kit;
mod watchdog;

pub use addr::Addr;
pub use ask::{Ask, OnRestart};
pub use error::{AbortReason, AskError, PanicInfo, SendError, StartError, StopReason, StopTimeout};
pub use spec::{Backoff, ChildSpec, DEFAULT_MAILBOX, Mailbox, OnExhausted, Overflow, Restart};
pub use state::{ActorHealth, Event, Handled, Health, ShutdownReport, Stall, State};
pub use system::{Builder, Runtime};
pub use watchdog::OnStall;
