//! What can go wrong when the store is asked, named by what the caller can do about it.
//!
//! It leaves status codes to the doors. The one thing easy to get wrong: SQLite reports a full disk, a vanished
//! file and a busy writer through the same diesel error kind as a bug of ours; [`StoreError::from`] tells them
//! apart by text, so that an outage is a retryable 503 and not a 500.
use std::time::Duration;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database is away, not yet migrated or too busy; nothing was written. Worth a retry after `retry_after`.
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
const OUTAGE_TEXTS: [&str; 9] = [
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

impl From<diesel::result::Error> for StoreError {
    fn from(error: diesel::result::Error) -> Self {
        let text = with_sources(&error);
        match error {
            diesel::result::Error::NotFound => Self::NotFound,
            _ if OUTAGE_TEXTS.iter().any(|outage| text.contains(outage)) => Self::unavailable(text),
            _ => Self::Internal(text),
        }
    }
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
    use diesel::result::{DatabaseErrorKind, Error};

    #[test]
    fn a_full_disk_is_an_outage_and_a_bad_statement_is_a_defect() {
        let full = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new("database or disk is full".to_string()));
        assert!(matches!(StoreError::from(full), StoreError::Unavailable { .. }));
        let bad = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new("no such column: x".to_string()));
        assert!(matches!(StoreError::from(bad), StoreError::Internal(_)));
    }
}
