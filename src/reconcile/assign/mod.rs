//! Who is whose partner: rows equal in every cell, the best assignment of the others, and payments that recur.
mod equal_rows;
mod one_to_one;
pub(crate) mod recurring;

pub(crate) use equal_rows::{EqualRows, equal_rows};
pub(crate) use one_to_one::{Edge, assign};
