//! An actor on its thread: the part that outlives its instances, one instance after another, the pump that feeds it.
pub(crate) mod here;
pub(crate) mod hosted;
pub(crate) mod hosting;
pub(crate) mod incarnation;
pub(crate) mod lifecycle;
pub(crate) mod phase;
pub(crate) mod pump;
pub(crate) mod recovery;
pub(crate) mod run;
pub(crate) mod shared;
pub(crate) mod snapshots;
