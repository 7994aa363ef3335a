//! Claims: who is working on which entity, a leased row so that exactly one holder has it whatever restarts.
//!
//! It leaves showing claims to the hub. The one thing easy to get wrong: an expired row still lies there; every
//! question compares with the clock.
use super::clock::micros;
use super::error::StoreError;
use super::pool;
use super::schema::claims;
use super::sql_types::ms;
use super::store::Store;
use crate::protocol::ids::ProjectId;
use diesel::prelude::*;
use diesel::upsert::excluded;
use diesel_async::RunQueryDsl;
use std::collections::HashMap;
use std::time::Duration;

/// A claim in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub entity_id: String,
    /// Whose it is.
    pub user_id: String,
    /// The connection and process, or the call, that it was made on.
    pub holder: String,
    /// Rises each time the claim changes hands; a write under an older token is a zombie's.
    pub token: u64,
    /// Unix milliseconds.
    pub expires_at_ms: i64,
}

/// Who wants what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What.
    pub entity_id: String,
    /// For whom.
    pub user_id: String,
    /// On which connection of which process: `process:number`; or a name of its own.
    pub holder: String,
}

/// Entity, user, holder, token and end, as they are stored.
type Row = (String, String, String, i64, i64);

/// How [`take`] went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is theirs now.
    Granted(Claim),
    /// It was theirs and lasts longer.
    Renewed(Claim),
    /// This one stands in the way.
    Held(Claim),
}

/// Most claims [`list`] returns.
pub const MAX_CLAIMS: i64 = 10_000;
/// Claims renewed by one statement, well below the engine's bound on parameters.
const RENEWED_AT_ONCE: usize = 500;

/// What stands before the holder of a claim that was abandoned.
const ABANDONED: &str = "lost:";

/// The claim on an entity after it was asked for. What was abandoned gives way to its own user, and so does the row of a
/// process that is gone: where this process has the store for itself, whoever else wrote it no longer runs.
///
/// # Errors
/// [`StoreError::NotFound`] for the project; [`StoreError::LimitExceeded`] past `most` claims in it.
pub async fn take(
    store: &Store,
    project: ProjectId,
    wanted: Wanted,
    lease: Duration,
    most: u64,
) -> Result<Taken, StoreError> {
    let exclusive = store.exclusive();
    pool::write!(store, |conn, now| {
        let Wanted { entity_id, user_id, holder } = wanted;
        super::projects::find_to_change(conn, project).await?;
        let row: Option<(String, String, i64, i64)> = claims::table
            .find((project, &entity_id))
            .select((claims::user_id, claims::holder, claims::token, claims::expires_us))
            .first(conn)
            .await
            .optional()?;
        let (token, renewed) = match row {
            Some((user, held_by, token, expires)) if expires > now => {
                let theirs = user == user_id && held_by == holder;
                let gone = held_by.starts_with(ABANDONED) || (exclusive && is_another_process(&held_by, &holder));
                if !theirs && (user != user_id || !gone) {
                    return Ok(Taken::Held(shown((entity_id, user, held_by, token, expires))));
                }
                (if theirs { token } else { token + 1 }, theirs)
            }
            earlier => {
                let in_force = claims::table.filter(claims::project_id.eq(project).and(claims::expires_us.gt(now)));
                let many: i64 = in_force.count().get_result(conn).await?;
                if many.unsigned_abs() >= most {
                    return Err(StoreError::LimitExceeded { limit: "claims_per_project", max: most });
                }
                (earlier.map_or(1, |(_, _, token, _)| token + 1), false)
            }
        };
        let expires = now.saturating_add(micros(lease));
        diesel::insert_into(claims::table)
            .values((
                claims::project_id.eq(project),
                claims::entity_id.eq(&entity_id),
                claims::user_id.eq(&user_id),
                claims::holder.eq(&holder),
                claims::token.eq(token),
                claims::expires_us.eq(expires),
            ))
            .on_conflict((claims::project_id, claims::entity_id))
            .do_update()
            .set((
                claims::user_id.eq(excluded(claims::user_id)),
                claims::holder.eq(excluded(claims::holder)),
                claims::token.eq(excluded(claims::token)),
                claims::expires_us.eq(excluded(claims::expires_us)),
            ))
            .execute(conn)
            .await?;
        let claim = shown((entity_id, user_id, holder, token, expires));
        Ok::<_, StoreError>(if renewed { Taken::Renewed(claim) } else { Taken::Granted(claim) })
    })
}

/// Lets those of `wanted` (entity and holder) that are still in force last longer; returns them, with the new end.
///
/// # Errors
/// As any call.
pub async fn renew(
    store: &Store,
    project: ProjectId,
    wanted: Vec<(String, String)>,
    lease: Duration,
) -> Result<Vec<Claim>, StoreError> {
    pool::write!(store, |conn, now| {
        let expires = now.saturating_add(micros(lease));
        let mut renewed = Vec::new();
        // One statement for hundreds of rows.
        for some in wanted.chunks(RENEWED_AT_ONCE) {
            let entities = some.iter().map(|(entity, _)| entity);
            let holders = some.iter().map(|(_, holder)| holder);
            let rows: Vec<Row> = diesel::update(claims::table)
                .filter(claims::project_id.eq(project).and(claims::expires_us.gt(now)))
                .filter(claims::entity_id.eq_any(entities).and(claims::holder.eq_any(holders)))
                .set(claims::expires_us.eq(expires))
                .returning((claims::entity_id, claims::user_id, claims::holder, claims::token, claims::expires_us))
                .get_results(conn)
                .await?;
            renewed.extend(rows.into_iter().map(shown));
        }
        Ok::<_, StoreError>(renewed)
    })
}

