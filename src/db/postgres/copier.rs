//! Rows in bulk into PostgreSQL by COPY, on connections of the bare driver: diesel has no COPY.
//!
//! It leaves turns to `bulk`. Two things are easy to get wrong: COPY knows no ON CONFLICT, so what an earlier attempt left
//! in the place of a batch is removed first, under a lock that keeps another job of the same source out; and a text
//! column holds no NUL, which a file may: it is stored as U+FFFD.
use super::super::bulk::Rows;
use super::super::error::StoreError;
use super::super::jobs::JobState;
use super::super::pool::Postgres;
use super::super::records::NewRecord;
use super::super::results::RowProblem;
use super::super::staging::{NewResult, ResultText};
use super::connector::name_of;
use crate::protocol::ids::{JobId, SourceId};
use std::borrow::Cow;
use std::pin::Pin;
use tokio::try_join;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

/// Ends what a process that seems dead was in the middle of: a batch that it was frozen in holds the source's row, and the
/// server waits for the rest of it without a limit; other changes are held open for half a minute. Its idle connections
/// stay, should it be alive. Returns how many were ended.
pub(crate) async fn evict(connection: &mut Postgres, process: &str) -> Result<usize, StoreError> {
    use diesel_async::RunQueryDsl as _;
    const EVICT: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                         WHERE application_name = $1 AND datname = current_database() \
                         AND (state LIKE 'idle in transaction%' OR query LIKE 'COPY %' AND state = 'active')";
    let name = name_of(process);
    Ok(diesel::sql_query(EVICT).bind::<diesel::sql_types::Text, _>(name).execute(connection).await?)
}

/// Stores a batch for the runner that holds `fence` on `job`.
///
/// The fence is looked at twice: first without a lock, so that a runner whose attempt is over does no work; and last with
/// one, right before the commit, so that a runner which stands still in the middle keeps nobody from taking its job over.
pub(crate) async fn copy(client: &mut Client, job: JobId, fence: i64, rows: Rows) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    // Polled together they are sent together: one way to the server instead of one each.
    match &rows {
        Rows::Records(source, batch) => {
            try_join!(
                look_at_fence(&transaction, job.0, fence, ""),
                make_room_for_records(&transaction, *source, batch)
            )?;
            records(&transaction, *source, batch).await?;
        }
        Rows::Results(attempt, batch) => {
            try_join!(
                look_at_fence(&transaction, job.0, fence, ""),
                make_room_for_results(&transaction, job.0, *attempt, batch)
            )?;
            results(&transaction, job.0, *attempt, batch).await?;
        }
        Rows::Texts(attempt, first, batch) => {
            let first = *first as i64;
            let range = (first, first + batch.len() as i64 - 1);
            let what = "DELETE FROM result_texts WHERE job_id = $1 AND attempt = $2 AND ordinal";
            try_join!(
                look_at_fence(&transaction, job.0, fence, ""),
                announce(&transaction, job.0, *attempt),
                remove(&transaction, what, job.0, *attempt, range)
            )?;
            texts(&transaction, job.0, *attempt, first, batch).await?;
        }
        Rows::RowErrors(attempt, first, batch) => {
            let first = *first as i64;
            let range = (first, first + batch.len() as i64 - 1);
            let what = "DELETE FROM row_errors WHERE job_id = $1 AND attempt = $2 AND ordinal";
            try_join!(
                look_at_fence(&transaction, job.0, fence, ""),
                announce(&transaction, job.0, *attempt),
                remove(&transaction, what, job.0, *attempt, range)
            )?;
            row_errors(&transaction, job.0, *attempt, first, batch).await?;
        }
    }
    // Whoever would take the job over waits from here to the commit.
    look_at_fence(&transaction, job.0, fence, "FOR SHARE").await?;
    Ok(transaction.commit().await?)
}

