//! The metrics registry of the process, and its text for Prometheus.
//!
//! Leaves counting to whoever knows, by the `metrics` facade, and what each metric means to `list`. Easy to get wrong: a
//! handle that is made before the registry is installed counts into nothing, so the app installs it first of all.
use super::list::{Kind, METRICS};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// Upper bounds, in seconds, of the buckets of every `…_seconds` histogram: from a cheap actor turn to a long request.
const SECONDS_BUCKETS: &[f64] = &[0.000_01, 0.000_1, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

static REGISTRY: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the metrics registry, once; the text of all metrics is then in [`render_metrics`].
pub fn start_metrics() {
    REGISTRY.get_or_init(|| {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS_BUCKETS)
            .inspect_err(|error| log::error!("metrics are off: {error}"))
            .ok()?;
        let handle = builder.install_recorder().inspect_err(|error| log::error!("metrics are off: {error}")).ok()?;
        describe();
        Some(handle)
    });
}

/// Gives each metric of the list its help text.
fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.what),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.what),
            Kind::Histogram => metrics::describe_histogram!(metric.name, metric.what),
        }
    }
}

/// All metrics as Prometheus text; empty when there is no registry.
pub fn render_metrics() -> String {
    let Some(Some(handle)) = REGISTRY.get() else { return String::new() };
    // Folds recorded samples into their buckets; without it they would pile up between two scrapes.
    handle.run_upkeep();
    handle.render()
}

/// Folds recorded samples into their buckets. The app calls it now and then, for processes that nobody scrapes.
pub fn fold_metrics() {
    if let Some(Some(handle)) = REGISTRY.get() {
        handle.run_upkeep();
    }
}
