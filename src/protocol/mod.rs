//! What crosses the wire: identifiers, principals, frames, errors and close codes. No I/O.
pub mod ids;
pub mod principal;
