//! Supervision: starts, groups and their restarts, the restart policy, the shutdown.
pub(crate) mod group_spec;
pub(crate) mod node;
pub(crate) mod policy;
pub(crate) mod registry;
pub(crate) mod restart;
pub(crate) mod shutdown;
pub(crate) mod start;
