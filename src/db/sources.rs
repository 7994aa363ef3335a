//! Sources: one uploaded file each, idempotent per project and content hash.
//!
//! It leaves the bytes to the upload directory and the parsed rows to [`super::records`]. The one thing easy to get
//! wrong: `create` may answer with an older source of the same bytes; the caller then drops its own copy of the file.
use super::error::StoreError;
use super::events::{Committed, Page, append, data_update, position};
use super::paging::first_page;
use super::pool::{self, Engine};
use super::postgres::locks;
use super::projects::{MAX_PAGE, checked_name, cursor};
use super::schema::{jobs, sources};
use super::sql_types::{Json, ms};
use super::store::Store;
use crate::protocol::ids::{JobId, ProjectId, SourceId};
use diesel::{dsl::sql, prelude::*, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use serde::Serialize;

/// The member of a stored profile that names the version which made it.
pub const MADE_BY_KEY: &str = "made_by";

/// A file that was stored and is to become a source.
#[derive(Debug, Clone, PartialEq)]
pub struct NewSource {
    /// The id under which the file lies in the upload directory.
    pub id: SourceId,
    /// Whose it is.
    pub project_id: ProjectId,
    /// What users call it.
    pub name: String,
    /// What the uploader's file was called.
    pub filename: String,
    /// Its format, `csv`.
    pub format: String,
    /// Its length.
    pub bytes: u64,
    /// Lower-case hex of the hash of its bytes.
    pub sha256: String,
    /// The profile of its columns.
    pub columns: serde_json::Value,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    /// Its id, also the name of its file in the upload directory.
    pub id: SourceId,
    /// Whose it is.
    pub project_id: ProjectId,
    /// What users call it.
    pub name: String,
    /// What the uploader's file was called.
    pub filename: String,
    /// Its format.
    pub format: String,
    /// Its length.
    pub bytes: u64,
    /// Lower-case hex of the hash of its bytes.
    pub sha256: String,
    /// Records stored from it; `None` until a job has read it.
    pub rows: Option<u64>,
    /// Rows that could not be read; `None` until a job has read it.
    pub errors: Option<u64>,
    /// The profile of its columns.
    pub columns: serde_json::Value,
    /// Always `ready`: a file becomes a source when it is whole.
    pub state: &'static str,
    /// Unix milliseconds.
    pub created_at_ms: i64,
}

/// What [`create`] made or found.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// The source of these bytes.
    pub source: Source,
    /// `false` when the project had the same bytes already.
    pub created: bool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = sources, check_for_backend(diesel::sqlite::Sqlite, diesel::pg::Pg))]
struct Row {
    id: SourceId,
    project_id: ProjectId,
    name: String,
    filename: String,
    format: String,
    bytes: i64,
    sha256: String,
    profile: Json,
    record_count: Option<i64>,
    error_count: Option<i64>,
    created_us: i64,
}

