//! The integration suite: one binary, one module per promise.
mod runtime_basics;
mod store_jobs;
mod store_lifecycle;
mod store_nouns;
mod store_support;
