//! Where calls of SQLite run: on tokio's blocking threads.
//!
//! diesel-async would make a task type of each query's closure, and each of those is compiled with all of tokio's task around
//! it. A boxed closure is one type for all of them. The one thing easy to get wrong: a caller that drops a call's future gives
//! its connection back while the call still uses it, so calls are made in tasks that run to their end (`Store::detached`).
use crate::db::pool::Sqlite;
use diesel::connection::AnsiTransactionManager;
use diesel_async::TransactionManager as _;
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncTransactionManagerWrapper};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::error::Error;
use tokio::sync::oneshot;

type Failure = Box<dyn Error + Send + Sync + 'static>;

/// Runs boxed closures on the blocking threads of the runtime that it is called in.
pub(crate) struct Blocking;

impl SpawnBlocking for Blocking {
    fn spawn_blocking<'a, R>(&mut self, task: impl FnOnce() -> R + Send + 'static) -> BoxFuture<'a, Result<R, Failure>>
    where
        R: Send + 'static,
    {
        let (sender, reply) = oneshot::channel();
        let task: Box<dyn FnOnce() + Send> = Box::new(move || {
            // Nobody waits any more when the caller was dropped; what the call did is done all the same.
            let _ = sender.send(task());
        });
        let ended = tokio::task::spawn_blocking(task);
        async move {
            ended.await?;
            Ok(reply.await?)
        }
        .boxed()
    }

    fn get_runtime() -> Self {
        Self
    }
}

/// Runs `body` in a transaction that has the write lock from its start, and rolls back when it fails.
pub(crate) async fn immediate<T, E: From<diesel::result::Error>>(
    connection: &mut Sqlite,
    body: impl AsyncFnOnce(&mut Sqlite) -> Result<T, E>,
) -> Result<T, E> {
    connection.spawn_blocking(|inner| AnsiTransactionManager::begin_transaction_sql(inner, "BEGIN IMMEDIATE")).await?;
    let outcome = body(connection).await;
    end(connection, outcome).await
}

/// Commits the open transaction, or rolls it back when `outcome` is an error, which is then given back.
async fn end<T, E: From<diesel::result::Error>>(connection: &mut Sqlite, outcome: Result<T, E>) -> Result<T, E> {
    type Manager = SyncTransactionManagerWrapper<AnsiTransactionManager>;
    match &outcome {
        Ok(_) => Manager::commit_transaction(connection).await?,
        // The outcome says what went wrong; after some errors SQLite has rolled back by itself.
        Err(_) => {
            if let Err(error) = Manager::rollback_transaction(connection).await {
                log::debug!("a transaction could not be rolled back error={error}");
            }
        }
    }
    outcome
}
