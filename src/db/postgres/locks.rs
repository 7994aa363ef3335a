//! Who waits for whom on PostgreSQL, where several processes write at once. On SQLite, whose writer is alone, nobody does.
//!
//! A change of a project begins by locking the project's row, so in a project it is alone, as it is on SQLite; what it read
//! stays true until it commits. The one thing easy to get wrong is the order: a job's place in the queue, then the project,
//! then a lock by name (that of claims alone comes first). Two changes that take them in another order wait for each other until the server ends one.
use crate::db::error::StoreError;
use crate::db::pool::{Conn, Engine};
use crate::db::schema::{job_queue, jobs, projects, sources};
use crate::protocol::ids::{JobId, ProjectId, SourceId};
use diesel::prelude::*;
use diesel::sql_types::Integer;
use diesel_async::RunQueryDsl;

/// What only one transaction of the installation does at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Alone {
    /// Counts projects, to make one more.
    Projects = 1,
    /// Counts jobs in the queue, to add one.
    Queue = 2,
    /// Removes what is deleted or too old.
    Sweep = 3,
    /// Takes the next job from the queue; held before its place there, which no other holder of a lock by name has.
    Claim = 4,
}

/// Ours among the server's locks by name.
const NAMESPACE: i32 = 8_388_605;

diesel::define_sql_function! { fn pg_advisory_xact_lock(space: Integer, name: Integer) -> diesel::sql_types::Text; }
diesel::define_sql_function! { fn pg_try_advisory_xact_lock(space: Integer, name: Integer) -> diesel::sql_types::Bool; }

/// Waits until nobody else does this, until the end of the transaction.
pub(crate) async fn alone(connection: &mut impl Engine, what: Alone) -> Result<(), StoreError> {
    if let Conn::Postgres(conn) = connection.conn() {
        diesel::select(pg_advisory_xact_lock(NAMESPACE, what as i32)).execute(conn).await?;
    }
    Ok(())
}

/// Whether nobody else does this, until the end of the transaction.
pub(crate) async fn try_alone(connection: &mut impl Engine, what: Alone) -> Result<bool, StoreError> {
    match connection.conn() {
        Conn::Postgres(conn) => {
            Ok(diesel::select(pg_try_advisory_xact_lock(NAMESPACE, what as i32)).get_result(conn).await?)
        }
        Conn::Sqlite(_) => Ok(true),
    }
}

/// From here to the end of the transaction nobody else changes the project. Nothing when it does not exist.
pub(crate) async fn project(connection: &mut impl Engine, id: ProjectId) -> Result<(), StoreError> {
    if let Conn::Postgres(conn) = connection.conn() {
        let row = projects::table.find(id).select(projects::id).for_update();
        row.first::<ProjectId>(conn).await.optional()?;
    }
    Ok(())
}

/// The same for the project of a source.
pub(crate) async fn project_of_source(connection: &mut impl Engine, id: SourceId) -> Result<(), StoreError> {
    if let Conn::Postgres(conn) = connection.conn() {
        let its = sources::table.find(id).select(sources::project_id);
        let row = projects::table.filter(projects::id.eq_any(its)).select(projects::id).for_update();
        row.first::<ProjectId>(conn).await.optional()?;
    }
    Ok(())
}

/// The same for the project of a job; before it the job's place in the queue, so that nobody claims it meanwhile.
pub(crate) async fn project_of_job(connection: &mut impl Engine, id: JobId) -> Result<(), StoreError> {
    if let Conn::Postgres(conn) = connection.conn() {
        place_in_queue(conn, id).await?;
        let its = jobs::table.find(id).select(jobs::project_id);
        let row = projects::table.filter(projects::id.eq_any(its)).select(projects::id).for_update();
        row.first::<ProjectId>(conn).await.optional()?;
    }
    Ok(())
}

/// The same for a project and all of its jobs' places in the queue.
pub(crate) async fn project_and_queue(connection: &mut impl Engine, id: ProjectId) -> Result<(), StoreError> {
    if let Conn::Postgres(conn) = connection.conn() {
        let mine = jobs::table.filter(jobs::project_id.eq(id)).select(jobs::id);
        let places = job_queue::table.filter(job_queue::job_id.eq_any(mine)).order(job_queue::job_id);
        places.select(job_queue::job_id).for_update().load::<JobId>(conn).await?;
        project(conn, id).await?;
    }
    Ok(())
}

/// A job's place in the queue, if it has one.
pub(crate) async fn place_in_queue(connection: &mut impl Engine, id: JobId) -> Result<(), StoreError> {
    if let Conn::Postgres(conn) = connection.conn() {
        let place = job_queue::table.find(id).select(job_queue::job_id).for_update();
        place.first::<JobId>(conn).await.optional()?;
    }
    Ok(())
}
