//! Logs and metrics of the process: how they are set up, and the one list of metrics.
//!
//! Whoever knows something counts it, by the facades `log` and `metrics`. Easy to get wrong: a metric that is not in
//! [`METRICS`] has no help text and no place in docs/METRICS.md; a test looks for it in the source.
mod list;
mod logging;
mod registry;

pub use list::{Kind, METRICS, Metric};
pub use logging::start_log;
pub use registry::{fold_metrics, render_metrics, start_metrics};
