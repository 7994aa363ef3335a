//! The command line: one file per command, and the help that teaches.
//!
//! Leaves settings to `config`. Without a command, `tieout` serves.
pub mod healthcheck;
pub mod serve;

mod arguments;

pub use arguments::{Arguments, Command};
