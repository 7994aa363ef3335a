//! Events that come from outside through the server API, each published once per `Idempotency-Key`.
//!
//! It leaves what may be published to its caller. The one thing easy to get wrong: the key is kept in the transaction that
//! stores the event, and one that is there refuses both, or two requests with one key would both publish.
use super::clock::micros;
use super::error::StoreError;
use super::events::{self, DurableEvent, Position};
use super::pool::{self, Checked, Engine, Lane, Postgres, Sqlite};
use super::postgres::appending::{Append, Publish};
use super::postgres::locks;
use super::postgres::locks::Alone;
use super::projects;
use super::schema::publications;
use super::sql_types::ms;
use super::sqlite::blocking;
use super::store::Store;
use crate::protocol::ids::ProjectId;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error};
use diesel_async::RunQueryDsl;
use std::time::Duration;

/// A caller's promise that requests with this key are one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Once {
    /// Whose key it is; two users may use the same.
    pub user_id: String,
    /// The key.
    pub key: String,
    /// A hash of the request: the same key with another request is a mistake.
    pub request_hash: String,
}

/// What a publication is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Of the stored event; none for an ephemeral one.
    pub position: Option<Position>,
    /// When it was taken, Unix milliseconds.
    pub ts_ms: i64,
}

/// What became of a publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Published {
    /// It was taken now; the event, when it is durable, is to be handed to the hub.
    Now(Receipt, Option<DurableEvent>),
    /// It had been taken before, with this answer.
    Before(Receipt),
    /// The key was used for another request.
    KeyReused,
}

/// Takes a publication for a project; `durable` is the JSON member text of an event to store, `"DataUpdate":{…}`.
///
/// # Errors
/// [`StoreError::NotFound`] for the project.
pub async fn publish(
    store: &Store,
    project: ProjectId,
    durable: Option<String>,
    once: Option<Once>,
) -> Result<Published, StoreError> {
    let own = store.clone();
    let taken = async move {
        match own.checkout(Lane::Write).await? {
            Checked::Sqlite(mut turn) => {
                let now = own.now_us();
                let taking = async move |conn: &mut Sqlite| alone(conn, now, project, durable, once).await;
                own.wrote(blocking::immediate(&mut turn, taking).await)
            }
            Checked::Postgres(mut turn) => {
                let (now, lost) = (own.now_us(), turn.lost());
                let (connection, line) = turn.diesel();
                let taking = among_others(connection, now, project, durable, once);
                own.wrote(own.judged(&line, own.unless_lost(lost, taking).await))
            }
        }
    };
    store.detached(taken).await
}

/// On SQLite, where nobody else writes meanwhile.
async fn alone(
    conn: &mut Sqlite,
    now: i64,
    project: ProjectId,
    durable: Option<String>,
    once: Option<Once>,
) -> Result<Published, StoreError> {
    projects::find(conn, project).await?;
    if let Some(once) = &once
        && let Some(before) = before(conn, once).await?
    {
        return Ok(before);
    }
    let event = match durable {
        Some(body) => Some(events::append(conn, now, project, body).await?),
        None => None,
    };
    let receipt = receipt(event.as_ref(), now);
    if let Some(once) = &once {
        keep(conn, once, &receipt, now).await?;
    }
    Ok(Published::Now(receipt, event))
}

