//! A pooler between us and the server that gives each transaction whichever server process is free.
//!
//! Prepared statements, limits, locks by name and LISTEN belong to a session, so through such a pooler they are somebody else's.
//! The one thing easy to get wrong: nothing says that there is one; but of two connections that are open at once, only through
//! one do both have the same server process, or one have two in turn.
use super::connector::Linked;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Times that both connections are asked.
const ROUNDS: usize = 3;

#[derive(diesel::QueryableByName)]
struct Process {
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pid: i32,
}

/// An error when the two connections, opened one after the other, do not keep a server process each.
pub(super) async fn refuse(
    first: &mut Linked<AsyncPgConnection>,
    second: &mut Linked<AsyncPgConnection>,
) -> Result<(), String> {
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

async fn process(connection: &mut Linked<AsyncPgConnection>) -> Result<Option<i32>, String> {
    let line = connection.line().clone();
    let answer: Result<Process, _> =
        diesel::sql_query("SELECT pg_backend_pid() AS pid").get_result(&mut **connection).await;
    match (answer, line.take_sqlstate()) {
        (Ok(process), _) => Ok(Some(process.pid)),
        // The statement that was prepared a moment ago is not there, or another one's is.
        (Err(_), Some(code)) if matches!(code.code(), "26000" | "42P05" | "08P01") => Ok(None),
        (Err(error), _) => Err(error.to_string()),
    }
}
