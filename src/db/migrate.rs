//! Migrations: embedded, applied in order at start, each in a transaction of its own.
//!
//! A failed one is rolled back and named; earlier ones stay. It leaves retrying to the supervisor. The one thing
//! easy to get wrong: a database that is newer than the binary must be refused, not written to.
use super::error::with_sources;
use super::pool::Sqlite;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
use diesel::{SqliteConnection, sqlite::Sqlite as Backend};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeSet;
use std::fmt;

/// The ordered set of the SQLite arm; every backend has one with the same names.
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Which migration stopped the start, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub migration: String,
    pub reason: String,
}

/// A migration that a test adds behind the embedded ones.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    pub name: String,
    pub up: String,
}

/// Brings the schema to what this binary expects; returns how many migrations ran.
pub(crate) async fn run(connection: &mut Sqlite, extra: Vec<Extra>) -> Result<usize, Failure> {
    let outcome = connection.spawn_blocking(move |sync| Ok(run_blocking(sync, extra))).await;
    outcome.unwrap_or_else(|error| Err(Failure { migration: "(none)".into(), reason: with_sources(&error) }))
}

fn run_blocking(connection: &mut SqliteConnection, extra: Vec<Extra>) -> Result<usize, Failure> {
    let setup = |reason: String| Failure { migration: "(bookkeeping)".into(), reason };
    let mut known = MigrationSource::<Backend>::migrations(&SQLITE).map_err(|error| setup(error.to_string()))?;
    known.extend(extra.into_iter().map(|extra| Box::new(extra) as Box<dyn Migration<Backend>>));
    known.sort_by_key(|migration| migration.name().version().as_owned());
    let applied: BTreeSet<String> = connection
        .applied_migrations()
        .map_err(|error| setup(error.to_string()))?
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected: BTreeSet<String> = known.iter().map(|migration| migration.name().version().to_string()).collect();
    if let Some(unknown) = applied.difference(&expected).last() {
        let newest = expected.last().cloned().unwrap_or_default();
        return Err(Failure {
            migration: unknown.clone(),
            reason: format!(
                "the database is newer than this binary: it has migration {unknown}, and this binary knows none \
                 after {newest}; start a newer tieout, or restore a backup from before the upgrade"
            ),
        });
    }
    let mut ran = 0;
    for migration in known.iter().filter(|migration| !applied.contains(&migration.name().version().to_string())) {
        connection
            .run_migration(migration)
            .map_err(|error| Failure { migration: migration.name().to_string(), reason: root_cause(&*error) })?;
        log::info!("migration applied name={}", migration.name());
        ran += 1;
    }
    Ok(ran)
}

/// diesel's wrapper repeats the migration's name; the cause is what helps.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

struct InTransaction;

impl MigrationMetadata for InTransaction {
    fn run_in_transaction(&self) -> bool {
        true
    }
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl MigrationName for Extra {
    fn version(&self) -> MigrationVersion<'_> {
        let digits: String = self.name.split('_').next().unwrap_or_default().replace('-', "");
        MigrationVersion::from(digits)
    }
}

impl Migration<Backend> for Extra {
    fn run(
        &self,
        connection: &mut dyn diesel::connection::BoxableConnection<Backend>,
    ) -> diesel::migration::Result<()> {
        Ok(connection.batch_execute(&self.up)?)
    }
    fn revert(&self, _: &mut dyn diesel::connection::BoxableConnection<Backend>) -> diesel::migration::Result<()> {
        Err(format!("{} cannot be undone", self.name).into())
    }
    fn metadata(&self) -> &dyn MigrationMetadata {
        &InTransaction
    }
    fn name(&self) -> &dyn MigrationName {
        self
    }
}
