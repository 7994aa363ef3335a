//! Connections: one pool per lane, a fair queue before it, and the macros that run a body on whichever engine.
//!
//! It leaves connecting, migrating and probing to the supervisor. Two things are easy to get wrong: bb8 alone is
//! unfair (under load one task gets a thousand turns and another one), hence the semaphore; and a query future
//! that is dropped half-way blocks a worker and poisons its connection, hence every body runs in a task of its own.
use super::error::{StoreError, with_sources};
use super::store::Store;
use diesel::SqliteConnection;
use diesel_async::pooled_connection::bb8::{Pool, PooledConnection};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The concrete connection of the SQLite arm.
pub(crate) type Sqlite = SyncConnectionWrapper<SqliteConnection>;

/// How long a caller waits for its turn before it is told that the store is busy.
pub(crate) const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(2);

/// SQLite has one writer: more would only fight for its lock (measured: worst wait 107-457 ms with 4, 8-58 ms with 1).
const SQLITE_WRITERS: u32 = 1;

/// What a body is going to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Read only; any number at once.
    Read,
    /// Write; one at a time on SQLite.
    Write,
}

/// The engines. A second one is a second arm here, in [`Db::checkout`] and in the two macros.
pub(crate) enum Db {
    /// Embedded SQLite.
    Sqlite {
        /// Turns and connections for reading.
        read: Turns,
        /// Turns and the connection for writing.
        write: Turns,
    },
}

/// A pool with a first-come-first-served queue before it.
pub(crate) struct Turns {
    pool: Pool<Sqlite>,
    queue: Arc<Semaphore>,
}

/// A connection whose turn it is; the turn ends when it is dropped.
pub(crate) enum Checked {
    /// Embedded SQLite.
    Sqlite(PooledConnection<'static, Sqlite>, OwnedSemaphorePermit),
}

impl Db {
    /// Opens the pools on an existing, migrated file.
    pub(crate) async fn open_sqlite(path: &Path, readers: u32) -> Result<Self, String> {
        Ok(Self::Sqlite { read: Turns::open(path, readers).await?, write: Turns::open(path, SQLITE_WRITERS).await? })
    }

    /// Waits for a turn, at most [`CHECKOUT_TIMEOUT`].
    pub(crate) async fn checkout(&self, lane: Lane) -> Result<Checked, StoreError> {
        let Self::Sqlite { read, write } = self;
        let turns = match lane {
            Lane::Read => read,
            Lane::Write => write,
        };
        let busy = || StoreError::unavailable(format!("no {lane:?} connection became free in {CHECKOUT_TIMEOUT:?}"));
        let queue = turns.queue.clone();
        let turn = match tokio::time::timeout(CHECKOUT_TIMEOUT, queue.acquire_owned()).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_closed)) => return Err(StoreError::unavailable("the store is closing")),
            Err(_elapsed) => return Err(busy()),
        };
        let connection = turns.pool.get_owned().await.map_err(|error| StoreError::unavailable(with_sources(&error)))?;
        Ok(Checked::Sqlite(connection, turn))
    }

    /// Fails everybody who waits for a turn; connections in use are dropped when they come back.
    pub(crate) fn close(&self) {
        let Self::Sqlite { read, write } = self;
        read.queue.close();
        write.queue.close();
    }
}

impl Turns {
    async fn open(path: &Path, connections: u32) -> Result<Self, String> {
        let mut config = ManagerConfig::default();
        // The supervisor probes; asking each connection at each checkout would double the latency of small reads.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(|path| connect_sqlite(path.to_owned()).boxed());
        let manager = AsyncDieselConnectionManager::new_with_config(path_text(path)?, config);
        let pool = Pool::builder()
            .max_size(connections)
            .min_idle(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connection_timeout(CHECKOUT_TIMEOUT)
            .build(manager)
            .await
            .map_err(|error| with_sources(&error))?;
        Ok(Self { pool, queue: Arc::new(Semaphore::new(connections as usize)) })
    }
}

/// The file's name as SQLite takes it.
pub(crate) fn path_text(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not valid UTF-8", path.display()))?;
    // A relative name that looks like a URL or `:memory:` must still mean a file.
    Ok(if path.is_absolute() { text.to_owned() } else { format!("./{text}") })
}

/// One connection, set up as every connection of ours must be.
pub(crate) async fn connect_sqlite(path: String) -> diesel::ConnectionResult<Sqlite> {
    let mut connection = Sqlite::establish(&path).await?;
    // synchronous=NORMAL under WAL: a power cut may lose the last commits, never corrupt; a killed process loses none.
    connection
        .batch_execute(
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; \
             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000; \
             PRAGMA journal_size_limit = 67108864;",
        )
        .await
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
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
            if let Err(StoreError::Unavailable { .. }) = &outcome {
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

/// Runs `body` (an expression that may use `?` on diesel and store errors and ends in `Result<T, StoreError>`) with a connection
/// for reading, in one read transaction: what it reads belongs together.
macro_rules! read {
    ($store:expr, |$conn:ident| $body:expr) => {{
        let store: &$crate::db::Store = $store;
        let own = store.clone();
        store
            .detached(async move {
                match own.checkout($crate::db::pool::Lane::Read).await? {
                    $crate::db::pool::Checked::Sqlite(mut connection, _turn) => {
                        use diesel_async::AsyncConnection as _;
                        (*connection).transaction(async move |$conn: &mut $crate::db::pool::Sqlite| $body).await
                    }
                }
            })
            .await
    }};
}

/// As `read!`, on the writer, in one immediate transaction that is rolled back when `body` fails.
macro_rules! write {
    ($store:expr, |$conn:ident| $body:expr) => {{
        let store: &$crate::db::Store = $store;
        let own = store.clone();
        store
            .detached(async move {
                match own.checkout($crate::db::pool::Lane::Write).await? {
                    $crate::db::pool::Checked::Sqlite(mut connection, _turn) => {
                        (*connection)
                            .immediate_transaction(async move |$conn: &mut $crate::db::pool::Sqlite| $body)
                            .await
                    }
                }
            })
            .await
    }};
}
pub(crate) use {read, write};
