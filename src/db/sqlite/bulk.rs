//! Rows in bulk into SQLite, on a connection of the bare driver: one trip to a blocking thread and one transaction per batch.
//!
//! It leaves turns to `bulk`: whoever writes here has the writer's turn, so that nobody else writes meanwhile. Diesel's
//! part of a row would cost as much as SQLite's (`examples/ingest.rs` compares with the bare engine). The one thing easy
//! to get wrong: a batch may come a second time, so what an earlier try left in its place is removed first.
use crate::db::bulk::Rows;
use crate::db::error::StoreError;
use crate::db::jobs::JobState;
use crate::db::records::NewRecord;
use crate::db::results::RowProblem;
use crate::db::staging::{NewResult, ResultText};
use crate::protocol::ids::{JobId, SourceId};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::sync::{Arc, Mutex, PoisonError};

/// The connection; its clones are the same one.
#[derive(Clone)]
pub(crate) struct BulkConnection(Arc<Mutex<Connection>>);

impl BulkConnection {
    /// Opens a file that is there, as [`super::opener`] does but for one thing: a batch is not synced to disk by itself. It
    /// counts only once a later commit says that the source or the result is whole, and that one syncs all before it.
    pub(crate) fn open(path: &str) -> rusqlite::Result<Self> {
        // Without a lock of the engine's own: there is one around it.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.execute_batch(
            "PRAGMA busy_timeout = 5000; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; \
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000; PRAGMA journal_size_limit = 67108864;",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Stores a batch for the runner that holds `fence` on `job`, or nothing of it. Blocks for some milliseconds.
    pub(crate) fn write(&self, job: JobId, fence: i64, rows: &Rows) -> Result<(), StoreError> {
        // A transaction that a panic left was rolled back when it was dropped.
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let batch = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let id = job.to_string();
        check_fence(&batch, &id, fence)?;
        match rows {
            Rows::Records(source, rows) => store_records(&batch, *source, rows)?,
            Rows::Results(attempt, rows) => stage_results(&batch, &id, *attempt, rows)?,
            Rows::Texts(attempt, first, rows) => stage_texts(&batch, &id, *attempt, *first as i64, rows)?,
            Rows::RowErrors(attempt, first, rows) => stage_row_errors(&batch, &id, *attempt, *first as i64, rows)?,
        }
        Ok(batch.commit()?)
    }
}

/// Refuses a runner whose attempt is over. Part of each batch's transaction.
fn check_fence(batch: &Transaction<'_>, job: &str, fence: i64) -> Result<(), StoreError> {
    let asked = "SELECT state FROM jobs WHERE id = ? AND attempt = ? AND deleted_us IS NULL";
    let found: Option<String> = batch.query_row(asked, params![job, fence], |row| row.get(0)).optional()?;
    match found.and_then(|state| state.parse::<JobState>().ok()) {
        Some(state) if state.is_running() => Ok(()),
        _ => Err(StoreError::Fenced),
    }
}

/// Puts rows in place by (source, ordinal): a second ingest after a dead one may write the same rows again.
fn store_records(batch: &Transaction<'_>, source: SourceId, rows: &[NewRecord]) -> rusqlite::Result<()> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
    let source = source.to_string();
    // Once for the batch: REPLACE looks for each row.
    let replaced = "DELETE FROM records WHERE source_id = ? AND ordinal BETWEEN ? AND ?";
    batch.execute(replaced, params![source, first.ordinal as i64, last.ordinal as i64])?;
    let mut insert =
        batch.prepare("INSERT INTO records (source_id, ordinal, record_key, fields) VALUES (?, ?, ?, ?)")?;
    for row in rows {
        insert.execute(params![source, row.ordinal as i64, row.record_key, row.fields])?;
    }
    Ok(())
}

/// Stages results and their lines.
fn stage_results(batch: &Transaction<'_>, job: &str, attempt: i64, rows: &[NewResult]) -> rusqlite::Result<()> {
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(()) };
    announce(batch, job, attempt)?;
    let range = params![job, attempt, first.ordinal as i64, last.ordinal as i64];
    batch.execute(
        "DELETE FROM result_lines WHERE job_id = ? AND attempt = ? AND result_ordinal BETWEEN ? AND ?",
        range,
    )?;
    batch.execute("DELETE FROM results WHERE job_id = ? AND attempt = ? AND ordinal BETWEEN ? AND ?", range)?;
    let mut result = batch.prepare(
        "INSERT INTO results (job_id, attempt, ordinal, status, match_id, kind, state, probability, comparisons, explanation, related_id, text_ordinal) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    let mut part = batch.prepare(
        "INSERT INTO result_lines (job_id, attempt, result_ordinal, side, record_ordinal, allocated_minor) \
         VALUES (?, ?, ?, ?, ?, ?)",
    )?;
    for found in rows {
        let ordinal = found.ordinal as i64;
        result.execute(params![
            job,
            attempt,
            ordinal,
            found.status.as_str(),
            found.match_id,
            found.kind,
            found.state,
            found.probability,
            found.comparisons,
            found.explanation,
            found.related_id,
            found.text.map(|text| text as i64),
        ])?;
        for line in &found.lines {
            let (side, record) = (line.side.as_str(), line.record_ordinal as i64);
            part.execute(params![job, attempt, ordinal, side, record, line.allocated_minor])?;
        }
    }
    Ok(())
}

/// Stages what results say.
fn stage_texts(
    batch: &Transaction<'_>,
    job: &str,
    attempt: i64,
    first: i64,
    rows: &[ResultText],
) -> rusqlite::Result<()> {
    announce(batch, job, attempt)?;
    let mut insert = batch.prepare(
        "INSERT OR REPLACE INTO result_texts (job_id, attempt, ordinal, comparisons, explanation) VALUES (?, ?, ?, ?, ?)",
    )?;
    for (ordinal, text) in (first..).zip(rows) {
        insert.execute(params![job, attempt, ordinal, text.comparisons, text.explanation])?;
    }
    Ok(())
}

/// Stages rows that could not be read.
fn stage_row_errors(
    batch: &Transaction<'_>,
    job: &str,
    attempt: i64,
    first: i64,
    rows: &[RowProblem],
) -> rusqlite::Result<()> {
    announce(batch, job, attempt)?;
    let replaced = "DELETE FROM row_errors WHERE job_id = ? AND attempt = ? AND ordinal BETWEEN ? AND ?";
    batch.execute(replaced, params![job, attempt, first, first + rows.len() as i64 - 1])?;
    let mut insert = batch.prepare(
        "INSERT INTO row_errors (job_id, attempt, ordinal, side, line, column_name, value, reason) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )?;
    for (ordinal, problem) in (first..).zip(rows) {
        let (line, column) = (problem.line as i64, &problem.column);
        insert.execute(params![job, attempt, ordinal, problem.side, line, column, problem.value, problem.reason])?;
    }
    Ok(())
}

/// Lets the janitor find what this attempt staged, should it die.
fn announce(batch: &Transaction<'_>, job: &str, attempt: i64) -> rusqlite::Result<()> {
    let known = "INSERT OR IGNORE INTO staged_attempts (job_id, attempt) VALUES (?, ?)";
    batch.execute(known, params![job, attempt]).map(drop)
}
