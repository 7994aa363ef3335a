//! Opens a PostgreSQL: connect, migrate under the installation's lock, make the pools; then ask how it is.
//!
//! It leaves retrying to the supervisor. The one thing easy to get wrong: the probe has a connection of its own, so that
//! a busy pool is not taken for a server that is away.
use super::super::clock::Clock;
use super::super::error::with_sources;
use super::super::migrate::{self, Plan};
use super::super::pool::{Db, Manager, Postgres, Turns};
use super::super::store::Status;
use super::connector::Connector;
use super::copier::CopyConnections;
use diesel_async::pooled_connection::{ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Connections that write rows in bulk at once; each is one running job's.
const COPIERS: u32 = 4;
/// The server's time in microseconds since the epoch.
const SERVER_TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us";
/// How long a server may take for what takes it no time while the database is being opened.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the database.
pub(crate) struct Opener {
    connector: Connector,
    connections: u32,
    clock: Arc<Clock>,
    /// The probe's.
    own: Option<AsyncPgConnection>,
}

#[derive(diesel::QueryableByName)]
struct ServerTime {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    us: i64,
}

impl Opener {
    pub(crate) fn new(connector: Connector, connections: u32) -> Self {
        Self { connector, connections, clock: Arc::new(Clock::of_server()), own: None }
    }

    /// The server's.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.clock.clone()
    }

    /// Connect, migrate, open the pools; all but a migration is given up when the store is `closing`.
    pub(crate) async fn open(
        &mut self,
        plan: &Plan,
        connected: impl Fn(),
        closing: &CancellationToken,
    ) -> Result<Db, Status> {
        self.own = None;
        let own = until(closing, self.connect()).await?;
        connected();
        let (own, _) = migrate::postgres(own, plan.clone(), closing).await?;
        until(closing, answered(self.pools(own))).await
    }

    async fn pools(&mut self, mut own: Postgres) -> Result<Db, Status> {
        let cannot = |reason: String| Status::Down { reason };
        // A migration had no limits.
        own.batch_execute(self.connector.setup()).await.map_err(|error| cannot(with_sources(&error)))?;
        let asked = Instant::now();
        let server_us = server_time(&mut own).await.map_err(cannot)?;
        self.clock.set(server_us, asked);
        self.own = Some(own);
        let all = self.turns().await.map_err(cannot)?;
        let copy = Turns::open(CopyConnections::new(self.connector.clone()), COPIERS).await.map_err(cannot)?;
        Ok(Db::Postgres { all, copy })
    }

    /// One connection.
    pub(crate) async fn connect(&self) -> Result<Postgres, Status> {
        let address = self.connector.address();
        let cannot = |reason: String| Status::Down { reason: format!("cannot connect to {address}: {reason}") };
        self.connector.diesel().await.map_err(|error| cannot(with_sources(&error)))
    }

    async fn turns(&self) -> Result<Turns<Manager<Postgres>>, String> {
        let mut config = ManagerConfig::default();
        // Asking the socket is enough; `SELECT 1` at each checkout would double the latency of small reads.
        config.recycling_method = RecyclingMethod::Fast;
        let connector = self.connector.clone();
        config.custom_setup = Box::new(move |_| {
            let connector = connector.clone();
            async move { connector.diesel().await }.boxed()
        });
        Turns::open(Manager::new_with_config(self.connector.address().to_string(), config), self.connections).await
    }

    /// Whether the server answers; sets the store's time by it.
    pub(crate) async fn probe(&mut self) -> Result<(), String> {
        // Only a connection that answered is asked again, and one that does not may only have been ended: a new one tells
        // whether the server is there.
        if let Some(own) = self.own.take()
            && self.ask(own).await.is_ok()
        {
            return Ok(());
        }
        let own = self.connect().await.map_err(|status| status.reason().unwrap_or_default())?;
        self.ask(own).await
    }

    async fn ask(&mut self, mut own: Postgres) -> Result<(), String> {
        let asked = Instant::now();
        let server_us = server_time(&mut own).await?;
        self.clock.correct(server_us, asked);
        self.own = Some(own);
        Ok(())
    }
}

async fn server_time(connection: &mut Postgres) -> Result<i64, String> {
    let answer: Result<ServerTime, _> = diesel::sql_query(SERVER_TIME).get_result(connection).await;
    answer.map(|time| time.us).map_err(|error| with_sources(&error))
}

/// What is done while the database is being opened, until the store is `closing`.
pub(crate) async fn until<T>(
    closing: &CancellationToken,
    done: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::select! {
        done = done => done,
        () = closing.cancelled() => Err(Status::Stopped),
    }
}

/// The same, as long as a server that works may take.
pub(crate) async fn answered<T>(done: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(ANSWER_TIMEOUT, done).await.unwrap_or_else(|_elapsed| {
        Err(Status::Down { reason: format!("the database did not answer in {ANSWER_TIMEOUT:?} while it was opened") })
    })
}

/// The installation's lock for changes of its schema: replicas that start together take turns. It is the connection's,
/// so it ends with it whatever happens.
pub(crate) async fn lock_schema(connection: &mut Postgres) -> Result<(), Status> {
    // Long enough for another replica's migration; those of our own statements have no limit but the operator's patience.
    let wait = "SET lock_timeout = '60s'; SET statement_timeout = 0; SELECT pg_advisory_lock(8388605, 1953063279); \
                SET lock_timeout = '5s'";
    connection.batch_execute(wait).await.map_err(|error| {
        let text = with_sources(&error);
        let reason = if text.contains("lock timeout") {
            format!("another replica has been changing the schema for a minute: {text}")
        } else {
            format!("the schema cannot be locked: {text}")
        };
        Status::Down { reason }
    })
}

/// Gives the lock back.
pub(crate) async fn unlock_schema(connection: &mut Postgres) -> Result<(), Status> {
    let unlocked = connection.batch_execute("SELECT pg_advisory_unlock(8388605, 1953063279)").await;
    unlocked
        .map_err(|error| Status::Down { reason: format!("the schema cannot be unlocked: {}", with_sources(&error)) })
}
