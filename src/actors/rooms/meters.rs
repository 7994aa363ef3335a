//! The hub's counters on its busiest ways, each looked up once.
//!
//! What is counted, and under which name, is in `telemetry`'s list. Easy to get wrong: a handle counts into the registry
//! that was there when it was made, so these are made when the app starts, not before.
use metrics::{Counter, Histogram, counter, histogram};

/// One set of handles. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Meters {
    /// Durable messages for rooms.
    pub published: Counter,
    /// What members and the server say to rooms.
    pub said: Counter,
    /// Durable messages left to the store.
    pub deferred: Counter,
    /// Progress that found no place.
    pub progress_dropped: Counter,
    /// Messages that came too fast.
    pub rate_limited: Counter,
    /// A waiting frame was replaced by a newer one of its key.
    pub conflated: Counter,
    /// An ephemeral frame was dropped for a slow client.
    pub dropped: Counter,
    /// A slow client must join again.
    pub resynced: Counter,
    /// A slow client was closed.
    pub cut_off: Counter,
    /// How long bytes waited for a socket.
    pub flush: Histogram,
    /// From a commit to the order.
    pub lag: Histogram,
    /// Holes in the order.
    pub gaps: Counter,
    /// Joins without a position.
    pub fresh: Counter,
    /// Joins that got what they missed from the ring.
    pub from_ring: Counter,
    /// Joins that got what they missed from the store.
    pub from_store: Counter,
    /// Joins whose past was not in the ring, nor to be had.
    pub ring_failed: Counter,
    /// Joins whose past was not in the store.
    pub store_failed: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        let slow = |action| counter!("tieout_rt_slow_total", "action" => action);
        let recover = |source, result| counter!("tieout_rt_recover_total", "source" => source, "result" => result);
        Self {
            published: counter!("tieout_rt_publish_total", "kind" => "durable"),
            said: counter!("tieout_rt_publish_total", "kind" => "collaboration"),
            deferred: counter!("tieout_rt_publish_deferred_total"),
            progress_dropped: counter!("tieout_rt_progress_dropped_total"),
            rate_limited: counter!("tieout_rt_rate_limited_total"),
            conflated: slow("conflate"),
            dropped: slow("drop_ephemeral"),
            resynced: slow("resync"),
            cut_off: slow("close"),
            flush: histogram!("tieout_rt_flush_seconds"),
            lag: histogram!("tieout_rt_delivery_lag_seconds"),
            gaps: counter!("tieout_rt_gap_total"),
            fresh: recover("none", "fresh"),
            from_ring: recover("ring", "recovered"),
            from_store: recover("store", "recovered"),
            ring_failed: recover("ring", "snapshot"),
            store_failed: recover("store", "snapshot"),
        }
    }
}