impl Source {
    /// The names of its records' cells, in their order; behind them columns that are worked out of others and have no cells.
    pub fn column_names(&self) -> Vec<String> {
        self.listed().iter().map(|column| column["name"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The same without those that have no cells.
    pub fn stored_columns(&self) -> Vec<&str> {
        let stored = self.listed().iter().filter(|column| column["signed_by"].get("columns").is_none());
        stored.map(|column| column["name"].as_str().unwrap_or_default()).collect()
    }

    fn listed(&self) -> &[serde_json::Value] {
        // The first versions stored the list alone.
        let listed = self.columns.get("columns").unwrap_or(&self.columns).as_array();
        listed.map(Vec::as_slice).unwrap_or_default()
    }
}

impl From<Row> for Source {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            project_id: row.project_id,
            name: row.name,
            filename: row.filename,
            format: row.format,
            bytes: row.bytes.unsigned_abs(),
            sha256: row.sha256,
            rows: row.record_count.map(i64::unsigned_abs),
            errors: row.error_count.map(i64::unsigned_abs),
            columns: row.profile.0,
            state: "ready",
            created_at_ms: ms(row.created_us),
        }
    }
}

/// Makes a source, or answers with the one of the same bytes.
///
/// # Errors
/// [`StoreError::NotFound`] for the project, [`StoreError::Invalid`] for the name, [`StoreError::LimitExceeded`] for
/// `sources_per_project`.
pub async fn create(store: &Store, new: NewSource) -> Result<Committed<Created>, StoreError> {
    let name = checked_name("source", &new.name)?;
    let max = store.options().sources_per_project;
    pool::write!(store, |conn, now| {
        super::projects::find_to_change(conn, new.project_id).await?;
        let mine = sources::table.filter(sources::project_id.eq(new.project_id).and(sources::deleted_us.is_null()));
        let same: Option<Row> =
            mine.filter(sources::sha256.eq(&new.sha256)).select(Row::as_select()).first(conn).await.optional()?;
        if let Some(same) = same {
            return Ok(Committed { value: Created { source: same.into(), created: false }, event: None });
        }
        let present: i64 = mine.count().get_result(conn).await?;
        if present.unsigned_abs() >= max {
            return Err(StoreError::LimitExceeded { limit: "sources_per_project", max });
        }
        let row: Row = diesel::insert_into(sources::table)
            .values((
                sources::id.eq(new.id),
                sources::project_id.eq(new.project_id),
                sources::name.eq(name),
                sources::filename.eq(new.filename),
                sources::format.eq(new.format),
                sources::bytes.eq(i64::try_from(new.bytes).unwrap_or(i64::MAX)),
                sources::sha256.eq(new.sha256),
                sources::profile.eq(Json(new.columns)),
                sources::created_us.eq(now),
            ))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        let source = Source::from(row);
        let event = changed(conn, now, &source, "created").await?;
        Ok::<_, StoreError>(Committed { value: Created { source, created: true }, event })
    })
}

/// Sources of a project in the order of their making.
///
/// # Errors
/// [`StoreError::NotFound`] for the project; [`StoreError::Invalid`] for the cursor.
pub async fn list(
    store: &Store,
    project: ProjectId,
    after: Option<&str>,
    limit: usize,
) -> Result<Page<Source>, StoreError> {
    let after = after.map(cursor::<SourceId>).transpose()?;
    let limit = limit.clamp(1, MAX_PAGE);
    pool::read!(store, |conn| {
        super::projects::find(conn, project).await?;
        let mut query = sources::table
            .filter(sources::project_id.eq(project).and(sources::deleted_us.is_null()))
            .order(sources::id)
            .limit(limit as i64 + 1)
            .select((sources::id, sql::<BigInt>("CAST(octet_length(CAST(profile AS TEXT)) AS BIGINT)")))
            .into_boxed();
        if let Some(after) = after {
            query = query.filter(sources::id.gt(after));
        }
        let (ids, more) = first_page::<SourceId>(query.load(conn).await?, limit);
        let rows: Vec<Row> = sources::table
            .filter(sources::id.eq_any(ids))
            .order(sources::id)
            .select(Row::as_select())
            .load(conn)
            .await?;
        let items = rows.into_iter().map(Source::from).collect();
        let mut page = Page::of(items, more, |source: &Source| source.id.to_string());
        page.position = Some(position(conn, project).await?);
        Ok::<_, StoreError>(page)
    })
}

/// One source.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(store: &Store, id: SourceId) -> Result<Source, StoreError> {
    pool::read!(store, |conn| { find(conn, id).await })
}

/// Makes a source invisible; its records and its file go with the janitor's next sweep.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Conflict`] names a job that uses it.
pub async fn delete(store: &Store, id: SourceId) -> Result<Committed<()>, StoreError> {
    pool::write!(store, |conn, now| {
        let source = find_to_change(conn, id).await?;
        let user: Option<JobId> = jobs::table
            .filter(jobs::left_source_id.eq(id).or(jobs::right_source_id.eq(id)))
            .filter(jobs::deleted_us.is_null())
            .order(jobs::id)
            .select(jobs::id)
            .first(conn)
            .await
            .optional()?;
        if let Some(job) = user {
            return Err(StoreError::Conflict(format!("source {id} is used by job {job}: delete that job first")));
        }
        diesel::update(sources::table.find(id)).set(sources::deleted_us.eq(now)).execute(conn).await?;
        let event = changed(conn, now, &source, "deleted").await?;
        Ok::<_, StoreError>(Committed { value: (), event })
    })
}

