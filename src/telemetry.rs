//! Log set-up and the metrics registry of the process.
//!
//! Leaves what is logged and counted to whoever knows; they use the `log` and `metrics` facades. Easy to get wrong:
//! both registries are per process and may be installed once; a second call (a test that starts two apps) is fine.
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Upper bounds, in seconds, of the buckets of every `…_seconds` histogram: from a cheap actor turn to a long request.
const SECONDS_BUCKETS: &[f64] = &[0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Writes log lines of `level` and worse to standard error. Does nothing when a logger is installed already.
pub fn start_log(level: log::LevelFilter) {
    let libraries = if level == log::LevelFilter::Trace { level } else { level.min(log::LevelFilter::Warn) };
    let installed = env_logger::Builder::new()
        .filter_level(libraries)
        .filter_module("tieout", level)
        .format_timestamp_millis()
        .try_init();
    if let Err(error) = installed {
        log::debug!("the logger stays as it is: {error}");
    }
}

/// Installs the metrics registry, once; the text of all metrics is then in [`render_metrics`].
pub fn start_metrics() {
    METRICS.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS_BUCKETS)
            .inspect_err(|error| log::error!("metrics are off: {error}"))
            .ok()?;
        builder.install_recorder().inspect_err(|error| log::error!("metrics are off: {error}")).ok()
    });
}

/// All metrics as Prometheus text; empty when there is no registry.
pub fn render_metrics() -> String {
    let Some(Some(handle)) = METRICS.get() else { return String::new() };
    // Folds recorded samples into their buckets; without it they would pile up between two scrapes.
    handle.run_upkeep();
    handle.render()
}

/// Folds recorded samples into their buckets. The app calls it now and then, for processes that nobody scrapes.
pub fn fold_metrics() {
    if let Some(Some(handle)) = METRICS.get() {
        handle.run_upkeep();
    }
}
