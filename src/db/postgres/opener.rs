//! Opens a PostgreSQL: connect, migrate under the installation's lock, make the pools; then ask how it is.
//!
//! It leaves retrying to the supervisor. The one thing easy to get wrong: the probe has a connection of its own, so that
//! a busy pool is not taken for a server that is away.
use super::super::clock::Clock;
use super::super::error::with_sources;
use super::super::migrate::{self, Plan};
use super::super::pool::{Db, Turns};
use super::super::store::Status;
use super::connections::{CopyConnections, DieselConnections, Lines};
use super::connector::{ConnectError, Connector, Linked};
use super::pooler;
use super::silence::Silence;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;
use tokio_util::sync::CancellationToken;

/// Connections that write rows in bulk at once; each is one running job's.
const COPIERS: u32 = 4;
/// The server's time in microseconds since the epoch, and whether we may write: what is committed, and our own tables.
const HOW_IT_IS: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us, \
                         current_setting('transaction_read_only') = 'on' AS read_only, \
                         coalesce(has_table_privilege(to_regclass('projects'), 'UPDATE') \
                         AND has_table_privilege(to_regclass('events'), 'INSERT') \
                         AND has_table_privilege(to_regclass('publications'), 'INSERT'), true) AS may_write, \
                         current_user::text AS role";
/// How long a server may take for what takes it no time while the database is being opened.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens the database.
pub(crate) struct Opener {
    connector: Connector,
    connections: u32,
    clock: Arc<Clock>,
    statement_timeout: Duration,
    /// The probe's.
    own: Option<Own>,
    silence: Option<Silence>,
    /// The probe's connection did not answer: the others may be gone as well.
    doubted: bool,
}

/// What a server that answers says of writes.
pub(crate) enum Writes {
    /// It takes them.
    Taken,
    /// It takes none from us.
    Refused(String),
    /// It takes none from anybody; another host may.
    Elsewhere(String),
}

type Own = Linked<AsyncPgConnection>;

#[derive(diesel::QueryableByName)]
struct HowItIs {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    us: i64,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    read_only: bool,
    #[diesel(sql_type = diesel::sql_types::Bool)]
    may_write: bool,
    #[diesel(sql_type = diesel::sql_types::Text)]
    role: String,
}

impl Opener {
    pub(crate) fn new(connector: Connector, connections: u32, statement_timeout: Duration) -> Self {
        let clock = Arc::new(Clock::of_server());
        Self { connector, connections, clock, statement_timeout, own: None, silence: None, doubted: false }
    }