/// On PostgreSQL: a look at the key, then one statement, which is a transaction of its own. So the project's row is locked for
/// no way to the server but the last one's end, however far away that is.
async fn among_others(
    conn: &mut Postgres,
    now: i64,
    project: ProjectId,
    durable: Option<String>,
    once: Option<Once>,
) -> Result<Published, StoreError> {
    if let Some(once) = &once
        && let Some(before) = before(conn, once).await?
    {
        projects::find(conn, project).await?;
        return Ok(before);
    }
    let stored = match (&durable, &once) {
        (Some(body), Some(Once { user_id: user, key, request_hash })) => {
            let publish = Publish { project, now, body, user, key, request_hash };
            publish.get_result::<(String, i64)>(conn).await.optional()
        }
        (Some(body), None) => {
            let append = Append { project, now, body, deleted_too: false };
            append.get_result::<(String, i64)>(conn).await.optional()
        }
        (None, once) => {
            projects::find(conn, project).await?;
            let receipt = receipt(None, now);
            if let Some(once) = once
                && keep(conn, once, &receipt, now).await? == 0
            {
                return used_meanwhile(conn, once).await;
            }
            return Ok(Published::Now(receipt, None));
        }
    };
    let (ep, off) = match (stored, &once) {
        (Ok(found), _) => found.ok_or(StoreError::NotFound)?,
        (Err(Error::DatabaseError(DatabaseErrorKind::UniqueViolation, _)), Some(once)) => {
            return used_meanwhile(conn, once).await;
        }
        (Err(error), _) => return Err(error.into()),
    };
    let body = durable.unwrap_or_default();
    let event = DurableEvent { project_id: project, ep, off: off.unsigned_abs(), ts_ms: ms(now), body };
    Ok(Published::Now(receipt(Some(&event), now), Some(event)))
}

/// What became of a request under a key that another one took since we looked.
async fn used_meanwhile(conn: &mut Postgres, once: &Once) -> Result<Published, StoreError> {
    let gone = || StoreError::Conflict("the key was given up while it was asked for; ask again".into());
    before(conn, once).await?.ok_or_else(gone)
}

/// What the request under this key was answered, if there was one.
async fn before(connection: &mut impl Engine, once: &Once) -> Result<Option<Published>, StoreError> {
    type Row = (String, Option<String>, Option<i64>, i64);
    let row: Option<Row> = pool::on!(connection, |conn| {
        publications::table
            .find((&once.user_id, &once.key))
            .select((publications::request_hash, publications::ep, publications::off, publications::at_us))
            .first(conn)
            .await
            .optional()?
    });
    Ok(row.map(|(hash, ep, off, at_us)| {
        if hash != once.request_hash {
            return Published::KeyReused;
        }
        let position = ep.zip(off).map(|(ep, off)| Position { ep, off: off.unsigned_abs() });
        Published::Before(Receipt { position, ts_ms: ms(at_us) })
    }))
}

/// Keeps the key; 0 when it is there already.
async fn keep(connection: &mut impl Engine, once: &Once, receipt: &Receipt, now: i64) -> Result<usize, StoreError> {
    Ok(pool::on!(connection, |conn| {
        diesel::insert_into(publications::table)
            .values((
                publications::user_id.eq(&once.user_id),
                publications::key.eq(&once.key),
                publications::request_hash.eq(&once.request_hash),
                publications::ep.eq(receipt.position.as_ref().map(|position| &position.ep)),
                publications::off.eq(receipt.position.as_ref().map(|position| position.off as i64)),
                publications::at_us.eq(now),
            ))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?
    }))
}

fn receipt(event: Option<&DurableEvent>, now: i64) -> Receipt {
    let position = event.map(|event| Position { ep: event.ep.clone(), off: event.off });
    Receipt { position, ts_ms: ms(now) }
}

/// Forgets about `batch` keys that are older than `age`; returns how many. Call it until it returns 0.
///
/// # Errors
/// As any call.
pub async fn trim(store: &Store, age: Duration, batch: usize) -> Result<usize, StoreError> {
    pool::write!(store, |conn, now| {
        if !locks::try_alone(conn, Alone::Sweep).await? {
            return Ok(0);
        }
        let old = publications::at_us.lt(now.saturating_sub(micros(age)));
        let last_of_batch: Option<i64> = publications::table
            .filter(old)
            .order(publications::at_us)
            .offset(batch.max(1) as i64 - 1)
            .limit(1)
            .select(publications::at_us)
            .first(conn)
            .await
            .optional()?;
        let batch = publications::at_us.le(last_of_batch.unwrap_or(i64::MAX));
        Ok::<_, StoreError>(diesel::delete(publications::table.filter(old).filter(batch)).execute(conn).await?)
    })
}
