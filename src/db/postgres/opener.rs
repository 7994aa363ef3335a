//! Opens a PostgreSQL: connect, migrate under the installation's lock, make the pools; then ask how it is.
//!
//! It leaves retrying to the supervisor. The one thing easy to get wrong: the probe has a connection of its own, so that
//! a busy pool is not taken for a server that is away.
use super::super::clock::Clock;
use super::super::error::with_sources;
use super::super::migrate::{self, Failure, Plan};
use super::super::pool::{Db, Manager, Postgres, Turns};
use super::super::store::Status;
use super::connector::Connector;
use super::copier::CopyConnections;
use diesel_async::pooled_connection::{ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use futures_util::FutureExt;
use std::time::Instant;

/// Connections that write rows in bulk at once; each is one running job's.
const COPIERS: u32 = 4;
/// The server's time in microseconds since the epoch.
const SERVER_TIME: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us";

/// Opens the database.
pub(crate) struct Opener {
    connector: Connector,
    connections: u32,
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
        Self { connector, connections, own: None }
    }

    /// Connect, migrate, open the pools.
    pub(crate) async fn open(&mut self, plan: &Plan, connected: impl Fn()) -> Result<Db, Status> {
        self.own = None;
        let mut own = self.connect().await?;
        connected();
        (own, _) = migrate::postgres(own, plan.clone()).await.map_err(Failure::into_status)?;
        let cannot = |reason: String| Status::Down { reason };
        // A migration had no limits.
        own.batch_execute(self.connector.setup()).await.map_err(|error| cannot(with_sources(&error)))?;
        let asked = Instant::now();
        let server_us = server_time(&mut own).await.map_err(cannot)?;
        self.own = Some(own);
        let all = self.turns().await.map_err(cannot)?;
        let copy = Turns::open(CopyConnections::new(self.connector.clone()), COPIERS).await.map_err(cannot)?;
        Ok(Db::Postgres { all, copy, clock: Clock::of_server(server_us, asked) })
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
    pub(crate) async fn probe(&mut self, db: &Db) -> Result<(), String> {
        let mut own = match self.own.take() {
            Some(own) => own,
            None => self.connect().await.map_err(|status| status.reason().unwrap_or_default())?,
        };
        let asked = Instant::now();
        let server_us = server_time(&mut own).await?;
        db.clock().correct(server_us, asked);
        // Only a connection that answered is asked again.
        self.own = Some(own);
        Ok(())
    }
}

async fn server_time(connection: &mut Postgres) -> Result<i64, String> {
    let answer: Result<ServerTime, _> = diesel::sql_query(SERVER_TIME).get_result(connection).await;
    answer.map(|time| time.us).map_err(|error| with_sources(&error))
}

/// The installation's lock for changes of its schema: replicas that start together take turns. It is the connection's,
/// so it ends with it whatever happens.
pub(crate) async fn lock_schema(connection: &mut Postgres) -> Result<(), String> {
    // Long enough for another replica's migration; those of our own statements have no limit but the operator's patience.
    let wait = "SET lock_timeout = '60s'; SET statement_timeout = 0; SELECT pg_advisory_lock(8388605, 1953063279); \
                SET lock_timeout = '5s'";
    connection
        .batch_execute(wait)
        .await
        .map_err(|error| format!("another replica has been changing the schema for a minute: {}", with_sources(&error)))
}

/// Gives the lock back.
pub(crate) async fn unlock_schema(connection: &mut Postgres) -> Result<(), String> {
    connection
        .batch_execute("SELECT pg_advisory_unlock(8388605, 1953063279)")
        .await
        .map_err(|error| with_sources(&error))
}
