//! Projects: the unit of membership, of ordering and of deletion.
//!
//! It leaves the rows of a deleted project to the janitor's sweep: deleting marks, and makes invisible at once, its
//! events included. The one thing easy to get wrong: a deleted project's rows are still there, so every question asks for
//! the mark.
use super::error::StoreError;
use super::events::{Committed, Page, append, data_update};
use super::pool::{self, Conn, Engine};
use super::postgres::locks;
use super::postgres::locks::Alone;
use super::schema::{job_queue, jobs, projects, sources};
use super::sql_types::ms;
use super::store::Store;
use crate::protocol::ids::ProjectId;
use crate::protocol::names::{self, MAX_NAME_CHARS};
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use schemars::JsonSchema;
use serde::Serialize;

/// Most rows of one page of any list.
pub const MAX_PAGE: usize = 1_000;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Project {
    /// Its id.
    pub id: ProjectId,
    /// Its name, 1 to [`MAX_NAME_CHARS`] characters; names need not differ.
    pub name: String,
    /// The epoch of its event history.
    pub ep: String,
    /// The offset of its newest event.
    pub off: u64,
    /// Unix milliseconds.
    pub created_at_ms: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = projects, check_for_backend(diesel::sqlite::Sqlite, diesel::pg::Pg))]
struct Row {
    id: ProjectId,
    name: String,
    epoch: String,
    head_offset: i64,
    created_us: i64,
}

impl From<Row> for Project {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            name: row.name,
            ep: row.epoch,
            off: row.head_offset.unsigned_abs(),
            created_at_ms: ms(row.created_us),
        }
    }
}

/// Makes a project; its first event says so.
///
/// # Errors
/// [`StoreError::Invalid`] for the name, [`StoreError::LimitExceeded`] for `projects`.
pub async fn create(store: &Store, name: &str) -> Result<Committed<Project>, StoreError> {
    let name = checked_name("project", name)?;
    let max = store.options().projects;
    pool::write!(store, |conn, now| {
        locks::alone(conn, Alone::Projects).await?;
        let present: i64 = projects::table.filter(projects::deleted_us.is_null()).count().get_result(conn).await?;
        if present.unsigned_abs() >= max {
            return Err(StoreError::LimitExceeded { limit: "projects", max });
        }
        let id = ProjectId::generate();
        let row: Row = diesel::insert_into(projects::table)
            .values((
                projects::id.eq(id),
                projects::name.eq(name),
                projects::epoch.eq(fresh_epoch()),
                projects::created_us.eq(now),
            ))
            .returning(Row::as_returning())
            .get_result(conn)
            .await?;
        changed(conn, now, row.into(), "created").await
    })
}

/// Projects in the order of their making.
///
/// # Errors
/// [`StoreError::Invalid`] for a cursor that no page gave out.
pub async fn list(store: &Store, after: Option<&str>, limit: usize) -> Result<Page<Project>, StoreError> {
    let after = after.map(cursor::<ProjectId>).transpose()?;
    let limit = limit.clamp(1, MAX_PAGE);
    pool::read!(store, |conn| {
        let mut query = projects::table
            .filter(projects::deleted_us.is_null())
            .order(projects::id)
            .limit(limit as i64 + 1)
            .select(Row::as_select())
            .into_boxed();
        if let Some(after) = after {
            query = query.filter(projects::id.gt(after));
        }
        let rows: Vec<Row> = query.load(conn).await?;
        let items = rows.into_iter().map(Project::from).collect();
        Ok::<_, StoreError>(Page::cut(items, limit, |project: &Project| project.id.to_string()))
    })
}

/// One project.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn get(store: &Store, id: ProjectId) -> Result<Project, StoreError> {
    pool::read!(store, |conn| { find(conn, id).await })
}

/// Gives a project another name.
///
/// # Errors
/// [`StoreError::NotFound`]; [`StoreError::Invalid`] for the name.
pub async fn rename(store: &Store, id: ProjectId, name: &str) -> Result<Committed<Project>, StoreError> {
    let name = checked_name("project", name)?;
    pool::write!(store, |conn, now| {
        let row: Option<Row> =
            diesel::update(projects::table.filter(projects::id.eq(id).and(projects::deleted_us.is_null())))
                .set(projects::name.eq(name))
                .returning(Row::as_returning())
                .get_result(conn)
                .await
                .optional()?;
        changed(conn, now, row.ok_or(StoreError::NotFound)?.into(), "updated").await
    })
}

