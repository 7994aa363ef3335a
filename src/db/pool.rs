//! Connections: a pool per lane, a fair queue before it, and the macros that run a body on whichever engine.
//!
//! It leaves connecting, migrating and probing to the supervisor. Two things are easy to get wrong: bb8 alone is
//! unfair (under load one task gets a thousand turns and another one), hence the semaphore; and a SQLite query whose
//! future is dropped half-way goes on while its connection is given back, hence every body runs in a task of its own.
use super::error::{StoreError, judged, with_sources};
use super::meters;
use super::postgres::{CopyConnections, DieselConnections, Line};
use super::sqlite::blocking::Blocking;
use super::sqlite::bulk::BulkConnection;
use super::store::Store;
use super::trouble::Lasting;
use bb8::ManageConnection;
use diesel::SqliteConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The concrete connection of the SQLite arm.
pub(crate) type Sqlite = SyncConnectionWrapper<SqliteConnection, Blocking>;
/// The concrete connection of the PostgreSQL arm.
pub(crate) type Postgres = AsyncPgConnection;
/// What makes the connections of a SQLite pool that diesel uses.
pub(crate) type Manager<C> = AsyncDieselConnectionManager<C>;

/// How long a caller waits for its turn before it is told that the store is busy.
pub(crate) const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(2);
/// So many callers in a row that waited in vain, and nobody served for [`STARVED`], say that the connections do not come back.
const WAITED_IN_VAIN: u32 = 3;
const STARVED: Duration = Duration::from_secs(3);

/// What a body is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Read only; any number at once.
    Read,
    /// Write; one at a time on SQLite, one at a time in a project on PostgreSQL.
    Write,
}

/// The engines. A third one would be an arm here, in [`Checked`] and [`Conn`], and in the macros.
pub(crate) enum Db {
    /// Embedded SQLite.
    Sqlite {
        /// For reading.
        read: Turns<Manager<Sqlite>>,
        /// For writing.
        write: Turns<Manager<Sqlite>>,
        /// For rows in bulk, by whoever has the turn to write.
        bulk: BulkConnection,
    },
    /// A PostgreSQL server.
    Postgres {
        /// For everything that diesel does.
        all: Turns<DieselConnections>,
        /// For rows in bulk.
        copy: Turns<CopyConnections>,
    },
}

/// A pool with a first-come-first-served queue before it.
pub(crate) struct Turns<M: ManageConnection> {
    pool: bb8::Pool<M>,
    queue: Arc<Semaphore>,
    refused: LastRefusal,
    served: Mutex<Served>,
    lost: CancellationToken,
}

/// How the last callers fared.
struct Served {
    last: Instant,
    in_vain: u32,
}

/// A connection whose turn it is; the turn ends when it is dropped.
pub(crate) struct Turn<M: ManageConnection> {
    connection: bb8::PooledConnection<'static, M>,
    lost: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// A connection of whichever engine.
pub(crate) enum Checked {
    /// Embedded SQLite.
    Sqlite(Turn<Manager<Sqlite>>),
    /// A PostgreSQL server.
    Postgres(Box<Turn<DieselConnections>>),
}

/// A turn for rows in bulk, with the connection of the bare driver.
pub(crate) enum BulkTurn {
    /// Embedded SQLite, and the turn to write.
    Sqlite(Turn<Manager<Sqlite>>, BulkConnection),
    /// A PostgreSQL server.
    Postgres(Turn<CopyConnections>),
}

/// A connection that a helper was given, of whichever engine. See `on!`.
pub(crate) enum Conn<'a> {
    /// Embedded SQLite.
    Sqlite(&'a mut Sqlite),
    /// A PostgreSQL server.
    Postgres(&'a mut Postgres),
}

/// What helpers take: the connection of either engine.
pub(crate) trait Engine: Send {
    /// Which it is.
    fn conn(&mut self) -> Conn<'_>;
}

impl Engine for Sqlite {
    fn conn(&mut self) -> Conn<'_> {
        Conn::Sqlite(self)
    }
}
impl Engine for Postgres {
    fn conn(&mut self) -> Conn<'_> {
        Conn::Postgres(self)
    }
}

impl Db {
    /// Waits for a turn, at most [`CHECKOUT_TIMEOUT`].
    pub(crate) async fn checkout(&self, lane: Lane) -> Result<Checked, StoreError> {
        match (self, lane) {
            (Self::Sqlite { read, .. }, Lane::Read) => read.take().await.map(Checked::Sqlite),
            (Self::Sqlite { write, .. }, Lane::Write) => write.take().await.map(Checked::Sqlite),
            (Self::Postgres { all, .. }, _) => all.take().await.map(Box::new).map(Checked::Postgres),
        }
    }

