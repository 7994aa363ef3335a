//! For programs that import actix's prelude too: `use tieout_runtime::prelude::*;` beside `use actix::prelude::*;` clashes in no name. What
//! both have under one name has another here: [`SupervisedAddr`], [`SupervisedRecipient`], [`WeakSupervisedAddr`].
//!
//! ```
//! use tieout_runtime::{actix::prelude::*, prelude::*};
//!
//! struct Idle;
//! impl Actor for Idle {
//!     type Context = Context<Self>;
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rt = Runtime::builder().start()?;
//! let idle: SupervisedAddr<Idle> = rt.supervise(ChildSpec::new("idle", |_: &mut Context<Idle>| Idle)).await?;
//! idle.stop(std::time::Duration::from_secs(1)).await?;
//! # rt.shutdown(std::time::Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
pub use crate::{
    Addr as SupervisedAddr, AskError, Backoff, ChildSpec, Event, Group, GroupSpec, Mailbox, OnExhausted, OnRestart,
    OnStall, Overflow, OwnContext, Placement, Recipient as SupervisedRecipient, Recover, Restart, Runtime, StartError,
    StopError, StopReason, Strategy, WeakAddr as WeakSupervisedAddr, WeakRuntime,
};
