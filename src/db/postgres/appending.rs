//! Two statements of PostgreSQL that do in one way to the server what would take three: the next offset, its event, and the key.
//!
//! Diesel builds no statement that changes several tables. Its query builder still binds the values and keeps them prepared. They
//! leave what an event is to `events`, and what a key means to `publications`. The one thing easy to get wrong: the parts of such
//! a statement do not see each other's changes, only what they hand on by RETURNING.
use crate::db::sql_types::Uid;
use crate::protocol::ids::ProjectId;
use diesel::QueryResult;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Text};

/// The next offset of a project, and its event. Returns epoch and offset; no row when there is no such project.
pub(in crate::db) struct Append<'a> {
    pub project: ProjectId,
    pub now: i64,
    pub body: &'a str,
    /// Also when the project is deleted: its room is told.
    pub deleted_too: bool,
}

/// The same for a project that is not deleted, and the key. An error when the key is there, whoever's event it stands for; then
/// nothing is stored.
pub(in crate::db) struct Publish<'a> {
    pub project: ProjectId,
    pub now: i64,
    pub body: &'a str,
    pub user: &'a str,
    pub key: &'a str,
    pub request_hash: &'a str,
}

/// Names of the statements among those that are kept prepared.
pub(in crate::db) struct AppendId;
pub(in crate::db) struct PublishId;

impl QueryId for Append<'_> {
    type QueryId = AppendId;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl QueryId for Publish<'_> {
    type QueryId = PublishId;
    const HAS_STATIC_QUERY_ID: bool = true;
}

impl Query for Append<'_> {
    type SqlType = (Text, BigInt);
}

impl Query for Publish<'_> {
    type SqlType = (Text, BigInt);
}

impl QueryFragment<Pg> for Append<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH head AS (UPDATE projects SET head_offset = head_offset + 1 WHERE id = ");
        out.push_bind_param::<Uid, _>(&self.project)?;
        out.push_sql(" AND (deleted_us IS NULL OR ");
        out.push_bind_param::<Bool, _>(&self.deleted_too)?;
        out.push_sql(") RETURNING id, epoch, head_offset), ");
        event(&mut out, &self.now, self.body)?;
        out.push_sql(" SELECT epoch, head_offset FROM head");
        Ok(())
    }
}

impl QueryFragment<Pg> for Publish<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH head AS (UPDATE projects SET head_offset = head_offset + 1 WHERE id = ");
        out.push_bind_param::<Uid, _>(&self.project)?;
        out.push_sql(" AND deleted_us IS NULL RETURNING id, epoch, head_offset), ");
        event(&mut out, &self.now, self.body)?;
        out.push_sql(", once AS (INSERT INTO publications (user_id, key, request_hash, ep, off, at_us) SELECT ");
        for text in [&self.user, &self.key, &self.request_hash] {
            out.push_bind_param::<Text, _>(text)?;
            out.push_sql(", ");
        }
        out.push_sql("epoch, head_offset, ");
        out.push_bind_param::<BigInt, _>(&self.now)?;
        out.push_sql(" FROM head) SELECT epoch, head_offset FROM head");
        Ok(())
    }
}

fn event<'b>(out: &mut AstPass<'_, 'b, Pg>, now: &'b i64, body: &'b str) -> QueryResult<()> {
    out.push_sql("event AS (INSERT INTO events (project_id, off, at_us, body) SELECT id, head_offset, ");
    out.push_bind_param::<BigInt, _>(now)?;
    out.push_sql(", ");
    out.push_bind_param::<Text, _>(body)?;
    out.push_sql(" FROM head)");
    Ok(())
}