/// Which of these ids have no row at all, deleted rows included: what may be removed from the upload directory.
///
/// # Errors
/// As any call.
pub async fn unknown(store: &Store, ids: Vec<SourceId>) -> Result<Vec<SourceId>, StoreError> {
    pool::read!(store, |conn| {
        let known: Vec<SourceId> =
            sources::table.filter(sources::id.eq_any(&ids)).select(sources::id).load(conn).await?;
        Ok::<_, StoreError>(ids.into_iter().filter(|id| !known.contains(id)).collect())
    })
}

/// The file of a source: what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// The source, also the name of the file.
    pub id: SourceId,
    /// What the uploader's file was called.
    pub filename: String,
    /// Its length.
    pub bytes: u64,
    /// Lower-case hex of the hash of its bytes.
    pub sha256: String,
}

/// The files of visible sources behind this one, in the order of their ids; at most [`MAX_PAGE`].
///
/// # Errors
/// As any call.
pub async fn files(store: &Store, after: Option<SourceId>) -> Result<Vec<SourceFile>, StoreError> {
    let after = after.unwrap_or(SourceId(uuid::Uuid::nil()));
    pool::read!(store, |conn| {
        let rows: Vec<(SourceId, String, i64, String)> = sources::table
            .filter(sources::deleted_us.is_null().and(sources::id.gt(after)))
            .order(sources::id)
            .limit(MAX_PAGE as i64)
            .select((sources::id, sources::filename, sources::bytes, sources::sha256))
            .load(conn)
            .await?;
        let file = |(id, filename, bytes, sha256): (SourceId, String, i64, String)| SourceFile {
            id,
            filename,
            bytes: bytes.unsigned_abs(),
            sha256,
        };
        Ok::<_, StoreError>(rows.into_iter().map(file).collect())
    })
}

/// Which of these ids are visible sources.
///
/// # Errors
/// As any call.
pub async fn visible(store: &Store, ids: Vec<SourceId>) -> Result<Vec<SourceId>, StoreError> {
    pool::read!(store, |conn| {
        let found = sources::table.filter(sources::id.eq_any(&ids).and(sources::deleted_us.is_null()));
        Ok::<_, StoreError>(found.select(sources::id).load(conn).await?)
    })
}

/// Sources that were deleted before this time of the store and whose rows are still there, behind this one, in the order of
/// their ids; at most [`MAX_PAGE`].
///
/// # Errors
/// As any call.
pub async fn deleted(store: &Store, before: i64, after: Option<SourceId>) -> Result<Vec<SourceId>, StoreError> {
    let after = after.unwrap_or(SourceId(uuid::Uuid::nil()));
    pool::read!(store, |conn| {
        let gone = sources::table.filter(sources::deleted_us.le(before).and(sources::id.gt(after)));
        let page = gone.order(sources::id).limit(MAX_PAGE as i64).select(sources::id);
        Ok::<_, StoreError>(page.load(conn).await?)
    })
}

/// A visible source, inside the caller's transaction.
pub(crate) async fn find(connection: &mut impl Engine, id: SourceId) -> Result<Source, StoreError> {
    pool::on!(connection, |conn| {
        let row: Option<Row> = sources::table
            .filter(sources::id.eq(id).and(sources::deleted_us.is_null()))
            .select(Row::as_select())
            .first(conn)
            .await
            .optional()?;
        row.map(Source::from).ok_or(StoreError::NotFound)
    })
}

/// A visible source whose project nobody else changes until the caller's transaction ends.
pub(crate) async fn find_to_change(connection: &mut impl Engine, id: SourceId) -> Result<Source, StoreError> {
    locks::project_of_source(connection, id).await?;
    find(connection, id).await
}

/// The event of a change; the column profile is left out of it, as it can be larger than a frame may be.
pub(crate) async fn changed(
    connection: &mut impl Engine,
    now: i64,
    source: &Source,
    action: &str,
) -> Result<Option<super::events::DurableEvent>, StoreError> {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        filename: &'a str,
        format: &'a str,
        bytes: u64,
        rows: Option<u64>,
        state: &'a str,
        created_at_ms: i64,
    }
    let shown = Shown {
        name: &source.name,
        filename: &source.filename,
        format: &source.format,
        bytes: source.bytes,
        rows: source.rows,
        state: source.state,
        created_at_ms: source.created_at_ms,
    };
    let body = data_update(source.project_id, "source", &source.id.to_string(), action, &shown)?;
    Ok(Some(append(connection, now, source.project_id, body).await?))
}
