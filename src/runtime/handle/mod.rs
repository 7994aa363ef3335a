//! What callers hold and say: handles, specifications, errors, states, events.
pub(crate) mod addr;
pub(crate) mod ask;
pub(crate) mod builder;
pub(crate) mod control;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod recipient;
pub(crate) mod recover;
pub(crate) mod runtime;
pub(crate) mod send_error;
pub(crate) mod spec;
pub(crate) mod state;
pub(crate) mod watch;