/// The holder of a claim as it is written once it was abandoned.
pub fn abandoned(holder: &str) -> String {
    format!("{ABANDONED}{holder}")
}

/// The connection `holder` is gone: its claim lasts as long as it did, and until then its own user may take it over, on
/// any connection to any process. `false` when it had none.
///
/// # Errors
/// As any call.
pub async fn abandon(store: &Store, project: ProjectId, entity_id: &str, holder: &str) -> Result<bool, StoreError> {
    let (entity, holder) = (entity_id.to_owned(), holder.to_owned());
    pool::write!(store, |conn, now| {
        let row = diesel::update(claims::table.find((project, &entity)))
            .filter(claims::holder.eq(&holder).and(claims::expires_us.gt(now)))
            .set(claims::holder.eq(abandoned(&holder)));
        Ok::<_, StoreError>(row.execute(conn).await? > 0)
    })
}

/// Gives a claim back: `user_id`'s, and only `holder`'s when it is given, abandoned or not. `false` when there was none.
///
/// # Errors
/// [`StoreError::NotFound`] for the project.
pub async fn release(
    store: &Store,
    project: ProjectId,
    entity_id: &str,
    user_id: &str,
    holder: Option<String>,
) -> Result<bool, StoreError> {
    let (entity, user) = (entity_id.to_owned(), user_id.to_owned());
    pool::write!(store, |conn, now| {
        super::projects::find(conn, project).await?;
        // The row stays until it is swept, so that its token goes on rising.
        let row = diesel::update(claims::table.find((project, &entity)))
            .filter(claims::user_id.eq(&user).and(claims::expires_us.gt(now)))
            .set(claims::expires_us.eq(now));
        let freed = match holder {
            Some(holder) => row.filter(claims::holder.eq_any([abandoned(&holder), holder])).execute(conn).await?,
            None => row.execute(conn).await?,
        };
        Ok::<_, StoreError>(freed > 0)
    })
}

/// The claims in force in a project.
///
/// # Errors
/// As any call.
pub async fn list(store: &Store, project: ProjectId) -> Result<Vec<Claim>, StoreError> {
    pool::read!(store, |conn, now| {
        let rows: Vec<Row> = claims::table
            .filter(claims::project_id.eq(project).and(claims::expires_us.gt(now)))
            .order(claims::entity_id)
            .limit(MAX_CLAIMS)
            .select((claims::entity_id, claims::user_id, claims::holder, claims::token, claims::expires_us))
            .load(conn)
            .await?;
        Ok::<_, StoreError>(rows.into_iter().map(shown).collect())
    })
}

/// The claims in force in each of these projects; a project without any has no entry.
///
/// # Errors
/// As any call.
pub async fn list_many(store: &Store, of: Vec<ProjectId>) -> Result<HashMap<ProjectId, Vec<Claim>>, StoreError> {
    pool::read!(store, |conn, now| {
        let (mut found, mut left) = (HashMap::<_, Vec<_>>::new(), of);
        loop {
            // One query for hundreds of projects; another one only when there are more claims than one may bring.
            let rows: Vec<(ProjectId, Row)> = claims::table
                .filter(claims::project_id.eq_any(&left).and(claims::expires_us.gt(now)))
                .order((claims::project_id, claims::entity_id))
                .limit(MAX_CLAIMS)
                .select((
                    claims::project_id,
                    (claims::entity_id, claims::user_id, claims::holder, claims::token, claims::expires_us),
                ))
                .load(conn)
                .await?;
            let cut_off = rows.last().map(|(project, _)| *project).filter(|_| rows.len() as i64 >= MAX_CLAIMS);
            let mut some = HashMap::<_, Vec<_>>::new();
            for (project, row) in rows {
                some.entry(project).or_default().push(shown(row));
            }
            // What was cut off is read from its beginning, unless it is as much as is ever read of one project.
            if let Some(project) = cut_off.filter(|_| some.len() > 1) {
                some.remove(&project);
            }
            left.retain(|project| !some.contains_key(project));
            found.extend(some);
            if cut_off.is_none() || left.is_empty() {
                return Ok::<_, StoreError>(found);
            }
        }
    })
}

/// Whether two holders are connections of different processes. What is not a connection outlives its process.
fn is_another_process(held_by: &str, holder: &str) -> bool {
    match (held_by.rsplit_once(':'), holder.rsplit_once(':')) {
        (Some((there, _)), Some((here, _))) => there != here,
        _ => false,
    }
}

fn shown((entity_id, user_id, holder, token, expires_us): Row) -> Claim {
    Claim { entity_id, user_id, holder, token: token.unsigned_abs(), expires_at_ms: ms(expires_us) }
}
