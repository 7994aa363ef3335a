//! Bulk inserts: one trip to a blocking thread and one immediate transaction per batch.
//!
//! It leaves what a batch means to its callers. The one thing easy to get wrong: a query that diesel cannot cache
//! (`sql_query`, a multi-row `VALUES` of varying length) is prepared afresh each time; these loop over cached
//! single-row statements. `examples/ingest.rs` compares with the bare engine.
use super::error::StoreError;
use super::jobs_run::held;
use super::pool::{Checked, Lane};
use super::records::NewRecord;
use super::results::RowProblem;
use super::schema::{jobs, records, result_lines, results, row_errors, staged_attempts};
use super::sql_types::IdText;
use super::staging::NewResult;
use super::store::Store;
use crate::protocol::ids::{JobId, SourceId};
use diesel::prelude::*;

/// Runs `body` on the writer's own blocking thread in one transaction. PostgreSQL gets COPY in a second arm here.
pub(crate) async fn write<T: Send + 'static>(
    store: &Store,
    body: impl FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let own = store.clone();
    store
        .detached(async move {
            let Checked::Sqlite(mut connection, _turn) = own.checkout(Lane::Write).await?;
            // The inner result is ours, the outer one says that the blocking task ran.
            connection.spawn_blocking(move |sync| Ok(sync.immediate_transaction(body))).await?
        })
        .await
}

/// Refuses a runner whose attempt is over. Part of each batch's transaction.
pub(crate) fn check_fence(sync: &mut SqliteConnection, job: JobId, fence: i64) -> Result<(), StoreError> {
    let state =
        jobs::table.filter(held(job, fence)).select(jobs::state).first::<super::jobs::JobState>(sync).optional()?;
    match state {
        Some(state) if state.is_running() => Ok(()),
        _ => Err(StoreError::Fenced),
    }
}

/// Puts rows in place by (source, ordinal): a second ingest after a dead one writes the same rows again.
pub(crate) fn records(sync: &mut SqliteConnection, source: SourceId, batch: &[NewRecord]) -> Result<(), StoreError> {
    let source = IdText::of(source);
    for row in batch {
        diesel::replace_into(records::table)
            .values((
                records::source_id.eq(&source),
                records::ordinal.eq(row.ordinal as i64),
                records::record_key.eq(&row.record_key),
                records::fields.eq(&row.fields),
            ))
            .execute(sync)?;
    }
    Ok(())
}

/// Stages results and their lines.
pub(crate) fn results(
    sync: &mut SqliteConnection,
    job: JobId,
    attempt: i64,
    batch: &[NewResult],
) -> Result<(), StoreError> {
    announce(sync, job, attempt)?;
    let job = IdText::of(job);
    for found in batch {
        diesel::insert_into(results::table)
            .values((
                results::job_id.eq(&job),
                results::attempt.eq(attempt),
                results::ordinal.eq(found.ordinal as i64),
                results::status.eq(found.status),
                results::match_id.eq(found.match_id.as_deref()),
                results::kind.eq(found.kind),
                results::state.eq(found.state),
                results::probability.eq(found.probability),
                results::comparisons.eq(&found.comparisons),
                results::explanation.eq(&found.explanation),
            ))
            .execute(sync)?;
        for line in &found.lines {
            diesel::insert_into(result_lines::table)
                .values((
                    result_lines::job_id.eq(&job),
                    result_lines::attempt.eq(attempt),
                    result_lines::result_ordinal.eq(found.ordinal as i64),
                    result_lines::side.eq(line.side.as_str()),
                    result_lines::record_ordinal.eq(line.record_ordinal as i64),
                    result_lines::allocated_minor.eq(line.allocated_minor),
                ))
                .execute(sync)?;
        }
    }
    Ok(())
}

/// Stages rows that could not be read.
pub(crate) fn row_errors(
    sync: &mut SqliteConnection,
    job: JobId,
    attempt: i64,
    first: u64,
    batch: &[RowProblem],
) -> Result<(), StoreError> {
    announce(sync, job, attempt)?;
    let job = IdText::of(job);
    for (ordinal, problem) in (first..).zip(batch) {
        diesel::insert_into(row_errors::table)
            .values((
                row_errors::job_id.eq(&job),
                row_errors::attempt.eq(attempt),
                row_errors::ordinal.eq(ordinal as i64),
                row_errors::side.eq(&problem.side),
                row_errors::line.eq(problem.line as i64),
                row_errors::column_name.eq(&problem.column),
                row_errors::value.eq(&problem.value),
                row_errors::reason.eq(&problem.reason),
            ))
            .execute(sync)?;
    }
    Ok(())
}

/// Lets the janitor find what this attempt staged, should it die.
fn announce(sync: &mut SqliteConnection, job: JobId, attempt: i64) -> Result<(), StoreError> {
    diesel::insert_or_ignore_into(staged_attempts::table)
        .values((staged_attempts::job_id.eq(job), staged_attempts::attempt.eq(attempt)))
        .execute(sync)?;
    Ok(())
}
