//! Bulk inserts: one trip to a blocking thread and one immediate transaction per batch.
//!
//! It leaves what a batch means to its callers. The one thing easy to get wrong: a multi-row `VALUES` is built and
//! prepared afresh for every batch; a loop over one cached prepared statement is faster (the bench example says by how much).
use super::error::StoreError;
use super::jobs_run::held;
use super::pool::{Checked, Lane};
use super::records::NewRecord;
use super::schema::{jobs, records};
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
    let source = source.to_string();
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