    /// As [`Db::checkout`], for rows in bulk.
    pub(crate) async fn checkout_bulk(&self) -> Result<BulkTurn, StoreError> {
        match self {
            Self::Sqlite { write, bulk, .. } => write.take().await.map(|turn| BulkTurn::Sqlite(turn, bulk.clone())),
            Self::Postgres { copy, .. } => copy.take().await.map(BulkTurn::Postgres),
        }
    }

    /// Whether nobody has been given a connection for longer than anybody waits, though some have waited.
    pub(crate) fn starved(&self) -> bool {
        match self {
            // Its one writer may be long at work, and its connections cannot be lost.
            Self::Sqlite { .. } => false,
            Self::Postgres { all, .. } => all.starved(),
        }
    }

    /// Says how many connections there are.
    pub(crate) fn meter(&self) {
        let states = match self {
            Self::Sqlite { read, write, .. } => [read.pool.state(), write.pool.state()],
            Self::Postgres { all, copy } => [all.pool.state(), copy.pool.state()],
        };
        let open = states.iter().map(|state| state.connections).sum();
        meters::connections(open, states.iter().map(|state| state.idle_connections).sum());
    }

    /// The database is lost: fails everybody who waits for a turn, and whoever waits for an answer of a server.
    pub(crate) fn close(&self) {
        match self {
            Self::Sqlite { read, write, .. } => {
                read.close();
                write.close();
            }
            Self::Postgres { all, copy } => {
                all.close();
                copy.close();
            }
        }
    }
}

impl<M: ManageConnection<Error: std::error::Error>> Turns<M> {
    /// A pool of `connections`, of which one is made now.
    pub(crate) async fn open(manager: M, connections: u32) -> Result<Self, String> {
        let refused = LastRefusal::default();
        let pool = bb8::Pool::builder()
            .max_size(connections)
            .min_idle(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(CHECKOUT_TIMEOUT)
            .error_sink(Box::new(refused.clone()))
            .build(manager)
            .await
            .map_err(|error| with_sources(&error))?;
        Ok(Self {
            pool,
            queue: Arc::new(Semaphore::new(connections as usize)),
            refused,
            served: Mutex::new(Served { last: Instant::now(), in_vain: 0 }),
            lost: CancellationToken::new(),
        })
    }

    fn starved(&self) -> bool {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has a place free now is not stuck, whoever waited in vain before.
        let none_free = self.queue.available_permits() == 0;
        none_free && served.in_vain >= WAITED_IN_VAIN && served.last.elapsed() >= STARVED
    }

    fn count(&self, got_one: bool) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if got_one {
            *served = Served { last: Instant::now(), in_vain: 0 };
        } else {
            served.in_vain = served.in_vain.saturating_add(1);
        }
    }

    fn close(&self) {
        self.queue.close();
        self.lost.cancel();
    }

    /// Waits for a turn, at most [`CHECKOUT_TIMEOUT`].
    pub(crate) async fn take(&self) -> Result<Turn<M>, StoreError> {
        let began = Instant::now();
        let deadline = began + CHECKOUT_TIMEOUT;
        let waiting = meters::Waiting::begin();
        let queued = timeout_at(deadline, self.queue.clone().acquire_owned()).await;
        let taken = match queued {
            Ok(Ok(permit)) => match timeout_at(deadline, self.pool.get_owned()).await {
                Ok(Ok(connection)) => Ok(Turn { connection, lost: self.lost.clone(), _permit: permit }),
                Ok(Err(bb8::RunError::User(error))) => Err(with_sources(&error)),
                Ok(Err(bb8::RunError::TimedOut)) | Err(_) => Err(self.refused.told("no connection could be made")),
            },
            Ok(Err(_closed)) => Err("the database was just lost".into()),
            Err(_elapsed) => Err("no connection became free".into()),
        };
        waiting.end(taken.is_ok());
        self.count(taken.is_ok());
        taken.map_err(|reason| StoreError::unavailable(format!("{reason} (waited {:.1?})", began.elapsed())))
    }
}

