//! The integration suite: one binary, one module per promise.
mod jobs_run;
mod jobs_support;
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
mod ws_delivery;
mod ws_protocol;
mod ws_support;
