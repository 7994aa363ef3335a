//! A run: rules bound to two tables, then every step in order, with progress out, cancellation in, and parts that outlive
//! it.
mod control;
mod parts;

mod plan;

mod dry_run;
mod pipeline;

pub(crate) use control::Meter;
pub use control::{Cancelled, Control, Phase, Progress, Unattended};
pub use dry_run::{Estimate, estimate};
pub(crate) use parts::{LEAST_ROWS, in_parts};
pub use parts::{Part, Parts};
pub(crate) use pipeline::step;
pub use pipeline::{RunError, compare_parts, inferred_rules, run, run_adjusted, run_inferred};
pub(crate) use plan::{EVERY_PAIR, Plan};
