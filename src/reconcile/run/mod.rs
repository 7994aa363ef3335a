//! A run: every step in its order, and what it would cost.
mod dry_run;
mod pipeline;

pub use dry_run::{Estimate, estimate};
pub(crate) use pipeline::step;
pub use pipeline::{RunError, compare_parts, inferred_rules, run, run_adjusted, run_inferred};
