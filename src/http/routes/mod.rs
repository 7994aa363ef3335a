//! The handlers, one file per noun. Each takes a `Caller` and asks `authorise`; the health checks take none.
pub(super) mod claims;
pub(super) mod disconnect;
pub(super) mod events;
pub(super) mod export;
pub(super) mod health;
pub(super) mod jobs;
pub(super) mod metrics;
pub(super) mod preview;
pub(super) mod projects;
pub(super) mod publish;
pub(super) mod realtime;
pub(super) mod results;
pub(super) mod rules;
pub(super) mod sources;
pub(super) mod specs;
pub(super) mod test_hooks;
pub(super) mod ws;
