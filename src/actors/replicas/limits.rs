//! The times of the mesh: how often replicas compare with the store, and when one that is silent counts as gone.
//!
//! Easy to get wrong: `suspect_after` and `gone_after` must leave room for several lost heartbeats.
use std::time::Duration;

/// How replicas look after each other.
#[derive(Clone, Debug)]
pub struct MeshLimits {
    /// Between two comparisons of open rooms with the store.
    pub compare_every: Duration,
    /// The same while the others can't be heard.
    pub poll_every: Duration,
    /// Between two signs of life.
    pub beat_every: Duration,
    /// A replica silent for this long may be gone: who comes back elsewhere is not counted twice.
    pub suspect_after: Duration,
    /// A replica silent for this long is gone, and whoever was there with it.
    pub gone_after: Duration,
    /// Who is sent to another replica by a drain is shown for this long: clients come back within 10 s.
    pub handoff: Duration,
    /// Changes of presence are gathered for this long before they are told.
    pub share_every: Duration,
    /// How long the others have to answer a question.
    pub answer_within: Duration,
    /// The others can't be heard for this long before clients are told; the store is asked instead at once.
    pub degraded_after: Duration,
}

impl Default for MeshLimits {
    fn default() -> Self {
        Self {
            compare_every: Duration::from_secs(5),
            poll_every: Duration::from_millis(750),
            beat_every: Duration::from_secs(2),
            suspect_after: Duration::from_secs(6),
            gone_after: Duration::from_secs(20),
            handoff: Duration::from_secs(12),
            share_every: Duration::from_millis(50),
            answer_within: Duration::from_secs(2),
            degraded_after: Duration::from_secs(1),
        }
    }
}
