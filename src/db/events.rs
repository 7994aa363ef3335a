//! The durable event log: one gapless sequence per project, stored in the transaction that changes the rows.
//!
//! It leaves delivery to the hub. The one thing easy to get wrong: an offset is taken by [`append`] inside the
//! writer's transaction; taking it anywhere else makes holes that a client waits for for ever.
use super::clock::micros;
use super::error::StoreError;
use super::pool::{self, Conn, Engine};
use super::postgres::appending::Append;
use super::postgres::locks;
use super::postgres::locks::Alone;
use super::schema::{events, projects};
use super::sql_types::ms;
use super::store::Store;
use crate::protocol::ids::ProjectId;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a change returns: the row as committed and the event to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed<T> {
    /// The row after the change.
    pub value: T,
    /// The durable event of the change; `None` when nothing changed. Stored already: publishing it late or never only delays clients.
    pub event: Option<DurableEvent>,
}

/// One stored event of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DurableEvent {
    /// The project whose room sees it.
    pub project_id: ProjectId,
    /// The epoch of the project's history; offsets compare only within one.
    pub ep: String,
    /// Position in the project's history: the first event has 1, each next one more.
    pub off: u64,
    /// When it was committed, Unix milliseconds.
    pub ts_ms: i64,
    /// The JSON member without braces: `"DataUpdate":{…}`.
    pub body: String,
}

/// A place in a project's history, shown to clients as `ep:off`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The epoch.
    pub ep: String,
    /// The offset of the last event that the snapshot includes.
    pub off: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.ep, self.off)
    }
}

/// Some rows of a list, in its order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// At most the limit that was asked for.
    pub items: Vec<T>,
    /// Give it as `after` for the next page; `None` when this was the last one.
    pub next: Option<String>,
    /// The project's position, read in the same transaction; `None` for lists across projects.
    pub position: Option<Position>,
}

impl<T> Page<T> {
    /// Cuts `rows`, read with a limit of one more than asked, into a page.
    pub(crate) fn cut(mut rows: Vec<T>, limit: usize, cursor: impl Fn(&T) -> String) -> Self {
        let more = rows.len() > limit;
        rows.truncate(limit);
        Self::of(rows, more, cursor)
    }

    /// A page of these; `more` come after it.
    pub(crate) fn of(items: Vec<T>, more: bool, cursor: impl Fn(&T) -> String) -> Self {
        let next = if more { items.last().map(cursor) } else { None };
        Self { items, next, position: None }
    }
}

/// What [`since`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// Every event after the asked offset, in order, up to the limit; ask again from the last one while it is below `head`.
    Recovered {
        /// Without a hole, beginning right after the asked offset.
        events: Vec<DurableEvent>,
        /// The offset of the newest event.
        head: u64,
    },
    /// The history after that offset is no longer, or never was, stored: start from a snapshot.
    Unrecoverable {
        /// The present epoch.
        ep: String,
        /// The present head.
        off: u64,
        /// The oldest event that is stored, if any history can be asked for: what follows an offset below the one before it
        /// is gone. [`u64::MAX`] when all that was asked about is: it is of another epoch, or never was.
        oldest: u64,
    },
}

/// Projects whose history one call of [`trim`] shortens.
const PROJECTS_PER_TRIM: i64 = 100;
/// Most events one call returns.
pub const MAX_EVENTS_PER_READ: usize = 1_000;

/// The event of a change to an entity, as it crosses the wire.
pub(crate) fn data_update(
    project: ProjectId,
    entity: &str,
    id: &str,
    action: &str,
    data: &impl Serialize,
) -> Result<String, StoreError> {
    #[derive(Serialize)]
    struct Body<'a, T> {
        project_id: ProjectId,
        entity: &'a str,
        entity_id: &'a str,
        action: &'a str,
        data: &'a T,
    }
    member("DataUpdate", &Body { project_id: project, entity, entity_id: id, action, data })
}

