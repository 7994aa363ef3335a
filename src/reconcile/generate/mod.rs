//! Made-up ledgers and bank statements of any size, with the truth: what to measure and to try Tieout with.
//!
//! The same plan makes the same files on every machine.
mod dialect;
mod events;
mod random;
mod vocabulary;
mod write;

pub use dialect::{Dialect, DialectError};
pub use events::{BankRow, Dataset, LedgerRow, Lonely, Plan, TruePair, generate};
pub use write::{write_bank, write_breaks, write_ledger, write_truth};
