//! The integration suite: one binary, one module per promise.
mod reconcile_engine;
mod reconcile_golden;
mod reconcile_shared;
mod runtime_actor;
mod runtime_mailbox;
mod runtime_panics;
mod runtime_shutdown;
mod runtime_starts_anywhere;
mod runtime_watchdog;
mod store_jobs;
mod store_lifecycle;
mod store_nouns;
mod store_support;