/// Gives the history of every project a new epoch, in one transaction; returns how many there are. Whoever knows a position
/// under an old one is told to start from a snapshot.
///
/// # Errors
/// As any call.
pub async fn renew_epochs(store: &Store) -> Result<usize, StoreError> {
    // One for all: an epoch tells histories of one project apart.
    let epoch = fresh_epoch();
    pool::write!(store, |conn| { set_epochs(conn, &epoch).await })
}

/// Gives every project this epoch, inside the caller's transaction.
pub(crate) async fn set_epochs(connection: &mut impl Engine, epoch: &str) -> Result<usize, StoreError> {
    pool::on!(connection, |conn| Ok(diesel::update(projects::table)
        .set(projects::epoch.eq(epoch))
        .execute(conn)
        .await?))
}

/// Makes a project and all that belongs to it invisible; its runners are fenced off, and the janitor removes the rows in batches.
///
/// # Errors
/// [`StoreError::NotFound`].
pub async fn delete(store: &Store, id: ProjectId) -> Result<Committed<()>, StoreError> {
    pool::write!(store, |conn, now| {
        locks::project_and_queue(conn, id).await?;
        let project = find(conn, id).await?;
        diesel::update(projects::table.find(id)).set(projects::deleted_us.eq(now)).execute(conn).await?;
        let mine = jobs::table.filter(jobs::project_id.eq(id)).select(jobs::id);
        diesel::delete(job_queue::table.filter(job_queue::job_id.eq_any(mine))).execute(conn).await?;
        diesel::update(jobs::table.filter(jobs::project_id.eq(id).and(jobs::deleted_us.is_null())))
            .set(jobs::deleted_us.eq(now))
            .execute(conn)
            .await?;
        diesel::update(sources::table.filter(sources::project_id.eq(id).and(sources::deleted_us.is_null())))
            .set(sources::deleted_us.eq(now))
            .execute(conn)
            .await?;
        let event = changed(conn, now, project, "deleted").await?.event;
        Ok::<_, StoreError>(Committed { value: (), event })
    })
}

/// A visible project, inside the caller's transaction.
pub(crate) async fn find(connection: &mut impl Engine, id: ProjectId) -> Result<Project, StoreError> {
    pool::on!(connection, |conn| {
        let row: Option<Row> = projects::table
            .filter(projects::id.eq(id).and(projects::deleted_us.is_null()))
            .select(Row::as_select())
            .first(conn)
            .await
            .optional()?;
        row.map(Project::from).ok_or(StoreError::NotFound)
    })
}

/// A visible project that nobody else changes until the caller's transaction ends.
pub(crate) async fn find_to_change(connection: &mut impl Engine, id: ProjectId) -> Result<Project, StoreError> {
    match connection.conn() {
        // The lock gives the row as it is once it is ours: one way to the server for both.
        Conn::Postgres(conn) => {
            let mine = projects::table.filter(projects::id.eq(id).and(projects::deleted_us.is_null()));
            let row: Option<Row> = mine.select(Row::as_select()).for_update().first(conn).await.optional()?;
            row.map(Project::from).ok_or(StoreError::NotFound)
        }
        Conn::Sqlite(conn) => find(conn, id).await,
    }
}

async fn changed(
    connection: &mut impl Engine,
    now: i64,
    mut project: Project,
    action: &str,
) -> Result<Committed<Project>, StoreError> {
    #[derive(Serialize)]
    struct Shown<'a> {
        name: &'a str,
        created_at_ms: i64,
    }
    let shown = Shown { name: &project.name, created_at_ms: project.created_at_ms };
    let body = data_update(project.id, "project", &project.id.to_string(), action, &shown)?;
    let event = append(connection, now, project.id, body).await?;
    project.off = event.off;
    Ok(Committed { value: project, event: Some(event) })
}

/// A name without surrounding space, or why it cannot be one.
pub(crate) fn checked_name(noun: &str, name: &str) -> Result<String, StoreError> {
    let name = name.trim();
    names::check(name, MAX_NAME_CHARS).map_err(|error| StoreError::Invalid(format!("the {noun} name {error}")))?;
    Ok(name.to_owned())
}

/// A cursor back into what it was made from.
pub(crate) fn cursor<T: std::str::FromStr>(text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::Invalid(format!("after {text:?} is not a cursor of this list")))
}

/// Six characters tell histories of one project apart; they need not be unique across projects.
pub(crate) fn fresh_epoch() -> String {
    use rand::Rng;
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut random = rand::rng();
    (0..6).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
}
