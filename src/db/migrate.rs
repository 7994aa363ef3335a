//! Migrations: embedded, applied in order, each in a transaction of its own.
//!
//! A failed one is rolled back and named; earlier ones stay. It leaves retrying to the supervisor, and who asks to the
//! start or the command line. The one thing easy to get wrong: a database that is newer than the binary must be refused,
//! not written to.
use super::error::with_sources;
use super::pool::{self, Engine, Postgres, Sqlite};
use super::postgres::{Linked, answered, lock_schema, unlock_schema, until};
use super::store::Status;
use diesel::backend::Backend;
use diesel::migration::{Migration, MigrationMetadata, MigrationName, MigrationSource, MigrationVersion};
use diesel::sql_types::{Bool, Text};
use diesel::{QueryableByName, SqliteConnection, sql_query};
use diesel_async::{AsyncMigrationHarness, RunQueryDsl};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt;
use tokio_util::sync::CancellationToken;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
/// The same names as [`SQLITE`]; a test holds them to it.
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

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

/// What is wanted, and the migrations that tests add.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub wanted: Wanted,
    /// The database was served by this process before: one that was made newer meanwhile is served on. Replicas of the
    /// older binary go on beside a rolling update, also when they lose the database for a moment.
    pub served: bool,
    pub extra: Vec<Extra>,
}

/// One migration of a database or a binary.
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

/// A migration that this binary has.
struct Known {
    version: String,
    name: String,
}

#[derive(QueryableByName)]
struct There {
    #[diesel(sql_type = Bool)]
    there: bool,
}

#[derive(QueryableByName)]
struct Version {
    #[diesel(sql_type = Text)]
    version: String,
}

/// Does what the plan wants on a SQLite database; returns how it stands afterwards.
pub(crate) async fn sqlite(connection: &mut Sqlite, plan: Plan, migrating: impl Fn()) -> Result<Vec<Step>, Status> {
    let known = known(sources::<diesel::sqlite::Sqlite>(&SQLITE, &plan)?);
    let before = applied(connection).await?;
    if !judge(&plan, &known, &before)? {
        return Ok(steps(&known, before));
    }
    migrating();
    let done = connection.spawn_blocking(move |sync: &mut SqliteConnection| Ok(carry_out(sync, &SQLITE, &plan)));
    done.await.unwrap_or_else(|error| Err(unreadable(&error)))?;
    Ok(steps(&known, applied(connection).await?))
}

/// As [`sqlite`] on a PostgreSQL server, where one process at a time may; gives the connection back. What is being carried
/// out is not given up when the store is `closing`.
pub(crate) async fn postgres(
    mut connection: Linked<Postgres>,
    plan: Plan,
    migrating: impl Fn(),
    closing: &CancellationToken,
) -> Result<(Linked<Postgres>, Vec<Step>), Status> {
    let known = known(sources::<diesel::pg::Pg>(&POSTGRES, &plan)?);
    let before = until(closing, answered(applied(&mut *connection))).await?;
    if !judge(&plan, &known, &before)? {
        return Ok((connection, steps(&known, before)));
    }
    migrating();
    until(closing, lock_schema(&mut connection)).await?;
    let (connection, line) = connection.parts();
    let carried = tokio::task::spawn_blocking(move || {
        let mut harness = AsyncMigrationHarness::new(connection);
        let outcome = carry_out(&mut harness, &POSTGRES, &plan);
        (harness.into_inner(), outcome)
    });
    let (connection, outcome) = carried.await.map_err(|lost| unreadable(&lost))?;
    // On a failure the connection is dropped, and the lock with it.
    outcome?;
    let mut connection = Linked::of((connection, line));
    let after = answered(async {
        unlock_schema(&mut connection).await?;
        applied(&mut *connection).await
    });
    let after = until(closing, after).await?;
    Ok((connection, steps(&known, after)))
}

/// The versions that the database has. Read without diesel's own bookkeeping, which makes its table when it is missing:
/// whoever only looks may have no right to.
async fn applied(connection: &mut impl Engine) -> Result<BTreeSet<String>, Status> {
    let there = match connection.conn() {
        pool::Conn::Sqlite(_) => {
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations') AS there"
        }
        pool::Conn::Postgres(_) => "SELECT to_regclass('__diesel_schema_migrations') IS NOT NULL AS there",
    };
    pool::on!(connection, |conn| {
        let table: There = sql_query(there).get_result(conn).await.map_err(|error| unreadable(&error))?;
        if !table.there {
            return Ok(BTreeSet::new());
        }
        let asked = sql_query("SELECT version FROM __diesel_schema_migrations");
        let rows: Vec<Version> = asked.load(conn).await.map_err(|error| unreadable(&error))?;
        Ok(rows.into_iter().map(|row| row.version).collect())
    })
}

