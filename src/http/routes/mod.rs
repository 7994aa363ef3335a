//! The handlers, one file per noun. Each takes a `Principal` and asks `authorise`; the health checks take none.
pub(super) mod health;
pub(super) mod metrics;
