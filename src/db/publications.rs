//! Events that come from outside through the server API, each published once per `Idempotency-Key`.
//!
//! It leaves what may be published to its caller. The one thing easy to get wrong: the key is looked up and kept in the
//! transaction that stores the event, or two requests with one key would both publish.
use super::clock::micros;
use super::error::StoreError;
use super::events::{self, DurableEvent, Position};
use super::locks::{self, Alone};
use super::pool;
use super::projects;
use super::schema::publications;
use super::sql_types::ms;
use super::store::Store;
use crate::protocol::ids::ProjectId;
use diesel::prelude::*;
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
    pool::write!(store, |conn, now| {
        projects::find_to_change(conn, project).await?;
        if let Some(once) = &once {
            let before: Option<(String, Option<String>, Option<i64>, i64)> = publications::table
                .find((&once.user_id, &once.key))
                .select((publications::request_hash, publications::ep, publications::off, publications::at_us))
                .first(conn)
                .await
                .optional()?;
            if let Some((hash, ep, off, at_us)) = before {
                if hash != once.request_hash {
                    return Ok(Published::KeyReused);
                }
                let position = ep.zip(off).map(|(ep, off)| Position { ep, off: off.unsigned_abs() });
                return Ok(Published::Before(Receipt { position, ts_ms: ms(at_us) }));
            }
        }
        let event = match durable {
            Some(body) => Some(events::append(conn, now, project, body).await?),
            None => None,
        };
        let position = event.as_ref().map(|event| Position { ep: event.ep.clone(), off: event.off });
        if let Some(once) = &once {
            let kept = diesel::insert_into(publications::table)
                .values((
                    publications::user_id.eq(&once.user_id),
                    publications::key.eq(&once.key),
                    publications::request_hash.eq(&once.request_hash),
                    publications::ep.eq(position.as_ref().map(|position| position.ep.clone())),
                    publications::off.eq(position.as_ref().map(|position| position.off as i64)),
                    publications::at_us.eq(now),
                ))
                .on_conflict_do_nothing()
                .execute(conn)
                .await?;
            if kept == 0 {
                // Of another project, or it would have waited for its turn.
                return Err(StoreError::Conflict("the key is being used for another request".into()));
            }
        }
        Ok::<_, StoreError>(Published::Now(Receipt { position, ts_ms: ms(now) }, event))
    })
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