/// A JSON member without braces.
pub(crate) fn member(name: &str, value: &impl Serialize) -> Result<String, StoreError> {
    let json = serde_json::to_string(value)
        .map_err(|error| StoreError::Internal(format!("cannot encode a {name} event: {error}")))?;
    Ok(format!("\"{name}\":{json}"))
}

/// Takes the next offset and stores the event; part of the caller's transaction.
pub(crate) async fn append(
    connection: &mut impl Engine,
    now: i64,
    project: ProjectId,
    body: String,
) -> Result<DurableEvent, StoreError> {
    let (ep, off): (String, i64) = match connection.conn() {
        Conn::Postgres(conn) => Append { project, now, body: &body, deleted_too: true }.get_result(conn).await?,
        Conn::Sqlite(conn) => {
            let head: (String, i64) = diesel::update(projects::table.find(project))
                .set(projects::head_offset.eq(projects::head_offset + 1))
                .returning((projects::epoch, projects::head_offset))
                .get_result(conn)
                .await?;
            diesel::insert_into(events::table)
                .values((
                    events::project_id.eq(project),
                    events::off.eq(head.1),
                    events::at_us.eq(now),
                    events::body.eq(&body),
                ))
                .execute(conn)
                .await?;
            head
        }
    };
    Ok(DurableEvent { project_id: project, ep, off: off.unsigned_abs(), ts_ms: ms(now), body })
}

/// The position of a project, inside the caller's transaction.
pub(crate) async fn position(connection: &mut impl Engine, project: ProjectId) -> Result<Position, StoreError> {
    pool::on!(connection, |conn| {
        let (ep, off): (String, i64) =
            projects::table.find(project).select((projects::epoch, projects::head_offset)).first(conn).await?;
        Ok(Position { ep, off: off.unsigned_abs() })
    })
}

/// The position of a project that was not deleted.
async fn living(connection: &mut impl Engine, project: ProjectId) -> Result<Position, StoreError> {
    pool::on!(connection, |conn| {
        let row: Option<(String, i64)> = projects::table
            .filter(projects::id.eq(project).and(projects::deleted_us.is_null()))
            .select((projects::epoch, projects::head_offset))
            .first(conn)
            .await
            .optional()?;
        let (ep, off) = row.ok_or(StoreError::NotFound)?;
        Ok(Position { ep, off: off.unsigned_abs() })
    })
}

/// The newest position of a project.
///
/// # Errors
/// [`StoreError::NotFound`] for a project that is not there, or was deleted.
pub async fn head(store: &Store, project: ProjectId) -> Result<(String, u64), StoreError> {
    pool::read!(store, |conn| {
        let position = living(conn, project).await?;
        Ok::<_, StoreError>((position.ep, position.off))
    })
}

/// The newest positions of these projects, in one query; of those that are there and were not deleted. At most some hundreds are sensible.
///
/// # Errors
/// As any call.
pub async fn heads(store: &Store, of: Vec<ProjectId>) -> Result<Vec<(ProjectId, String, u64)>, StoreError> {
    pool::read!(store, |conn| {
        let rows: Vec<(ProjectId, String, i64)> = projects::table
            .filter(projects::id.eq_any(&of).and(projects::deleted_us.is_null()))
            .select((projects::id, projects::epoch, projects::head_offset))
            .load(conn)
            .await?;
        Ok::<_, StoreError>(rows.into_iter().map(|(id, ep, off)| (id, ep, off.unsigned_abs())).collect())
    })
}