    /// The server's.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.clock.clone()
    }

    /// Connect, migrate, open the pools; all but a migration is given up when the store is `closing`.
    pub(crate) async fn open(
        &mut self,
        plan: &Plan,
        migrating: impl Fn(),
        closing: &CancellationToken,
    ) -> Result<Db, Status> {
        self.own = None;
        let own = until(closing, self.connect()).await?;
        let (own, _) = migrate::postgres(own, plan.clone(), migrating, closing).await?;
        until(closing, answered(self.pools(own))).await
    }

    async fn pools(&mut self, mut own: Own) -> Result<Db, Status> {
        let cannot = |reason: String| Status::Down { reason };
        // A migration had no limits.
        own.batch_execute(self.connector.setup()).await.map_err(|error| cannot(with_sources(&error)))?;
        let asked = Instant::now();
        let now = how_it_is(&mut own).await.map_err(cannot)?;
        self.clock.set(now.us, asked);
        self.own = Some(own);
        let lines = Lines::default();
        self.silence = Some(Silence::new(lines.clone(), self.statement_timeout));
        let connector = self.connector.clone();
        let diesel = DieselConnections { connector: connector.clone(), lines: lines.clone() };
        let all = Turns::open(diesel, self.connections).await.map_err(cannot)?;
        let copy = Turns::open(CopyConnections { connector, lines }, COPIERS).await.map_err(cannot)?;
        Ok(Db::Postgres { all, copy })
    }

    /// One connection, with a session of its own.
    pub(crate) async fn connect(&self) -> Result<Own, Status> {
        let cannot = |reason: String| Status::Down { reason };
        let told = |error| cannot(self.cannot_connect(&error));
        let first = self.connector.client(None).await.map_err(told)?;
        let second = self.connector.client(None).await.map_err(told)?;
        answered(async { pooler::refuse(&first, &second).await.map_err(cannot) }).await?;
        self.connector.for_diesel(first).await.map_err(told)
    }

    /// Whether the server answers, and whether it takes writes; sets the store's time by it.
    pub(crate) async fn probe(&mut self) -> Result<Writes, String> {
        // Only a connection that answered is asked again, and one that does not may only have been ended: a new one tells
        // whether the server is there.
        if let Some(own) = self.own.take()
            && let Ok(writes) = self.ask(own).await
        {
            return Ok(writes);
        }
        self.doubted = true;
        let own = self.connector.diesel().await;
        self.ask(own.map_err(|error| self.cannot_connect(&error))?).await
    }

    async fn ask(&mut self, mut own: Own) -> Result<Writes, String> {
        let asked = Instant::now();
        let now = how_it_is(&mut own).await?;
        self.clock.correct(now.us, asked);
        self.own = Some(own);
        Ok(if now.read_only {
            Writes::Elsewhere("the server takes no writes (transaction_read_only is on)".into())
        } else if now.may_write {
            Writes::Taken
        } else {
            Writes::Refused(format!("the role {} has no right to write the tables", now.role))
        })
    }

    /// How long until the next look, at most.
    pub(crate) fn looks_in(&self) -> Option<Duration> {
        self.silence.as_ref()?.asks_in()
    }

    /// Whether the connections still work; an error when they are to be opened anew. After a probe.
    pub(crate) async fn look(&mut self, starved: bool) -> Result<(), String> {
        let (Some(own), Some(silence)) = (&mut self.own, &mut self.silence) else { return Ok(()) };
        match silence.look(own, starved, std::mem::take(&mut self.doubted)).await {
            Ok(false) => Ok(()),
            Ok(true) => Err("connections to the database stopped answering, and all are opened anew".into()),
            Err(reason) => {
                // The next probe tells whether it is the server.
                log::debug!("the connections to the database could not be looked at reason={reason:?}");
                self.own = None;
                Ok(())
            }
        }
    }

    fn cannot_connect(&self, error: &ConnectError) -> String {
        format!("cannot connect to {}: {}", self.connector.address(), with_sources(error))
    }

    /// An error when a row cannot be written; none is left behind.
    pub(crate) async fn try_to_write(&mut self) -> Result<(), String> {
        let Some(own) = &mut self.own else { return Ok(()) };
        let tried =
            "BEGIN; INSERT INTO publications (user_id, key, request_hash, at_us) VALUES ('', '', '', 0); ROLLBACK";
        let outcome = own.batch_execute(tried).await.map_err(|error| with_sources(&error));
        if outcome.is_err() {
            // It is in the middle of a failed transaction.
            self.own = None;
        }
        outcome
    }
}

async fn how_it_is(connection: &mut AsyncPgConnection) -> Result<HowItIs, String> {
    diesel::sql_query(HOW_IT_IS).get_result(connection).await.map_err(|error| with_sources(&error))
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
pub(crate) async fn lock_schema(connection: &mut Own) -> Result<(), Status> {
    // Long enough for another replica's migration; those of our own statements have no limit but the operator's patience.
    let wait = "SET lock_timeout = '60s'; SET statement_timeout = 0; SELECT pg_advisory_lock(8388605, 1953063279); \
                SET lock_timeout = '5s'";
    let locked = connection.batch_execute(wait).await;
    locked.map_err(|error| {
        let text = with_sources(&error);
        let reason = if connection.line().take_sqlstate() == Some(SqlState::LOCK_NOT_AVAILABLE) {
            format!("another replica has been changing the schema for a minute: {text}")
        } else {
            format!("the schema cannot be locked: {text}")
        };
        Status::Down { reason }
    })
}

/// Gives the lock back.
pub(crate) async fn unlock_schema(connection: &mut Own) -> Result<(), Status> {
    let unlocked = connection.batch_execute("SELECT pg_advisory_unlock(8388605, 1953063279)").await;
    unlocked
        .map_err(|error| Status::Down { reason: format!("the schema cannot be unlocked: {}", with_sources(&error)) })
}