/// Refuses a runner whose attempt is over.
async fn look_at_fence(transaction: &Transaction<'_>, job: Uuid, fence: i64, lock: &str) -> Result<(), StoreError> {
    let asked = format!("SELECT state FROM jobs WHERE id = $1 AND attempt = $2 AND deleted_us IS NULL {lock}");
    let found = transaction.query_typed(&asked, &[(&job, Type::UUID), (&fence, Type::INT8)]).await?;
    let state = found.first().and_then(|row| row.get::<_, String>(0).parse::<JobState>().ok());
    match state {
        Some(state) if state.is_running() => Ok(()),
        _ => Err(StoreError::Fenced),
    }
}

/// Keeps other jobs of the source out, and removes what an earlier try left.
async fn make_room_for_records(
    transaction: &Transaction<'_>,
    source: SourceId,
    batch: &[NewRecord],
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
    let lock = "SELECT 1 FROM sources WHERE id = $1 FOR NO KEY UPDATE";
    let replaced = "DELETE FROM records WHERE source_id = $1 AND ordinal BETWEEN $2 AND $3";
    let range = (first.ordinal as i64, last.ordinal as i64);
    let id: [(&(dyn ToSql + Sync), Type); 1] = [(&source.0, Type::UUID)];
    let bounds: [(&(dyn ToSql + Sync), Type); 3] =
        [(&source.0, Type::UUID), (&range.0, Type::INT8), (&range.1, Type::INT8)];
    try_join!(transaction.query_typed(lock, &id), transaction.execute_typed(replaced, &bounds))?;
    Ok(())
}

async fn records(transaction: &Transaction<'_>, source: SourceId, batch: &[NewRecord]) -> Result<(), StoreError> {
    let into = "COPY records (source_id, ordinal, record_key, fields) FROM STDIN BINARY";
    let mut table = Table::open(transaction, into, &[Type::UUID, Type::INT8, Type::TEXT, Type::TEXT]).await?;
    for row in batch {
        let key = text(&row.record_key);
        table.row(&[&source.0, &(row.ordinal as i64), &&*key, &row.fields]).await?;
    }
    table.close().await
}

async fn make_room_for_results(
    transaction: &Transaction<'_>,
    job: Uuid,
    attempt: i64,
    batch: &[NewResult],
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
    let range = (first.ordinal as i64, last.ordinal as i64);
    let lines = "DELETE FROM result_lines WHERE job_id = $1 AND attempt = $2 AND result_ordinal";
    let results = "DELETE FROM results WHERE job_id = $1 AND attempt = $2 AND ordinal";
    try_join!(
        announce(transaction, job, attempt),
        remove(transaction, lines, job, attempt, range),
        remove(transaction, results, job, attempt, range)
    )?;
    Ok(())
}

async fn results(
    transaction: &Transaction<'_>,
    job: Uuid,
    attempt: i64,
    batch: &[NewResult],
) -> Result<(), StoreError> {
    let into = "COPY results (job_id, attempt, ordinal, status, match_id, kind, state, probability, comparisons, \
                explanation, related_id, text_ordinal) FROM STDIN BINARY";
    let types = [
        Type::UUID,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::FLOAT8,
        Type::TEXT,
        Type::TEXT,
        Type::TEXT,
        Type::INT8,
    ];
    let mut table = Table::open(transaction, into, &types).await?;
    for found in batch {
        let (ordinal, status) = (found.ordinal as i64, found.status.as_str());
        let explanation = text(&found.explanation);
        let related_id = found.related_id.as_deref().map(text);
        let text_ordinal = found.text.map(|text| text as i64);
        let row: [&(dyn ToSql + Sync); 12] = [
            &job,
            &attempt,
            &ordinal,
            &status,
            &found.match_id,
            &found.kind,
            &found.state,
            &found.probability,
            &found.comparisons,
            &&*explanation,
            &related_id.as_deref(),
            &text_ordinal,
        ];
        table.row(&row).await?;
    }
    table.close().await?;
    let into = "COPY result_lines (job_id, attempt, result_ordinal, side, record_ordinal, allocated_minor) \
                FROM STDIN BINARY";
    let types = [Type::UUID, Type::INT8, Type::INT8, Type::TEXT, Type::INT8, Type::INT8];
    let mut table = Table::open(transaction, into, &types).await?;
    for found in batch {
        for line in &found.lines {
            let (ordinal, record) = (found.ordinal as i64, line.record_ordinal as i64);
            table.row(&[&job, &attempt, &ordinal, &line.side.as_str(), &record, &line.allocated_minor]).await?;
        }
    }
    table.close().await
}