impl<M: ManageConnection> Turn<M> {
    /// Cancelled when the connection's database is lost.
    pub(crate) fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

impl Turn<DieselConnections> {
    /// What diesel uses, and what is known of it.
    pub(crate) fn diesel(&mut self) -> (&mut Postgres, Arc<Line>) {
        let line = self.connection.line().clone();
        // What an earlier call met is not this one's.
        line.take_sqlstate();
        (&mut self.connection, line)
    }
}

impl<M: ManageConnection> Deref for Turn<M> {
    type Target = M::Connection;
    fn deref(&self) -> &M::Connection {
        &self.connection
    }
}
impl<M: ManageConnection> DerefMut for Turn<M> {
    fn deref_mut(&mut self) -> &mut M::Connection {
        &mut self.connection
    }
}

/// Why the last new connection was refused: the pool says only that it waited in vain.
#[derive(Clone, Debug, Default)]
struct LastRefusal(Arc<Mutex<Option<String>>>);

impl LastRefusal {
    fn told(&self, what: &str) -> String {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        last.map_or_else(|| what.to_owned(), |last| format!("{what}: {last}"))
    }
}

impl<E: std::error::Error + 'static> bb8::ErrorSink<E> for LastRefusal {
    fn sink(&self, error: E) {
        let text = with_sources(&error);
        log::debug!("a new connection to the database was refused error={text:?}");
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<E>> {
        Box::new(self.clone())
    }
}

impl Store {
    /// Runs a body in a task of its own, so that a caller who goes away never leaves a transaction half-way.
    pub(crate) async fn detached<T, F>(&self, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let store = self.clone();
        let task = self.spawn(async move {
            let outcome = body.await;
            if let Err(StoreError::Unavailable { reason, .. }) = &outcome {
                if let Some(cause) = Lasting::of_sqlite(reason).filter(|_| store.exclusive()) {
                    store.trouble().met(cause, reason);
                }
                store.suspect();
            }
            outcome
        });
        match task.await {
            Ok(outcome) => outcome,
            Err(lost) => Err(StoreError::Internal(format!("a database task was lost: {lost}"))),
        }
    }
}

impl Store {
    /// What the call on this connection came to.
    pub(crate) fn judged<T>(&self, line: &Line, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        let code = line.take_sqlstate();
        let outcome = judged(outcome, code.as_ref());
        if let (Err(StoreError::Unavailable { reason, .. }), Some(cause)) =
            (&outcome, code.as_ref().and_then(Lasting::of_server))
        {
            self.trouble().met(cause, reason);
        }
        outcome
    }

    /// As given; a write that succeeded says that the database takes writes.
    pub(crate) fn wrote<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if outcome.is_ok() {
            self.trouble().wrote();
        }
        outcome
    }
}

/// Runs `body` (an expression that may use `?` on diesel and store errors and ends in `Result<T, StoreError>`) with a connection
/// for reading, in one read transaction: what it reads belongs together. `now`, when it is asked for, is the store's time.
macro_rules! read {
    ($store:expr, |$conn:ident| $body:expr) => {
        $crate::db::pool::read!($store, |$conn, _now| $body)
    };
    ($store:expr, |$conn:ident, $now:ident| $body:expr) => {{
        let store: &$crate::db::Store = $store;
        let own = store.clone();
        store
            .detached(async move {
                match own.checkout($crate::db::pool::Lane::Read).await? {
                    $crate::db::pool::Checked::Sqlite(mut turn) => {
                        use diesel_async::AsyncConnection as _;
                        let $now = own.now_us();
                        (*turn).transaction(async move |$conn: &mut $crate::db::pool::Sqlite| $body).await
                    }
                    $crate::db::pool::Checked::Postgres(mut turn) => {
                        let ($now, lost) = (own.now_us(), turn.lost());
                        let (connection, line) = turn.diesel();
                        // One snapshot for all statements: a position belongs to the rows that are read with it.
                        let mut reading = connection.build_transaction().read_only().repeatable_read();
                        let read = reading.run(async move |$conn: &mut $crate::db::pool::Postgres| $body);
                        own.judged(&line, own.unless_lost(lost, read).await)
                    }
                }
            })
            .await
    }};
}

/// As `read!`, for writing, in one transaction that is rolled back when `body` fails. On SQLite nobody else writes
/// meanwhile. On PostgreSQL that holds for a project, from `projects::find_to_change` or another `…_to_change` on, with
/// which a body begins.
macro_rules! write {
    ($store:expr, |$conn:ident| $body:expr) => {
        $crate::db::pool::write!($store, |$conn, _now| $body)
    };
    ($store:expr, |$conn:ident, $now:ident| $body:expr) => {{
        let store: &$crate::db::Store = $store;
        let own = store.clone();
        store
            .detached(async move {
                match own.checkout($crate::db::pool::Lane::Write).await? {
                    $crate::db::pool::Checked::Sqlite(mut turn) => {
                        let $now = own.now_us();
                        let body = async move |$conn: &mut $crate::db::pool::Sqlite| $body;
                        own.wrote($crate::db::sqlite::blocking::immediate(&mut turn, body).await)
                    }
                    $crate::db::pool::Checked::Postgres(mut turn) => {
                        use diesel_async::AsyncConnection as _;
                        let ($now, lost) = (own.now_us(), turn.lost());
                        let (connection, line) = turn.diesel();
                        let change = connection.transaction(async move |$conn: &mut $crate::db::pool::Postgres| $body);
                        own.wrote(own.judged(&line, own.unless_lost(lost, change).await))
                    }
                }
            })
            .await
    }};
}

/// Runs one body with the concrete connection behind an [`Engine`]: what diesel needs to know to build a statement.
macro_rules! on {
    ($connection:expr, |$conn:ident| $body:expr) => {
        match $crate::db::pool::Engine::conn($connection) {
            $crate::db::pool::Conn::Sqlite($conn) => $body,
            $crate::db::pool::Conn::Postgres($conn) => $body,
        }
    };
}
pub(crate) use {on, read, write};