/// The events after `off` in epoch `ep`, oldest first, at most `limit` and [`MAX_EVENTS_PER_READ`].
///
/// # Errors
/// [`StoreError::NotFound`] for a project that is not there, or was deleted.
pub async fn since(
    store: &Store,
    project: ProjectId,
    ep: &str,
    off: u64,
    limit: usize,
) -> Result<Recovery, StoreError> {
    let ep = ep.to_owned();
    let limit = limit.min(MAX_EVENTS_PER_READ) as i64;
    pool::read!(store, |conn| {
        let head = living(conn, project).await?;
        let lost = |oldest| Recovery::Unrecoverable { ep: head.ep.clone(), off: head.off, oldest };
        if ep != head.ep || off > head.off {
            return Ok(lost(u64::MAX));
        }
        let rows: Vec<(i64, i64, String)> = events::table
            .filter(events::project_id.eq(project).and(events::off.gt(off as i64)))
            .order(events::off)
            .limit(limit)
            .select((events::off, events::at_us, events::body))
            .load(conn)
            .await?;
        let first = rows.as_slice().first().map_or(head.off + 1, |row| row.0.unsigned_abs());
        if first != off + 1 && limit > 0 {
            return Ok(lost(first));
        }
        let events = rows
            .into_iter()
            .map(|(off, at_us, body)| DurableEvent {
                project_id: project,
                ep: head.ep.clone(),
                off: off.unsigned_abs(),
                ts_ms: ms(at_us),
                body,
            })
            .collect();
        Ok::<_, StoreError>(Recovery::Recovered { events, head: head.off })
    })
}

/// Removes about `batch` events that are older than `age` or beyond the newest `keep` of their project; returns how many
/// went. Call it until it returns 0.
///
/// # Errors
/// As any call.
pub async fn trim(store: &Store, keep: u64, age: Duration, batch: usize) -> Result<usize, StoreError> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    pool::write!(store, |conn, now| {
        if !locks::try_alone(conn, Alone::Sweep).await? {
            return Ok(0);
        }
        let batch = batch as i64;
        let aged = trim_by_age(conn, now.saturating_sub(micros(age)), batch).await?;
        let left = batch.saturating_sub(aged as i64);
        Ok::<_, StoreError>(aged + trim_by_count(conn, keep, left).await?)
    })
}

/// By the index of ages.
async fn trim_by_age(connection: &mut impl Engine, older_than_us: i64, batch: i64) -> Result<usize, StoreError> {
    pool::on!(connection, |conn| {
        let doomed: Vec<(ProjectId, i64)> = events::table
            .filter(events::at_us.lt(older_than_us))
            .order(events::at_us)
            .limit(batch)
            .select((events::project_id, events::off))
            .load(conn)
            .await?;
        let mut newest: BTreeMap<ProjectId, i64> = BTreeMap::new();
        for (project, off) in doomed {
            let newest = newest.entry(project).or_insert(off);
            *newest = off.max(*newest);
        }
        let mut removed = 0;
        // One statement per project of the batch: a prefix of its primary key, so that no history ever has a hole.
        for (project, off) in newest {
            removed += diesel::delete(events::table.filter(events::project_id.eq(project).and(events::off.le(off))))
                .execute(conn)
                .await?;
        }
        Ok(removed)
    })
}

/// By the primary key: the oldest event of a project says whether it has too many.
async fn trim_by_count(connection: &mut impl Engine, keep: i64, batch: i64) -> Result<usize, StoreError> {
    pool::on!(connection, |conn| {
        let oldest = events::table
            .filter(events::project_id.eq(projects::id))
            .order(events::off)
            .select(events::off)
            .single_value();
        let over: Vec<(ProjectId, i64)> = projects::table
            .filter(projects::head_offset.gt(keep))
            .filter(oldest.le((projects::head_offset - keep).nullable()))
            .limit(batch.min(PROJECTS_PER_TRIM))
            .select((projects::id, projects::head_offset))
            .load(conn)
            .await?;
        let mut removed = 0;
        // Two statements per project, of at most `PROJECTS_PER_TRIM`.
        for (project, head) in over {
            let left = batch - removed as i64;
            if left <= 0 {
                break;
            }
            let mine = events::table.filter(events::project_id.eq(project));
            let first: i64 = mine.order(events::off).select(events::off).first(conn).await?;
            // Offsets have no hole: so many rows are so many offsets.
            let last = (head - keep).min(first + left - 1);
            let doomed = events::project_id.eq(project).and(events::off.le(last));
            removed += diesel::delete(events::table.filter(doomed)).execute(conn).await?;
        }
        Ok(removed)
    })
}
