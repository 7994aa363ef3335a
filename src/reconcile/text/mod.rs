//! One way to cut text into comparable pieces, for profiling, blocking and comparing alike.
mod ascii;
mod fold;
mod pieces;

pub(crate) use fold::is_legal_form;
pub(crate) use pieces::{combine, compact, compact_into, hash, mix, runs, tokens, without_leading_zeros};
