//! Jobs: the dispatcher claims queued rows, one runner per job does the work, and anyone may ask how far it is.
//!
//! Reading order: the handle ([`Jobs`]), what is in the air (`board`), the dispatcher, the runner, and inside a run
//! the steps (`run`), reading and storing sources (`ingest`), comparing in parts that replicas share (`parts`), keeping what
//! was found (`checkpoint`), staging it (`stage`), progress (`meter`).
mod board;
mod checkpoint;
mod dispatcher;
mod handle;
mod ingest;
mod meter;
mod parts;
mod run;
mod runner;
mod stage;

pub use board::JobProgress;
pub use checkpoint::MADE_BY;
pub use handle::{Jobs, JobsError, Limits};
