//! The product's own actors: the hub, the job dispatcher and its runners, the janitor.
pub mod hub;
pub mod janitor;
pub mod jobs;
pub mod metrics;
pub mod realtime;
