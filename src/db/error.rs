//! What can go wrong when the store is asked, named by what the caller can do about it.
//!
//! It leaves status codes to the doors. The one thing easy to get wrong: diesel reports a full disk, a vanished file, a
//! server that shuts down and a busy writer as the same kind of error as a bug of ours; [`StoreError::from`] tells them
//! apart by text, so that an outage is a retryable 503 and not a 500.
use diesel::result::{DatabaseErrorKind, Error};
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database is away, not yet migrated or too busy. Worth a retry after `retry_after`. A change is rolled back, but
    /// for one whose commit was under way when a server was lost: nobody knows of that one until it is looked for.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// The cause, readable alone.
        reason: String,
        /// When a retry has a chance.
        retry_after: Duration,
    },
    /// There is no such row, or it was deleted.
    #[error("not found")]
    NotFound,
    /// The row's present state forbids it; the text names what stands in the way.
    #[error("{0}")]
    Conflict(String),
    /// A value that the store refuses whatever its state; the text names it.
    #[error("{0}")]
    Invalid(String),
    /// A named bound is reached.
    #[error("the limit {limit} of {max} is reached")]
    LimitExceeded {
        /// The setting's name.
        limit: &'static str,
        /// Its value.
        max: u64,
    },
    /// A runner wrote with a fence that is no longer the job's: it was taken over, stopped or deleted.
    #[error("the job is no longer this runner's")]
    Fenced,
    /// A defect of ours or of the data; the text is for the log.
    #[error("store failure: {0}")]
    Internal(String),
}

impl StoreError {
    /// Whether the same call can succeed later without anybody's doing.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::LimitExceeded { .. })
    }

    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: Duration::from_secs(1) }
    }
}

/// Texts of SQLite's result codes that mean "the storage or a lock", not "the statement".
const SQLITE_OUTAGES: [&str; 9] = [
    "database is locked",
    "database table is locked",
    "disk I/O error",
    "database or disk is full",
    "unable to open database file",
    "file is not a database",
    "database disk image is malformed",
    "attempt to write a readonly database",
    "locking protocol",
];

/// The same of PostgreSQL, where diesel keeps the text alone; English, as servers are set up to log.
const POSTGRES_OUTAGES: [&str; 16] = [
    "terminating connection",
    "the database system is",
    "canceling statement due to",
    "could not extend file",
    "could not write",
    "could not open file",
    "could not read",
    "could not access file",
    "No space left on device",
    "deadlock detected",
    "remaining connection slots",
    "too many clients",
    "too many connections",
    "out of memory",
    "out of shared memory",
    "connection closed",
];

/// A NUL in a text: the one value that PostgreSQL refuses and our own checks may let through.
const NUL_REFUSED: &str = "invalid byte sequence for encoding";

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        use DatabaseErrorKind::{ClosedConnection, ReadOnlyTransaction, SerializationFailure, UnableToSendCommand};
        let text = with_sources(&error);
        match &error {
            Error::NotFound => Self::NotFound,
            Error::DatabaseError(
                ClosedConnection | ReadOnlyTransaction | SerializationFailure | UnableToSendCommand,
                _,
            )
            | Error::BrokenTransactionManager => Self::unavailable(text),
            _ if SQLITE_OUTAGES.iter().chain(&POSTGRES_OUTAGES).any(|outage| text.contains(outage)) => {
                Self::unavailable(text)
            }
            _ if text.contains(NUL_REFUSED) => Self::Invalid("a text has a NUL character".into()),
            _ => Self::Internal(text),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = with_sources(&error);
        let outage = SQLITE_OUTAGES.iter().any(|outage| text.contains(outage));
        if outage { Self::unavailable(text) } else { Self::Internal(text) }
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        /// Classes of errors that are the server's state, not the statement's: connection, transaction rollback,
        /// resources, operator, system.
        const OUTAGES: [&str; 5] = ["08", "40", "53", "57", "58"];
        let text = with_sources(&error);
        match error.code() {
            None if is_lost(&error) => Self::unavailable(text),
            None => Self::Internal(text),
            Some(&(SqlState::LOCK_NOT_AVAILABLE | SqlState::READ_ONLY_SQL_TRANSACTION)) => Self::unavailable(text),
            Some(code) if OUTAGES.contains(&&code.code()[..2]) => Self::unavailable(text),
            Some(_) => Self::Internal(text),
        }
    }
}

/// Whether the connection is gone. What the driver could not encode or read is a defect, and comes again with each try.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    let cause = error.source().and_then(|cause| cause.downcast_ref::<std::io::Error>());
    error.is_closed() || cause.is_some_and(|cause| !matches!(cause.kind(), InvalidData | InvalidInput))
}

/// An error's text with its causes: diesel and bb8 keep the readable part in `source()`.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_an_outage_and_a_bad_statement_is_a_defect() {
        let full = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new("database or disk is full".to_string()));
        assert!(matches!(StoreError::from(full), StoreError::Unavailable { .. }));
        let bad = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new("no such column: x".to_string()));
        assert!(matches!(StoreError::from(bad), StoreError::Internal(_)));
    }
}
