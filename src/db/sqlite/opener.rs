//! SQLite: the file, its lock, and the connections to it.
//!
//! It leaves retrying to the supervisor. The one thing easy to get wrong: a file that vanished while we were serving must
//! not be created afresh, or an unmounted volume looks like an empty installation.
use super::bulk::BulkConnection;
use super::lockfile::LockFile;
use crate::db::error::with_sources;
use crate::db::migrate;
use crate::db::migrate::Plan;
use crate::db::pool::{Db, Manager, Sqlite, Turns};
use crate::db::store::Status;
use diesel_async::pooled_connection::{ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// SQLite has one writer: more would only fight for its lock (measured: worst wait 107-457 ms with 4, 8-58 ms with 1).
const WRITERS: u32 = 1;

/// What identifies the file that was opened, so that a replaced one is noticed.
type FileIdentity = (u64, u64);

/// Opens the file, and looks whether it is still the one.
pub(crate) struct Opener {
    path: PathBuf,
    readers: u32,
    /// Take the lock beside the file; without it the file must be there.
    alone: bool,
    lock: Option<LockFile>,
    served: Option<FileIdentity>,
    /// The probe's, so that a busy pool is not taken for a file that is away.
    own: Option<Sqlite>,
}

impl Opener {
    pub(crate) fn new(path: PathBuf, readers: u32, alone: bool) -> Self {
        Self { path, readers, alone, lock: None, served: None, own: None }
    }

    /// Lock, connect, migrate, open the pools.
    pub(crate) async fn open(&mut self, plan: &Plan, migrating: impl Fn()) -> Result<Db, Status> {
        let path = self.path.clone();
        let cannot_open = |reason: String| down(format!("cannot open the database {}: {reason}", path.display()));
        self.own = None;
        let mut connection = self.connect().await?;
        migrate::sqlite(&mut connection, plan.clone(), migrating).await?;
        self.served = Some(identity(&path).map_err(|error| cannot_open(error.to_string()))?);
        let read = turns(&path, self.readers).await.map_err(cannot_open)?;
        let write = turns(&path, WRITERS).await.map_err(cannot_open)?;
        let text = path_text(&path).map_err(down)?;
        let bulk = tokio::task::spawn_blocking(move || BulkConnection::open(&text));
        let bulk = bulk.await.map_err(|lost| cannot_open(lost.to_string()))?;
        let bulk = bulk.map_err(|error| cannot_open(with_sources(&error)))?;
        self.own = Some(connection);
        Ok(Db::Sqlite { read, write, bulk })
    }

    /// The lock, and one connection.
    pub(crate) async fn connect(&mut self) -> Result<Sqlite, Status> {
        let path = &self.path;
        let cannot_open = |reason: String| down(format!("cannot open the database {}: {reason}", path.display()));
        if self.served.is_some() && !path.exists() {
            return Err(down(format!(
                "the database {} is gone; put it back, or restart to begin with an empty one",
                path.display()
            )));
        }
        if !self.alone && !path.exists() {
            return Err(down(format!("there is no database {}", path.display())));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(parent)
                .await
                .map_err(|error| cannot_open(format!("its directory cannot be made: {error}")))?;
        }
        if self.alone && self.lock.is_none() {
            self.lock = Some(LockFile::take(path).map_err(down)?);
        }
        let text = path_text(path).map_err(down)?;
        establish(text).await.map_err(|error| cannot_open(with_sources(&error)))
    }

    /// Whether the file is the one that was opened, and answers.
    pub(crate) async fn probe(&mut self) -> Result<(), String> {
        let path = self.path.display();
        match identity(&self.path) {
            Ok(now) if Some(now) == self.served => {}
            Ok(_) => return Err(format!("the database {path} was replaced while it was open")),
            Err(error) => return Err(format!("the database {path} is gone: {error}")),
        }
        let (own, text) = (self.own.take(), path_text(&self.path)?);
        let ask = async move {
            let mut own = match own {
                Some(own) => own,
                None => establish(text).await.map_err(|error| with_sources(&error))?,
            };
            let answer = own.batch_execute("SELECT count(*) FROM __diesel_schema_migrations").await;
            answer.map(|()| own).map_err(|error| with_sources(&error))
        };
        // A task, so that whoever waits no longer never drops a query half-way. Only a connection that answered is asked again.
        let answered = tokio::spawn(ask).await.unwrap_or_else(|lost| Err(format!("the probe was lost: {lost}")));
        self.own = Some(answered?);
        Ok(())
    }

    /// Whether a row can be written; none is left behind.
    pub(crate) async fn try_to_write(&mut self) -> Result<(), String> {
        let text = path_text(&self.path)?;
        // A task, as above.
        tokio::spawn(written(text)).await.unwrap_or_else(|lost| Err(format!("the try was lost: {lost}")))
    }
}

/// An error when a row cannot be written; none is left behind.
async fn written(text: String) -> Result<(), String> {
    let mut own = establish(text).await.map_err(|error| with_sources(&error))?;
    // Committed twice: only a commit meets the disk. A row that an earlier try could not remove again is no obstacle.
    let tried = "BEGIN IMMEDIATE; \
                 INSERT OR REPLACE INTO publications (user_id, key, request_hash, at_us) VALUES ('', '', '', 0); \
                 COMMIT; DELETE FROM publications WHERE user_id = '' AND key = ''";
    own.batch_execute(tried).await.map_err(|error| with_sources(&error))
}

fn down(reason: String) -> Status {
    Status::Down { reason }
}

async fn turns(path: &Path, connections: u32) -> Result<Turns<Manager<Sqlite>>, String> {
    let mut config = ManagerConfig::default();
    // The supervisor probes; asking each connection at each checkout would double the latency of small reads.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(|path| establish(path.to_owned()).boxed());
    Turns::open(Manager::new_with_config(path_text(path)?, config), connections).await
}

/// The file's name as SQLite takes it.
fn path_text(path: &Path) -> Result<String, String> {
    let text = path.to_str().ok_or_else(|| format!("{} is not valid UTF-8", path.display()))?;
    // A relative name that looks like a URL or `:memory:` must still mean a file.
    Ok(if path.is_absolute() { text.to_owned() } else { format!("./{text}") })
}

/// One connection, set up as every connection of ours must be.
async fn establish(path: String) -> diesel::ConnectionResult<Sqlite> {
    let mut connection = Sqlite::establish(&path).await?;
    // synchronous=FULL under WAL: a commit is on disk before its caller hears of it. NORMAL would lose the last ones with the
    // power, and give their offsets to other events of the same epoch. Rows in bulk do without (`bulk`).
    connection
        .batch_execute(
            "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16000; \
             PRAGMA journal_size_limit = 67108864;",
        )
        .await
        .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

fn identity(path: &Path) -> std::io::Result<FileIdentity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}