/// Whether there is anything to do.
fn judge(plan: &Plan, known: &[Known], applied: &BTreeSet<String>) -> Result<bool, Status> {
    if let Some(newer) = newer(known, applied)
        && plan.wanted != Wanted::Told
    {
        if !plan.served {
            return Err(newer);
        }
        log::warn!(
            "served on, with a schema that was made newer meanwhile reason={:?}",
            newer.reason().unwrap_or_default()
        );
    }
    let mut missing = known.iter().filter(|migration| !applied.contains(&migration.version));
    match (plan.wanted, missing.next()) {
        (Wanted::Complete, Some(first)) => Err(Status::Mismatched {
            reason: format!(
                "the database is older than this binary: {} migrations are missing, {} is the first; run `tieout migrate up`",
                missing.count() + 1,
                first.name
            ),
        }),
        (Wanted::Up, first) => Ok(first.is_some()),
        (Wanted::Told | Wanted::Complete, _) => Ok(false),
        (Wanted::Down(_), _) => Ok(true),
    }
}

fn carry_out<B: Backend>(
    database: &mut impl MigrationHarness<B>,
    embedded: &EmbeddedMigrations,
    plan: &Plan,
) -> Result<(), Status> {
    let sources = sources::<B>(embedded, plan)?;
    // Somebody else may have been at it until the lock was ours.
    let applied = database.applied_migrations().map_err(|error| unchangeable(&sources, &*error))?;
    let applied: BTreeSet<String> = applied.iter().map(ToString::to_string).collect();
    let has = |migration: &dyn Migration<B>| applied.contains(&migration.name().version().to_string());
    let failed = |migration: &dyn Migration<B>, error: Box<dyn Error + Send + Sync>| Status::MigrationFailed {
        migration: migration.name().to_string(),
        reason: root_cause(&*error),
    };
    match plan.wanted {
        Wanted::Told | Wanted::Complete => {}
        Wanted::Up => {
            for migration in sources.iter().filter(|migration| !has(&***migration)) {
                database.run_migration(migration).map_err(|error| failed(&**migration, error))?;
                log::info!("migration applied name={}", migration.name());
            }
        }
        Wanted::Down(many) => {
            for migration in sources.iter().rev().filter(|migration| has(&***migration)).take(many) {
                database.revert_migration(migration).map_err(|error| failed(&**migration, error))?;
                log::info!("migration taken back name={}", migration.name());
            }
        }
    }
    Ok(())
}

/// What this binary has, in order.
fn sources<B: Backend>(embedded: &EmbeddedMigrations, plan: &Plan) -> Result<Vec<Box<dyn Migration<B>>>, Status> {
    let mut sources = MigrationSource::<B>::migrations(embedded).map_err(|error| unreadable(&*error))?;
    sources.extend(plan.extra.iter().map(|extra| Box::new(extra.clone()) as Box<dyn Migration<B>>));
    sources.sort_by_key(|migration| migration.name().version().as_owned());
    Ok(sources)
}

fn known<B: Backend>(sources: Vec<Box<dyn Migration<B>>>) -> Vec<Known> {
    let known = sources.iter().map(|migration| migration.name());
    known.map(|name| Known { version: name.version().to_string(), name: name.to_string() }).collect()
}

/// That the database has what this binary does not know, if it has.
fn newer(known: &[Known], applied: &BTreeSet<String>) -> Option<Status> {
    let expected: BTreeSet<String> = known.iter().map(|migration| migration.version.clone()).collect();
    let unknown = applied.difference(&expected).last()?;
    let newest = expected.last().cloned().unwrap_or_default();
    Some(Status::Mismatched {
        reason: format!(
            "the database is newer than this binary: it has migration {unknown}, and this binary knows none \
             after {newest}; start a newer tieout, or restore a backup from before the upgrade"
        ),
    })
}

fn steps(known: &[Known], mut applied: BTreeSet<String>) -> Vec<Step> {
    let step = |known: &Known| Step { name: known.name.clone(), applied: applied.remove(&known.version), known: true };
    let mut steps: Vec<Step> = known.iter().map(step).collect();
    steps.extend(applied.into_iter().map(|name| Step { name, applied: true, known: false }));
    steps
}

/// Which migrations there are cannot be told: the database is away, or not ours to read.
fn unreadable(error: &(dyn Error + 'static)) -> Status {
    Status::Down { reason: format!("the state of the schema cannot be read: {}", with_sources(error)) }
}

/// The list of migrations, which is made where there is none, cannot be had: whoever asks may not change the schema.
fn unchangeable<B: Backend>(sources: &[Box<dyn Migration<B>>], error: &(dyn Error + 'static)) -> Status {
    let first = sources.first().map(|migration| migration.name().to_string()).unwrap_or_default();
    let reason = format!(
        "migrations are missing, from {first} on, and cannot be applied: {}; let a role that may run `tieout migrate up`",
        with_sources(error)
    );
    Status::Down { reason }
}

/// diesel's wrapper repeats the migration's name; the cause is what helps.
fn root_cause(error: &(dyn Error + 'static)) -> String {
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
