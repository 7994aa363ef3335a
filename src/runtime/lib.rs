//! The actor runtime: one dedicated thread that hosts every actor, supervised, reached through handles that stay valid
//! across restarts. Actors are plain `actix::Actor` with `actix::Handler<M>`; nothing of Tieout is imported here. The contract is `docs/RUNTIME.md`.
//!
//! In reading order: what callers see (`addr`, `ask`, `tell`, `control`, `recipient`, `error`, `send_error`, `spec`, `group`, `recover`, `state`, `watch`, `event`,
//! `health`, `dead`), how an actor is run (`envelope`, `reply`, `inbox`, `hand`, `close`, `shared`, `lifecycle`, `replies`, `due`, `sweep`, `hosted`, `pump`, `cycle`,
//! `incarnation`, `host`, `policy`, `group_node`, `group_restart`, `panics`), the threads (`home`, `watchdog`, `rehome`, `system_thread`, `timer`, `core`, `builder`,
//! `start`, `system`, `once`, `shutdown`). Easy to
//! get wrong: an actor's queue outlives the actor, so whoever ends one must close and empty it (`Shared::finish`), or its askers hang.
#[cfg(panic = "abort")]
compile_error!("the actor runtime catches panics to restart actors: build with panic = \"unwind\"");

mod addr;
mod ask;
mod builder;
mod close;
mod control;
mod core;
mod cycle;
mod dead;
mod due;
mod envelope;
mod error;
mod event;
mod group;
mod group_node;
mod group_restart;
#[cfg(doctest)]
mod guides;
mod hand;
mod health;
mod home;
mod host;
mod hosted;
mod inbox;
#[cfg(test)]
mod inbox_tests;
mod incarnation;
pub mod intervals;
mod lifecycle;
mod once;
mod panics;
mod policy;
mod pump;
mod recipient;
mod recover;
mod rehome;
mod replies;
mod reply;
mod send_error;
mod shared;
mod shutdown;
mod spec;
mod start;
mod state;
mod sweep;
mod sync;
mod system;
mod system_thread;
mod tell;
#[cfg(feature = "test-kit")]
pub mod test_kit;
mod timer;
mod watch;
mod watchdog;

pub use addr::Addr;
pub use ask::{Ask, OnRestart, SWEPT_FROM};
pub use builder::Builder;
pub use control::Control;
pub use dead::Rejected;
pub use error::{AbortReason, AskError, PanicInfo, StartError, StopError, StopReason};
pub use event::{Event, RestartReason};
pub use group::{Group, GroupSpec, GroupState, Strategy};
pub use health::{ActorHealth, GroupHealth, Health, RuntimeFailure};
pub use recipient::Recipient;
pub use recover::{DEFAULT_SNAPSHOT_TRIES, Recover};
pub use send_error::SendError;
pub use shutdown::StopReport;
pub use spec::{Backoff, ChildSpec, DEFAULT_MAILBOX, Mailbox, OnExhausted, Overflow, Restart};
pub use state::{Handled, ShutdownReport, Stall, State};
pub use system::Runtime;
pub use tell::CONTROL_MAILBOX;
pub use watch::{Watch, WatchEnded};
pub use watchdog::OnStall;
