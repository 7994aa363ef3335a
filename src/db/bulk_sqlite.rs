//! Bulk inserts into SQLite: one trip to a blocking thread and one immediate transaction per batch.
//!
//! It leaves turns to [`super::bulk`]. The one thing easy to get wrong: a query that diesel cannot cache
//! (`sql_query`, a multi-row `VALUES` of varying length) is prepared afresh each time; these loop over cached
//! single-row statements. `examples/ingest.rs` compares with the bare engine.
use super::bulk::Rows;
use super::error::StoreError;
use super::jobs_run::held;
use super::records::NewRecord;
use super::results::RowProblem;
use super::schema::{jobs, records, result_lines, results, row_errors, staged_attempts};
use super::sql_types::IdText;
use super::staging::NewResult;
use crate::protocol::ids::{JobId, SourceId};
use diesel::prelude::*;

/// Stores a batch, inside the caller's transaction.
pub(crate) fn write(sync: &mut SqliteConnection, job: JobId, fence: i64, rows: Rows) -> Result<(), StoreError> {
    check_fence(sync, job, fence)?;
    match rows {
        Rows::Records(source, batch) => store_records(sync, source, &batch),
        Rows::Results(batch) => stage_results(sync, job, fence, &batch),
        Rows::RowErrors(first, batch) => stage_row_errors(sync, job, fence, first, &batch),
    }
}

/// Refuses a runner whose attempt is over. Part of each batch's transaction.
fn check_fence(sync: &mut SqliteConnection, job: JobId, fence: i64) -> Result<(), StoreError> {
    let state =
        jobs::table.filter(held(job, fence)).select(jobs::state).first::<super::jobs::JobState>(sync).optional()?;
    match state {
        Some(state) if state.is_running() => Ok(()),
        _ => Err(StoreError::Fenced),
    }
}

/// Puts rows in place by (source, ordinal): a second ingest after a dead one writes the same rows again.
fn store_records(sync: &mut SqliteConnection, source: SourceId, batch: &[NewRecord]) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return Ok(()) };
    let source = IdText::of(source);
    // Once for the batch: REPLACE looks for each row.
    let range = records::ordinal.between(first.ordinal as i64, last.ordinal as i64);
    diesel::delete(records::table.filter(records::source_id.eq(&source)).filter(range)).execute(sync)?;
    for row in batch {
        diesel::insert_into(records::table)
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
fn stage_results(sync: &mut SqliteConnection, job: JobId, attempt: i64, batch: &[NewResult]) -> Result<(), StoreError> {
    announce(sync, job, attempt)?;
    let job = IdText::of(job);
    for found in batch {
        diesel::replace_into(results::table)
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
            diesel::replace_into(result_lines::table)
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
fn stage_row_errors(
    sync: &mut SqliteConnection,
    job: JobId,
    attempt: i64,
    first: u64,
    batch: &[RowProblem],
) -> Result<(), StoreError> {
    announce(sync, job, attempt)?;
    let job = IdText::of(job);
    for (ordinal, problem) in (first..).zip(batch) {
        diesel::replace_into(row_errors::table)
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
