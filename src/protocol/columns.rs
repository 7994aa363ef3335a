//! Ids as columns of diesel, on SQLite and PostgreSQL; only with the feature `diesel`. No SQL is said here.
//!
//! Hyphenated lower-case text on SQLite, which sorts like the id, and real uuids on PostgreSQL. It stands in this crate because only the
//! crate of a type can give it another's traits.
use crate::ids::{JobId, MatchId, ProjectId, SourceId};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::query_builder::QueryId;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{SqlType, Text};
use diesel::sqlite::Sqlite;
use std::io::Write as _;

/// A column of ids. The numbers are PostgreSQL's own for `uuid` and `uuid[]`.
#[derive(Debug, Clone, Copy, Default, QueryId, SqlType)]
#[diesel(sqlite_type(name = "Text"), postgres_type(oid = 2950, array_oid = 2951))]
pub struct Uid;

macro_rules! id_column {
    ($type:ident, $proxy:ident) => {
        #[derive(AsExpression, FromSqlRow)]
        #[diesel(foreign_derive)]
        #[diesel(sql_type = Uid)]
        #[expect(dead_code, reason = "diesel's way to derive for a type of another module")]
        struct $proxy($type);

        impl ToSql<Uid, Pg> for $type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
                out.write_all(self.0.as_bytes())?;
                Ok(IsNull::No)
            }
        }
        impl FromSql<Uid, Pg> for $type {
            fn from_sql(bytes: <Pg as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                Ok(Self(uuid::Uuid::from_slice(bytes.as_bytes())?))
            }
        }
        impl ToSql<Uid, Sqlite> for $type {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> serialize::Result {
                out.set_value(self.to_string());
                Ok(IsNull::No)
            }
        }
        impl FromSql<Uid, Sqlite> for $type {
            fn from_sql(bytes: <Sqlite as Backend>::RawValue<'_>) -> deserialize::Result<Self> {
                let text = <String as FromSql<Text, Sqlite>>::from_sql(bytes)?;
                Ok(text.parse()?)
            }
        }
    };
}
id_column!(ProjectId, ProjectIdColumn);
id_column!(SourceId, SourceIdColumn);
id_column!(JobId, JobIdColumn);
id_column!(MatchId, MatchIdColumn);
