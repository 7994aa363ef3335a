//! Which pairs are worth comparing: rows that a key settles at once, and rows that share a key of a pass.
mod passes;
mod settled;

mod indexes;
mod late;

pub(crate) use indexes::indexes;
pub(crate) use late::late;
pub(crate) use passes::{Index, KeySource, Pass, Rows, Window};
pub(crate) use settled::{NONE, Settled};
