//! The connections of the two pools, and the list of all that are open.
//!
//! It leaves turns to the pool, and which of them have stopped working to [`super::silence`]. The one thing easy to get wrong: a
//! connection whose call was given up is in the middle of something, and may not be used again.
use super::connector::{ConnectError, Connector, Linked};
use super::wire::Line;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection as _;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio_postgres::Client;

/// The connections of a database that are open, whoever uses them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<Weak<Line>>>>);

impl Lines {
    fn add(&self, line: &Arc<Line>) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Arc::downgrade(line));
    }

    /// Those that are open and not given up.
    pub(super) fn open(&self) -> Vec<Arc<Line>> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().filter_map(Weak::upgrade).filter(|line| !line.is_given_up()).collect()
    }
}

/// Makes what diesel uses.
pub(crate) struct DieselConnections {
    pub(super) connector: Connector,
    pub(super) lines: Lines,
}

impl bb8::ManageConnection for DieselConnections {
    type Connection = Linked<AsyncPgConnection>;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Self::Connection, ConnectError> {
        let connection = self.connector.diesel().await?;
        self.lines.add(connection.line());
        Ok(connection)
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), ConnectError> {
        // Whether it is closed is asked below; `SELECT 1` at each checkout would double the latency of small reads.
        Ok(())
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        connection.line().is_given_up() || (**connection).is_broken()
    }
}

/// Makes what rows in bulk are copied through.
pub(crate) struct CopyConnections {
    pub(super) connector: Connector,
    pub(super) lines: Lines,
}

impl bb8::ManageConnection for CopyConnections {
    type Connection = Linked<Client>;
    type Error = ConnectError;

    async fn connect(&self) -> Result<Self::Connection, ConnectError> {
        let connection = self.connector.client(None).await?;
        self.lines.add(connection.line());
        Ok(connection)
    }

    async fn is_valid(&self, _: &mut Self::Connection) -> Result<(), ConnectError> {
        Ok(())
    }

    fn has_broken(&self, connection: &mut Self::Connection) -> bool {
        connection.line().is_given_up() || connection.is_closed()
    }
}
