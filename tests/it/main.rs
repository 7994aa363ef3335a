//! The integration suite: one binary, one module per promise.
mod runtime_basics;
