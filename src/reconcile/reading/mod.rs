//! What a file says: where its header is, how it writes amounts and dates, what its columns are for, and what the
//! other file decides where one alone cannot.
pub(crate) mod amounts;
pub(crate) mod currency;
pub(crate) mod dates;
pub(crate) mod digits;
pub(crate) mod header;
mod months;
pub(crate) mod names;
pub(crate) mod options;
pub(crate) mod roles;
pub(crate) mod settle;
mod signs;
pub(crate) mod understood;

pub(crate) use names::NameHint;
pub use options::SideReading;
pub use settle::settle;
pub(crate) use understood::STATEMENTS;
pub use understood::{BalanceGap, BalanceProof, ColumnReading, Reading};

#[cfg(test)]
mod tests;
