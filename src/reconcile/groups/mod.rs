//! Groups: one amount that is the sum of several on the other side, and several that equal several.
mod find;

mod components;
mod search;
mod siblings;

pub(crate) use find::{ByRank, Group, Loose, search};
