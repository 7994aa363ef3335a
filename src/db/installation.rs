//! Which installation a database belongs to: the id that its folder of uploads carries as well.
//!
//! Easy to get wrong: a restored copy of a database has the id of the original, and must not clean up among its files; so a
//! restore begins anew.
use super::error::StoreError;
use super::pool;
use super::projects;
use super::schema::installation;
use super::store::Store;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;

/// What [`begin_anew`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The installation's new id.
    pub id: String,
    /// Projects with a new epoch.
    pub projects: usize,
}

/// The installation's id.
///
/// # Errors
/// As any call.
pub async fn id(store: &Store) -> Result<String, StoreError> {
    pool::read!(store, |conn| { Ok::<_, StoreError>(installation::table.select(installation::id).first(conn).await?) })
}

/// Makes of a restored database an installation of its own: a new id, and a new epoch for every project, in one transaction.
///
/// # Errors
/// As any call.
pub async fn begin_anew(store: &Store) -> Result<Renewed, StoreError> {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let epoch = projects::fresh_epoch();
    pool::write!(store, |conn| {
        diesel::update(installation::table).set(installation::id.eq(&id)).execute(conn).await?;
        let projects = projects::set_epochs(conn, &epoch).await?;
        Ok::<_, StoreError>(Renewed { id, projects })
    })
}
