//! The schema as an operator sees it: what it is, forward, and back.
//!
//! It leaves the work to `migrate`. The one thing easy to get wrong: the SQLite file of a running server is locked, and a
//! PostgreSQL that replicas use is not; whoever takes migrations back stops them first.
use super::migrate::{self, Step, Wanted};
use super::store::{Options, Status};
use super::supervisor::Opener;
use tokio_util::sync::CancellationToken;

/// The migrations of one database.
#[derive(Debug, Clone)]
pub struct Migrations(Options);

impl Migrations {
    /// Of the database that these options open.
    pub fn of(options: Options) -> Self {
        Self(options)
    }

    /// Every migration that the database has or this binary knows, in order.
    ///
    /// # Errors
    /// Why the database cannot be asked, readable alone.
    pub async fn status(&self) -> Result<Vec<Step>, String> {
        self.carry_out(Wanted::Told).await
    }

    /// Applies what is missing; returns how it stands then.
    ///
    /// # Errors
    /// Which migration failed and why, or why the database cannot be asked; those before it stay.
    pub async fn up(&self) -> Result<Vec<Step>, String> {
        self.carry_out(Wanted::Up).await
    }

    /// Takes the latest `steps` back; returns how it stands then.
    ///
    /// # Errors
    /// As [`Migrations::up`].
    pub async fn down(&self, steps: usize) -> Result<Vec<Step>, String> {
        self.carry_out(Wanted::Down(steps)).await
    }

    async fn carry_out(&self, wanted: Wanted) -> Result<Vec<Step>, String> {
        let plan = self.0.plan(wanted);
        let told = |status: Status| status.reason().unwrap_or_default();
        match self.0.opener("migrate").map_err(|error| error.to_string())? {
            Opener::Sqlite(mut opener) => {
                let mut connection = opener.connect().await.map_err(told)?;
                migrate::sqlite(&mut connection, plan, || ()).await.map_err(told)
            }
            Opener::Postgres(opener) => {
                let connection = opener.connect().await.map_err(told)?;
                Ok(migrate::postgres(connection, plan, || (), &CancellationToken::new()).await.map_err(told)?.1)
            }
        }
    }
}
