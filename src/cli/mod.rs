//! The command line: one file per command, and the help that teaches.
//!
//! Leaves settings to `config`. Easy to get wrong: without a command, `tieout` serves.
pub mod backup;
pub mod dedupe;
pub mod epochs;
pub mod evaluate;
pub mod generate;
pub mod healthcheck;
pub mod migrate;
mod reading;
pub mod reconcile;
pub mod restore;
mod results;
pub mod serve;
pub mod sweep;

mod arguments;
mod input;
mod opened;
mod output;

pub use arguments::{Arguments, Command};
pub use reconcile::{ReconcileArgs, run as run_reconcile};
