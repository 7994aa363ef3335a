//! Tieout: a reconciliation server with live collaboration.
//!
//! The crate in reading order, from the bottom up; imports only go down:
//!
//! * level 0, crates of their own, which know nothing of the product above them: [`runtime`] (the actor thread),
//!   [`reconcile`] (the matching engine, pure), [`protocol`] (what crosses the wire);
//! * level 1: [`db`] (all SQL), [`cluster`] (what crosses replicas);
//! * level 2: [`actors`] (the hub, the job dispatcher and its runners, the janitor);
//! * level 3: [`http`] (hyper, the routes, WebSocket);
//! * level 4: the composition root, the settings and the command line.
pub mod actors;
pub mod app;
pub mod cli;
pub mod cluster;
pub mod config;
pub mod db;
pub mod http;
pub mod telemetry;
pub mod uploads;

pub use tieout_protocol as protocol;
pub use tieout_reconcile as reconcile;
pub use tieout_runtime as runtime;
