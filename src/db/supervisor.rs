//! The task that keeps the database usable: lock, connect, migrate, serve, probe, and again after a failure.
//!
//! It is the only writer of the store's status and logs on change only. It leaves turns and transactions to the
//! pool. The one thing easy to get wrong: a file that vanished while we were serving must not be created afresh,
//! or an unmounted volume looks like an empty installation.
use super::error::with_sources;
use super::lockfile::LockFile;
use super::migrate;
use super::pool::{Checked, Db, Lane, connect_sqlite, path_text};
use super::store::{Options, Status};
use diesel_async::SimpleAsyncConnection;
use rand::Rng;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// First and longest pause between attempts; each pause is drawn from half of it to all of it.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);
/// Consecutive failed probes before the store is declared down: one may only have met a busy moment.
const PROBES_TO_DOWN: u32 = 2;

pub(crate) struct Supervisor {
    pub options: Options,
    pub status: watch::Sender<Status>,
    pub live: watch::Sender<Option<Arc<Db>>>,
    pub suspect: Arc<Notify>,
    pub closing: CancellationToken,
}

/// What identifies the file that was opened, so that a replaced one is noticed.
type FileIdentity = (u64, u64);

impl Supervisor {
    /// Runs until the store is stopped.
    pub(crate) async fn run(self) {
        let mut lock = None;
        let mut served: Option<FileIdentity> = None;
        let mut attempt = 0_u32;
        loop {
            match self.bring_up(&mut lock, served).await {
                Ok((db, identity)) => {
                    attempt = 0;
                    served = Some(identity);
                    let reason = self.serve(Arc::new(db), identity).await;
                    match reason {
                        Some(reason) => self.set(Status::Down { reason }),
                        None => break,
                    }
                }
                Err(status) => self.set(status),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff(attempt)) => attempt = attempt.saturating_add(1),
                () = self.closing.cancelled() => break,
            }
        }
        self.set(Status::Stopped);
    }

    /// Lock, connect, migrate, open the pools.
    async fn bring_up(
        &self,
        lock: &mut Option<LockFile>,
        served: Option<FileIdentity>,
    ) -> Result<(Db, FileIdentity), Status> {
        let down = |reason: String| Status::Down { reason };
        let path = &self.options.path;
        let cannot_open = |reason: String| down(format!("cannot open the database {}: {reason}", path.display()));
        if served.is_some() && !path.exists() {
            return Err(down(format!(
                "the database {} is gone; put it back, or restart to begin with an empty one",
                path.display()
            )));
        }
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            tokio::fs::create_dir_all(parent)
                .await
                .map_err(|error| cannot_open(format!("its directory cannot be made: {error}")))?;
        }
        if lock.is_none() {
            *lock = Some(LockFile::take(path).map_err(down)?);
        }
        let text = path_text(path).map_err(down)?;
        let mut connection = connect_sqlite(text).await.map_err(|error| cannot_open(with_sources(&error)))?;
        // A retry of a failed migration keeps saying what failed until it succeeds.
        if !matches!(*self.status.borrow(), Status::MigrationFailed { .. }) {
            self.set(Status::Migrating);
        }
        migrate::run(&mut connection, self.options.extra_migrations.clone())
            .await
            .map_err(|failure| Status::MigrationFailed { migration: failure.migration, reason: failure.reason })?;
        let identity = identity(path).map_err(|error| cannot_open(error.to_string()))?;
        let db = Db::open_sqlite(path, self.options.readers).await.map_err(cannot_open)?;
        Ok((db, identity))
    }

    /// Ready, and probed; returns why it no longer is, or `None` when the store is being stopped.
    async fn serve(&self, db: Arc<Db>, opened: FileIdentity) -> Option<String> {
        self.live.send_replace(Some(db.clone()));
        self.set(Status::Ready);
        let mut failed = 0;
        let reason = loop {
            tokio::select! {
                () = self.closing.cancelled() => break None,
                () = self.suspect.notified() => {}
                () = tokio::time::sleep(self.options.probe_interval) => {}
            }
            match probe(&db, &self.options.path, opened).await {
                Ok(()) => failed = 0,
                Err(reason) => {
                    failed += 1;
                    if failed >= PROBES_TO_DOWN {
                        break Some(reason);
                    }
                    // Ask again at once rather than a probe interval later.
                    self.suspect.notify_one();
                }
            }
        };
        if let Some(reason) = &reason {
            // Callers read the status right after the pools vanish: it must say why by then.
            self.set(Status::Down { reason: reason.clone() });
        }
        self.live.send_replace(None);
        if reason.is_some() {
            db.close();
        }
        reason
    }

    fn set(&self, status: Status) {
        let mut before = None;
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            if changed {
                before = Some(std::mem::replace(current, status.clone()));
            }
            changed
        });
        match (&before, &status) {
            (None, _) => {}
            (Some(_), Status::Ready) => log::info!("the store is ready path={}", self.options.path.display()),
            (Some(_), Status::Down { reason }) => log::error!("the store is down reason={reason:?}"),
            (Some(_), Status::MigrationFailed { migration, reason }) => {
                log::error!("a migration failed name={migration} reason={reason:?}");
            }
            (Some(_), other) => log::debug!("store status={other:?}"),
        }
    }
}

async fn probe(db: &Arc<Db>, path: &Path, opened: FileIdentity) -> Result<(), String> {
    match identity(path) {
        Ok(now) if now == opened => {}
        Ok(_) => return Err(format!("the database {} was replaced while it was open", path.display())),
        Err(error) => return Err(format!("the database {} is gone: {error}", path.display())),
    }
    let db = db.clone();
    let ask = async move {
        let Checked::Sqlite(mut connection, _turn) =
            db.checkout(Lane::Read).await.map_err(|error| error.to_string())?;
        connection
            .batch_execute("SELECT count(*) FROM __diesel_schema_migrations")
            .await
            .map_err(|error| with_sources(&error))
    };
    // The probe is a task so that its time limit never drops a query half-way.
    match tokio::time::timeout(PROBE_TIMEOUT, tokio::spawn(ask)).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(lost)) => Err(format!("the probe was lost: {lost}")),
        Err(_elapsed) => Err(format!("the database did not answer a probe in {PROBE_TIMEOUT:?}")),
    }
}

fn identity(path: &Path) -> std::io::Result<FileIdentity> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn backoff(attempt: u32) -> Duration {
    let longest = BACKOFF.0.saturating_mul(1 << attempt.min(5)).min(BACKOFF.1);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}
