//! The database for the time of one command.
//!
//! Easy to get wrong: a SQLite file belongs to one process; a command that runs beside the server must only read, or do what
//! the server may do at the same time.
use crate::app::store_options;
use crate::config::{Config, Overrides, only_for_this_user};
use crate::db::{Options, Store};
use std::time::Duration;

/// How long the database may take to be opened, migrations included.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// How a command shares the database with a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// It has a SQLite file for itself, and brings the schema up to date.
    Alone,
    /// A server may be running; the schema stays as it is.
    Beside,
}

/// The settings of a command, with the log started as they say.
///
/// # Errors
/// Readable alone, as all here.
pub(super) fn settings(given: &Overrides) -> Result<Config, String> {
    only_for_this_user();
    let config = Config::load(given).map_err(|error| error.to_string())?;
    crate::telemetry::start_log(config.log.into());
    Ok(config)
}

/// Runs `work` on a runtime of its own.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    // Its work on a migration takes two threads.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| format!("cannot start a runtime: {error}"))?.block_on(work)
}

/// Runs `work` with the store of these settings.
pub(super) async fn with_store<T>(
    config: &Config,
    sharing: Sharing,
    work: impl AsyncFnOnce(&Store) -> Result<T, String>,
) -> Result<T, String> {
    let options = store_options(config).map_err(|error| error.to_string())?;
    let options = match sharing {
        Sharing::Alone => options,
        Sharing::Beside => Options { migrate: false, alone: false, ..options },
    };
    with_store_of(options, work).await
}

/// As [`with_store`], of a database elsewhere.
pub(super) async fn with_store_of<T>(
    options: Options,
    work: impl AsyncFnOnce(&Store) -> Result<T, String>,
) -> Result<T, String> {
    let store = Store::start(options).map_err(|error| error.to_string())?;
    let mut status = store.status();
    let settled = status.wait_for(|status| status.is_ready() || status.failed());
    let done = match tokio::time::timeout(OPEN_WITHIN, settled).await {
        Ok(Ok(status)) if !status.is_ready() => Err(status.reason().unwrap_or_default()),
        Ok(_) => work(&store).await,
        Err(_elapsed) => Err(format!("the database was not open after {OPEN_WITHIN:?}")),
    };
    store.stop().await;
    done
}
