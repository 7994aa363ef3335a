//! The integration suite: one binary, one module per promise.
mod outer_doors;
mod outer_health;
mod outer_limits;
mod outer_modes;
mod outer_panic;
mod outer_reconcile;
mod outer_restart;
mod outer_shutdown;
mod outer_store_away;
mod outer_workers;
mod runtime_actor;
mod runtime_mailbox;
mod runtime_panics;
mod runtime_shutdown;
mod runtime_starts_anywhere;
mod runtime_watchdog;
mod support;
