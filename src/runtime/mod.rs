//! The actor runtime: one dedicated thread that hosts every actor, supervised, reached through handles that stay valid
//! across restarts. Actors are plain `actix::Actor` with `actix::Handler<M>`; nothing of Tieout is imported here.
//!
//! In reading order: what callers see (`addr`, `ask`, `error`, `spec`, `state`), how an actor is run (`envelope`, `inbox`, `shared`,
//! `hosted`, `pump`, `incarnation`, `host`, `policy`, `panics`), the threads (`home`, `watchdog`, `core`, `builder`, `system`, `shutdown`). Easy to get wrong: an actor's queue outlives
//! the actor, so whoever ends one must close and empty it (`Shared::finish`), or its askers hang.
#[cfg(panic = "abort")]
compile_error!("the actor runtime catches panics to restart actors: build with panic = \"unwind\"");

mod addr;
mod ask;
mod builder;
mod core;
mod envelope;
mod error;
#[cfg(doctest)]
mod guides;
mod home;
mod host;
mod hosted;
mod inbox;
mod incarnation;
pub mod intervals;
mod panics;
mod policy;
mod pump;
mod shared;
mod shutdown;
mod spec;
mod state;
mod system;
#[cfg(feature = "test-kit")]
pub mod test_kit;
mod watchdog;

pub use addr::Addr;
pub use ask::{Ask, OnRestart};
pub use builder::Builder;
pub use error::{AbortReason, AskError, PanicInfo, SendError, StartError, StopReason, StopTimeout};
pub use spec::{Backoff, ChildSpec, DEFAULT_MAILBOX, Mailbox, OnExhausted, Overflow, Restart};
pub use state::{ActorHealth, Event, Handled, Health, ShutdownReport, Stall, State};
pub use system::Runtime;
pub use watchdog::OnStall;
