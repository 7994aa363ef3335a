//! Migrations: embedded, applied in order, each in a transaction of its own.
//!
//! A failed one is rolled back and named; earlier ones stay. It leaves retrying to the supervisor, and who asks to the
//! start or the command line. The one thing easy to get wrong: a database that is newer than the binary must be refused,
//! not written to.
use super::error::with_sources;
use super::pool::{Postgres, Sqlite};
use super::postgres::{lock_schema, unlock_schema};
use super::store::Status;
use diesel::SqliteConnection;
use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
use diesel_async::AsyncMigrationHarness;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeSet;
use std::fmt;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
/// The same names as [`SQLITE`]; a test holds them to it.
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Which migration stopped the start, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub migration: String,
    pub reason: String,
}

impl Failure {
    fn bookkeeping(reason: impl Into<String>) -> Self {
        Self { migration: "(bookkeeping)".into(), reason: reason.into() }
    }

    pub(crate) fn into_status(self) -> Status {
        Status::MigrationFailed { migration: self.migration, reason: self.reason }
    }
}

/// What is to be done about migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Apply what is missing.
    Up,
    /// Apply nothing; fail when something is missing.
    Complete,
    /// Nothing: only tell.
    Told,
    /// Take the last ones back, so many.
    Down(usize),
}

/// What is to be done, and what a test adds behind the embedded ones.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub wanted: Wanted,
    pub extra: Vec<Extra>,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name, which begins with its version; only the version of one that this binary does not know.
    pub name: String,
    /// The database has it.
    pub applied: bool,
    /// This binary has it.
    pub known: bool,
}

/// A migration that a test adds behind the embedded ones.
#[derive(Debug, Clone)]
pub(crate) struct Extra {
    pub name: String,
    pub up: String,
}

/// Does what the plan wants on a SQLite database; returns how it stands afterwards.
pub(crate) async fn sqlite(connection: &mut Sqlite, plan: Plan) -> Result<Vec<Step>, Failure> {
    let done = connection.spawn_blocking(move |sync: &mut SqliteConnection| Ok(carry_out(sync, &SQLITE, &plan)));
    done.await.unwrap_or_else(|error| Err(Failure::bookkeeping(with_sources(&error))))
}

/// As [`sqlite`] on a PostgreSQL server, where one process at a time may; gives the connection back.
pub(crate) async fn postgres(mut connection: Postgres, plan: Plan) -> Result<(Postgres, Vec<Step>), Failure> {
    lock_schema(&mut connection).await.map_err(Failure::bookkeeping)?;
    let carried = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        let outcome = carry_out(&mut harness, &POSTGRES, &plan);
        (harness.into_inner(), outcome)
    });
    let (mut connection, outcome) =
        carried.await.map_err(|lost| Failure::bookkeeping(format!("the task was lost: {lost}")))?;
    // On a failure the connection is dropped, and the lock with it.
    let steps = outcome?;
    unlock_schema(&mut connection).await.map_err(Failure::bookkeeping)?;
    Ok((connection, steps))
}

fn carry_out<B: Backend>(
    database: &mut impl MigrationHarness<B>,
    embedded: &EmbeddedMigrations,
    plan: &Plan,
) -> Result<Vec<Step>, Failure> {
    let setup = |error: Box<dyn std::error::Error + Send + Sync>| Failure::bookkeeping(root_cause(&*error));
    let mut known = MigrationSource::<B>::migrations(embedded).map_err(setup)?;
    known.extend(plan.extra.iter().map(|extra| Box::new(extra.clone()) as Box<dyn Migration<B>>));
    known.sort_by_key(|migration| migration.name().version().as_owned());
    let applied = versions(database)?;
    if plan.wanted != Wanted::Told {
        refuse_newer(&known, &applied)?;
    }
    let missing: Vec<_> =
        known.iter().filter(|migration| !applied.contains(&migration.name().version().to_string())).collect();
    match plan.wanted {
        Wanted::Told => {}
        Wanted::Complete => {
            if let Some(first) = missing.first() {
                return Err(Failure {
                    migration: first.name().to_string(),
                    reason: format!(
                        "the database is older than this binary: {} migrations are missing; run `tieout migrate up`",
                        missing.len()
                    ),
                });
            }
        }
        Wanted::Up => {
            for migration in missing {
                let failed = |error: Box<dyn std::error::Error + Send + Sync>| Failure {
                    migration: migration.name().to_string(),
                    reason: root_cause(&*error),
                };
                database.run_migration(migration).map_err(failed)?;
                log::info!("migration applied name={}", migration.name());
            }
        }
        Wanted::Down(many) => {
            let there =
                known.iter().rev().filter(|migration| applied.contains(&migration.name().version().to_string()));
            for migration in there.take(many) {
                let failed = |error: Box<dyn std::error::Error + Send + Sync>| Failure {
                    migration: migration.name().to_string(),
                    reason: root_cause(&*error),
                };
                database.revert_migration(migration).map_err(failed)?;
                log::info!("migration taken back name={}", migration.name());
            }
        }
    }
    steps(database, &known)
}

fn refuse_newer<B: Backend>(known: &[Box<dyn Migration<B>>], applied: &BTreeSet<String>) -> Result<(), Failure> {
    let expected: BTreeSet<String> = known.iter().map(|migration| migration.name().version().to_string()).collect();
    let Some(unknown) = applied.difference(&expected).last() else { return Ok(()) };
    let newest = expected.last().cloned().unwrap_or_default();
    Err(Failure {
        migration: unknown.clone(),
        reason: format!(
            "the database is newer than this binary: it has migration {unknown}, and this binary knows none \
             after {newest}; start a newer tieout, or restore a backup from before the upgrade"
        ),
    })
}

fn versions<B: Backend>(database: &mut impl MigrationHarness<B>) -> Result<BTreeSet<String>, Failure> {
    let applied = database.applied_migrations().map_err(|error| Failure::bookkeeping(root_cause(&*error)))?;
    Ok(applied.iter().map(ToString::to_string).collect())
}

fn steps<B: Backend>(
    database: &mut impl MigrationHarness<B>,
    known: &[Box<dyn Migration<B>>],
) -> Result<Vec<Step>, Failure> {
    let mut unknown = versions(database)?;
    let mut steps: Vec<Step> = known
        .iter()
        .map(|migration| {
            let applied = unknown.remove(&migration.name().version().to_string());
            Step { name: migration.name().to_string(), applied, known: true }
        })
        .collect();
    steps.extend(unknown.into_iter().map(|name| Step { name, applied: true, known: false }));
    Ok(steps)
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

impl<B: Backend> Migration<B> for Extra {
    fn run(&self, connection: &mut dyn diesel::connection::BoxableConnection<B>) -> diesel::migration::Result<()> {
        Ok(connection.batch_execute(&self.up)?)
    }
    fn revert(&self, _: &mut dyn diesel::connection::BoxableConnection<B>) -> diesel::migration::Result<()> {
        Err(format!("{} cannot be undone", self.name).into())
    }
    fn metadata(&self) -> &dyn MigrationMetadata {
        &InTransaction
    }
    fn name(&self) -> &dyn MigrationName {
        self
    }
}
