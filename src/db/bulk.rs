//! Rows in bulk: one transaction per batch, in the fastest way that the engine has.
//!
//! It leaves what a batch means to its callers. The one thing easy to get wrong: a batch that was committed without its
//! caller learning of it comes again, so rows are put in place by their key, not appended.
use super::error::StoreError;
use super::pool::BulkTurn;
use super::postgres;
use super::records::{BATCH_ROWS, NewRecord};
use super::results::RowProblem;
use super::staging::{NewResult, ResultText};
use super::store::{Place, Store};
use crate::protocol::ids::{JobId, SourceId};

/// Rows of a batch on PostgreSQL, where nobody waits for it: a batch costs six ways to the server however long it is.
const COPIED_ROWS: usize = 5_000;

/// Rows that one batch should hold on this store.
pub fn batch_rows(store: &Store) -> usize {
    match store.options().place {
        Place::Sqlite(_) => BATCH_ROWS,
        Place::Postgres(_) => COPIED_ROWS,
    }
}

/// What to store.
pub(crate) enum Rows {
    /// Rows of a source.
    Records(SourceId, Vec<NewRecord>),
    /// What an attempt of the job found.
    Results(i64, Vec<NewResult>),
    /// What its results say, and the first text's ordinal.
    Texts(i64, u64, Vec<ResultText>),
    /// Rows that it could not read, and the first one's ordinal within the job.
    RowErrors(i64, u64, Vec<RowProblem>),
}

/// Stores a batch for the runner that holds `fence` on `job`, or nothing of it.
///
/// # Errors
/// [`StoreError::Fenced`] when the job is no longer that attempt's.
pub(crate) async fn write(store: &Store, job: JobId, fence: i64, rows: Rows) -> Result<(), StoreError> {
    let own = store.clone();
    store
        .detached(async move {
            match own.checkout_bulk().await? {
                BulkTurn::Postgres(mut turn) => {
                    let (lost, line) = (turn.lost(), turn.line().clone());
                    line.take_sqlstate();
                    let copied = own.unless_lost(lost, postgres::copy(&mut turn, job, fence, rows)).await;
                    own.judged(&line, copied)
                }
                BulkTurn::Sqlite(turn, connection) => {
                    let write = move || {
                        let written = connection.write(job, fence, &rows);
                        drop(turn);
                        written
                    };
                    let lost = |error| Err(StoreError::Internal(format!("a batch was lost: {error}")));
                    tokio::task::spawn_blocking(write).await.unwrap_or_else(lost)
                }
            }
        })
        .await
}