async fn texts(
    transaction: &Transaction<'_>,
    job: Uuid,
    attempt: i64,
    first: i64,
    batch: &[ResultText],
) -> Result<(), StoreError> {
    let into = "COPY result_texts (job_id, attempt, ordinal, comparisons, explanation) FROM STDIN BINARY";
    let types = [Type::UUID, Type::INT8, Type::INT8, Type::TEXT, Type::TEXT];
    let mut table = Table::open(transaction, into, &types).await?;
    for (ordinal, said) in (first..).zip(batch) {
        table.row(&[&job, &attempt, &ordinal, &said.comparisons, &&*text(&said.explanation)]).await?;
    }
    table.close().await
}

async fn row_errors(
    transaction: &Transaction<'_>,
    job: Uuid,
    attempt: i64,
    first: i64,
    batch: &[RowProblem],
) -> Result<(), StoreError> {
    let into = "COPY row_errors (job_id, attempt, ordinal, side, line, column_name, value, reason) FROM STDIN BINARY";
    let types = [Type::UUID, Type::INT8, Type::INT8, Type::TEXT, Type::INT8, Type::TEXT, Type::TEXT, Type::TEXT];
    let mut table = Table::open(transaction, into, &types).await?;
    for (ordinal, problem) in (first..).zip(batch) {
        let (line, column) = (problem.line as i64, text(&problem.column));
        let (value, reason) = (text(&problem.value), text(&problem.reason));
        let row: [&(dyn ToSql + Sync); 8] =
            [&job, &attempt, &ordinal, &problem.side, &line, &&*column, &&*value, &&*reason];
        table.row(&row).await?;
    }
    table.close().await
}

/// Lets the janitor find what this attempt staged, should it die.
async fn announce(transaction: &Transaction<'_>, job: Uuid, attempt: i64) -> Result<(), StoreError> {
    let known = "INSERT INTO staged_attempts (job_id, attempt) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    transaction.execute_typed(known, &[(&job, Type::UUID), (&attempt, Type::INT8)]).await?;
    Ok(())
}

/// Removes what an earlier try at the same batch left.
async fn remove(
    transaction: &Transaction<'_>,
    what: &str,
    job: Uuid,
    attempt: i64,
    range: (i64, i64),
) -> Result<(), StoreError> {
    let bounds: [(&(dyn ToSql + Sync), Type); 4] =
        [(&job, Type::UUID), (&attempt, Type::INT8), (&range.0, Type::INT8), (&range.1, Type::INT8)];
    transaction.execute_typed(&format!("{what} BETWEEN $3 AND $4"), &bounds).await?;
    Ok(())
}

/// A table that is being copied into.
struct Table(Pin<Box<BinaryCopyInWriter>>);

impl Table {
    async fn open(transaction: &Transaction<'_>, into: &str, types: &[Type]) -> Result<Self, StoreError> {
        let sink = transaction.copy_in(into).await?;
        Ok(Self(Box::pin(BinaryCopyInWriter::new(sink, types))))
    }

    async fn row(&mut self, values: &[&(dyn ToSql + Sync)]) -> Result<(), StoreError> {
        Ok(self.0.as_mut().write(values).await?)
    }

    async fn close(mut self) -> Result<(), StoreError> {
        self.0.as_mut().finish().await?;
        Ok(())
    }
}

/// Text as a column can hold it.
fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}
