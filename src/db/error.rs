//! What can go wrong when the store is asked, named by what the caller can do about it.
//!
//! It leaves status codes to the doors. The one thing easy to get wrong: diesel reports a full disk, a vanished file, a
//! server that shuts down and a busy writer as the same kind of error as a bug of ours. SQLite's are told apart by their
//! text, which is always the same; PostgreSQL's speak the server's language, so only the SQLSTATE counts, which
//! [`judged`] takes from the connection. Then an outage is a retryable 503 and not a 500.
use super::trouble::Lasting;
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

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        use DatabaseErrorKind::{ClosedConnection, ReadOnlyTransaction, SerializationFailure, UnableToSendCommand};
        let text = with_sources(&error);
        match error {
            Error::NotFound => Self::NotFound,
            Error::DatabaseError(
                ClosedConnection | ReadOnlyTransaction | SerializationFailure | UnableToSendCommand,
                _,
            )
            | Error::BrokenTransactionManager => Self::unavailable(text),
            Error::RollbackErrorOnCommit { commit_error, .. } => Self::from(*commit_error),
            _ if SQLITE_OUTAGES.iter().any(|outage| text.contains(outage)) => Self::unavailable(text),
            _ => Self::Internal(text),
        }
    }
}

/// What an error of diesel's means, by the SQLSTATE that the server gave with it, if it gave one.
pub(crate) fn judged<T>(outcome: Result<T, StoreError>, code: Option<&SqlState>) -> Result<T, StoreError> {
    match (outcome, code) {
        (Err(StoreError::Internal(text)), Some(code)) => Err(of_server(code, text)),
        // A connection that was lost after an error that the call had dealt with stays lost.
        (Err(StoreError::Unavailable { reason, .. }), Some(code)) if is_outage(code) => Err(of_server(code, reason)),
        (outcome, _) => outcome,
    }
}

/// What the server's error means.
fn of_server(code: &SqlState, text: String) -> StoreError {
    if *code == SqlState::CHARACTER_NOT_IN_REPERTOIRE {
        // The one value that PostgreSQL refuses and our own checks may let through.
        return StoreError::Invalid("a text has a NUL character".into());
    }
    let text = format!("{text} (SQLSTATE {})", code.code());
    if is_outage(code) { StoreError::unavailable(text) } else { StoreError::Internal(text) }
}

/// Whether an error is the server's state, not the statement's: the same statement can work later.
fn is_outage(code: &SqlState) -> bool {
    /// Connection, transaction rollback (deadlocks among them), resources, operator, system, damaged files.
    const CLASSES: [&str; 6] = ["08", "40", "53", "57", "58", "XX"];
    let defect_of_the_server = *code == SqlState::INTERNAL_ERROR;
    let others = [
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::OBJECT_IN_USE,
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        SqlState::PROTOCOL_VIOLATION,
        // A pooler gave us another session: the statements that were prepared in ours are not there.
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::DUPLICATE_PSTATEMENT,
    ];
    !defect_of_the_server
        && (CLASSES.contains(&&code.code()[..2]) || others.contains(code) || Lasting::of_server(code).is_some())
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
        let text = with_sources(&error);
        match error.code() {
            None if is_lost(&error) => Self::unavailable(text),
            None => Self::Internal(text),
            Some(code) => of_server(code, text),
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

    #[test]
    fn what_a_server_says_is_judged_by_its_code_in_whatever_language() {
        let says = |text: &str| {
            let unknown = Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(text.to_string()));
            Err::<(), _>(StoreError::from(unknown))
        };
        for code in ["53100", "53300", "40P01", "55P03", "57014", "57P01", "57P03", "25006", "42501", "XX001", "26000"]
        {
            let judged = judged(says("storniere Anfrage"), Some(&SqlState::from_code(code)));
            assert!(matches!(judged, Err(StoreError::Unavailable { .. })), "{code}: {judged:?}");
        }
        for code in ["42P01", "42601", "22003", "23505", "XX000"] {
            let judged = judged(says("deadlock detected"), Some(&SqlState::from_code(code)));
            assert!(matches!(judged, Err(StoreError::Internal(_))), "{code}: {judged:?}");
        }
        let nul = judged(says("ungültige Byte-Sequenz"), Some(&SqlState::CHARACTER_NOT_IN_REPERTOIRE));
        assert!(matches!(nul, Err(StoreError::Invalid(_))), "{nul:?}");
    }
}
