//! The threads and what all handles of a runtime share: the home of the actors, the control thread, the watchdog.
pub(crate) mod agenda;
pub(crate) mod control;
pub(crate) mod core;
pub(crate) mod cycle;
pub(crate) mod home;
pub(crate) mod panics;
pub(crate) mod rehome;
pub(crate) mod timer;
pub(crate) mod watchdog;
pub(crate) mod watching;
