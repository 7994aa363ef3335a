//! The product's own actors: the hub, the job dispatcher and its runners, the janitor, the meter.
pub mod hub;
pub mod janitor;
pub mod jobs;
pub mod mesh;
pub mod meter;
pub mod realtime;
