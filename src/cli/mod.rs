//! The command line's own commands: what a person runs without a server.
pub mod reconcile;

pub use reconcile::{ReconcileArgs, run as run_reconcile};
