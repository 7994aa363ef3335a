//! A pooler between us and the server that gives each transaction whichever server process is free.
//!
//! Prepared statements, limits, locks by name and LISTEN belong to a session, so through such a pooler they are somebody else's.
//! The one thing easy to get wrong: nothing says that there is one; but of two connections that are open at once, only through
//! one do both have the same server process, or one have two in turn.
use super::super::error::with_sources;
use super::connector::Linked;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Times that both connections are asked.
const ROUNDS: usize = 3;

/// An error when the two connections, opened one after the other, do not keep a server process each. They are asked without
/// prepared statements: those of others would be in the way, and the end of one keeps a server process busy for a moment.
pub(super) async fn refuse(first: &Linked<Client>, second: &Linked<Client>) -> Result<(), String> {
    const SHARED: &str = "a pooler gives each transaction another session of the server, and Tieout needs one of its own for \
                          each connection: pgbouncer must be in session mode (pool_mode = session), or left out";
    let (ours, theirs) = (first.line().pid(), second.line().pid());
    if ours == theirs {
        return Err(SHARED.into());
    }
    for _ in 0..ROUNDS {
        if process(first).await? != ours || process(second).await? != theirs {
            return Err(SHARED.into());
        }
    }
    Ok(())
}

async fn process(connection: &Client) -> Result<Option<i32>, String> {
    let said = connection.simple_query("SELECT pg_backend_pid()").await.map_err(|error| with_sources(&error))?;
    Ok(said.iter().find_map(|part| match part {
        SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
        _ => None,
    }))
}
