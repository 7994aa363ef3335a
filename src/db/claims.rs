//! Claims: who is working on which entity, a leased row so that exactly one user holds it whatever restarts.
//!
//! It leaves showing claims to the hub. The one thing easy to get wrong: an expired row still lies there; every
//! question compares with the clock.
use super::error::StoreError;
use super::pool;
use super::schema::claims;
use super::sql_types::{ms, now_us};
use super::store::Store;
use crate::protocol::ids::ProjectId;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use std::time::Duration;

/// A claim in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub entity_id: String,
    /// Who holds it.
    pub user_id: String,
    /// Rises each time the claim changes hands; a write under an older token is a zombie's.
    pub token: u64,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
}

/// Most claims [`list`] returns.
pub const MAX_CLAIMS: i64 = 10_000;

/// The claim on an entity after `user_id` asked for it: theirs, taken or renewed, or the one that stands in the way.
/// Compare `user_id` to know which.
///
/// # Errors
/// [`StoreError::NotFound`] for the project.
pub async fn take(
    store: &Store,
    project: ProjectId,
    entity_id: &str,
    user_id: &str,
    lease: Duration,
) -> Result<Claim, StoreError> {
    let (entity, user) = (entity_id.to_owned(), user_id.to_owned());
    pool::write!(store, |conn| {
        super::projects::find(conn, project).await?;
        let now = now_us();
        let held: Option<(String, i64, i64)> = claims::table
            .find((project, &entity))
            .select((claims::user_id, claims::token, claims::expires_us))
            .first(conn)
            .await
            .optional()?;
        let token = match held {
            Some((holder, token, expires)) if expires > now && holder != user => {
                return Ok(shown(entity, holder, token, expires));
            }
            Some((holder, token, expires)) if expires > now && holder == user => token,
            Some((_, token, _)) => token + 1,
            None => 1,
        };
        let expires = now.saturating_add(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX));
        diesel::insert_into(claims::table)
            .values((
                claims::project_id.eq(project),
                claims::entity_id.eq(&entity),
                claims::user_id.eq(&user),
                claims::token.eq(token),
                claims::expires_us.eq(expires),
            ))
            .on_conflict((claims::project_id, claims::entity_id))
            .do_update()
            .set((
                claims::user_id.eq(excluded(claims::user_id)),
                claims::token.eq(excluded(claims::token)),
                claims::expires_us.eq(excluded(claims::expires_us)),
            ))
            .execute(conn)
            .await?;
        Ok::<_, StoreError>(shown(entity, user, token, expires))
    })
}

/// Gives a claim back; `false` when that user did not hold it.
///
/// # Errors
/// As any call.
pub async fn release(store: &Store, project: ProjectId, entity_id: &str, user_id: &str) -> Result<bool, StoreError> {
    let (entity, user) = (entity_id.to_owned(), user_id.to_owned());
    pool::write!(store, |conn| {
        let now = now_us();
        // The row stays until it is swept, so that its token goes on rising.
        let freed = diesel::update(claims::table.find((project, &entity)))
            .filter(claims::user_id.eq(&user).and(claims::expires_us.gt(now)))
            .set(claims::expires_us.eq(now))
            .execute(conn)
            .await?;
        Ok::<_, StoreError>(freed > 0)
    })
}

/// The claims in force in a project.
///
/// # Errors
/// As any call.
pub async fn list(store: &Store, project: ProjectId) -> Result<Vec<Claim>, StoreError> {
    pool::read!(store, |conn| {
        let rows: Vec<(String, String, i64, i64)> = claims::table
            .filter(claims::project_id.eq(project).and(claims::expires_us.gt(now_us())))
            .order(claims::entity_id)
            .limit(MAX_CLAIMS)
            .select((claims::entity_id, claims::user_id, claims::token, claims::expires_us))
            .load(conn)
            .await?;
        let claims = rows.into_iter().map(|(entity, user, token, expires)| shown(entity, user, token, expires));
        Ok::<_, StoreError>(claims.collect())
    })
}

fn shown(entity_id: String, user_id: String, token: i64, expires_us: i64) -> Claim {
    Claim { entity_id, user_id, token: token.unsigned_abs(), expires_at_ms: ms(expires_us) }
}
