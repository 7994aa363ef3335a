//! An upload's way from a request body to a whole, synced, profiled file: never in memory, never half.
//!
//! [`body`] reads the request, raw or multipart ([`form`]); [`mod@file`] writes. A file becomes a source only when it is whole.
mod body;
mod file;
mod form;

pub(super) use body::receive;
pub(super) use file::{give_to, remove};
