//! The product's own actors: the hub, the job dispatcher and its runners, the janitor, the meter.
//!
//! Of the live layer `hub` is the actor and its handle; `rooms` has what it decides, pure; `sockets` the threads that write to
//! connections; `history` what it reads from the store; `replicas` what crosses to the other processes.
pub mod history;
pub mod hub;
pub mod janitor;
pub mod jobs;
pub mod meter;
pub mod replicas;
pub mod rooms;
pub mod sockets;
