//! Records: the rows of a source, stored once and read by page.
//!
//! It leaves parsing to the engine. The one thing easy to get wrong: an ingest that died half-way left a prefix, from whose
//! end the next one goes on; two at once write the same rows, so rows are put in place by (source, ordinal), not appended.
use super::bulk::{self, Rows};
use super::error::StoreError;
use super::events::Committed;
use super::jobs_run::running;
use super::pool::{self, Engine};
use super::schema::{records, sources};
use super::store::Store;
use crate::protocol::ids::{JobId, SourceId};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// Rows one transaction should hold on SQLite: large enough to forget its cost, small enough that other writers wait < 50 ms.
pub const BATCH_ROWS: usize = 1_000;

pub use super::bulk::batch_rows;

/// A row of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Its place in the file: the first data row is 0.
    pub ordinal: u64,
    /// The value of the id column, or the ordinal's text.
    pub record_key: String,
    /// Its cells in the order of the source's columns, as a JSON array of strings.
    pub fields: String,
}

/// A stored row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the file.
    pub ordinal: u64,
    /// The value of the id column.
    pub record_key: String,
    /// Its cells in the order of the source's columns.
    pub fields: Vec<String>,
}

/// Stores rows of a source for a runner that holds `fence` on `job`.
///
/// # Errors
/// [`StoreError::Fenced`] when the job is no longer that attempt's.
pub async fn insert_batch(
    store: &Store,
    job: JobId,
    fence: i64,
    source: SourceId,
    batch: Vec<NewRecord>,
) -> Result<(), StoreError> {
    bulk::write(store, job, fence, Rows::Records(source, batch)).await
}

/// The last ordinal up to which every row of a source is stored; `None` when none is. Batches are stored whole, one after
/// the other, so the highest ordinal is the end of a prefix without holes, whoever stored it.
///
/// # Errors
/// As any call.
pub async fn stored_through(store: &Store, source: SourceId) -> Result<Option<u64>, StoreError> {
    let last: Option<i64> = pool::read!(store, |conn| {
        let stored = records::table.filter(records::source_id.eq(source));
        Ok::<_, StoreError>(stored.select(diesel::dsl::max(records::ordinal)).first(conn).await?)
    })?;
    Ok(last.map(i64::unsigned_abs))
}

/// Says for a runner that holds `fence` on `job` that every row of a source is stored; from then on no job reads the file
/// into the store again.
///
/// # Errors
/// [`StoreError::Fenced`]; [`StoreError::NotFound`] for a source that was deleted meanwhile.
pub async fn mark_ingested(
    store: &Store,
    job: JobId,
    fence: i64,
    source: SourceId,
    rows: u64,
    errors: u64,
) -> Result<Committed<()>, StoreError> {
    pool::write!(store, |conn, now| {
        running(conn, job, fence).await?;
        let mut found = super::sources::find_to_change(conn, source).await?;
        if found.rows.is_some() {
            return Ok(Committed { value: (), event: None });
        }
        diesel::update(sources::table.find(source))
            .set((sources::record_count.eq(rows as i64), sources::error_count.eq(errors as i64)))
            .execute(conn)
            .await?;
        found.rows = Some(rows);
        let event = super::sources::changed(conn, now, &found, "updated").await?;
        Ok::<_, StoreError>(Committed { value: (), event })
    })
}

/// How many records of a source are stored; `None` while none or not all are.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn ingested(store: &Store, source: SourceId) -> Result<Option<u64>, StoreError> {
    Ok(super::sources::get(store, source).await?.rows)
}

/// The records at these ordinals, in ordinal order; absent ones are left out. At most [`BATCH_ROWS`] at once.
///
/// # Errors
/// [`StoreError::Invalid`] for too many.
pub async fn get_many(store: &Store, source: SourceId, ordinals: Vec<u64>) -> Result<Vec<Record>, StoreError> {
    if ordinals.len() > BATCH_ROWS {
        return Err(StoreError::Invalid(format!("{} records asked for, at most {BATCH_ROWS}", ordinals.len())));
    }
    let ordinals = ordinals.into_iter().map(|ordinal| ordinal as i64).collect();
    pool::read!(store, |conn| { load(conn, source, ordinals).await })
}

pub(crate) async fn load(
    connection: &mut impl Engine,
    source: SourceId,
    ordinals: Vec<i64>,
) -> Result<Vec<Record>, StoreError> {
    let rows: Vec<(i64, String, String)> = pool::on!(connection, |conn| {
        records::table
            .filter(records::source_id.eq(source).and(records::ordinal.eq_any(ordinals)))
            .order(records::ordinal)
            .select((records::ordinal, records::record_key, records::fields))
            .load(conn)
            .await?
    });
    rows.into_iter()
        .map(|(ordinal, record_key, fields)| {
            let fields = serde_json::from_str(&fields)
                .map_err(|error| StoreError::Internal(format!("record {ordinal} of source {source}: {error}")))?;
            Ok(Record { ordinal: ordinal.unsigned_abs(), record_key, fields })
        })
        .collect()
}
