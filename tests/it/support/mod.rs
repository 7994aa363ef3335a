//! The harness of the outer-door tests: a real server process, clients, small data with known truth, and waiting.
//! Leaves every promise to the tests. Easy to get wrong: nothing here may sleep and hope; whoever waits says for what.
pub(crate) mod balancer;
pub(crate) mod http;
pub(crate) mod job;
pub(crate) mod pgbouncer;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod publisher;
pub(crate) mod redis;
pub(crate) mod renamer;
pub(crate) mod replica;
pub(crate) mod sample;
pub(crate) mod shared;
pub(crate) mod socket;
pub(crate) mod swarm;
pub(crate) mod wait;

pub(crate) use http::{Answer, Api};
pub(crate) use job::Run;
pub(crate) use process::{Options, Server};
pub(crate) use sample::Sample;
pub(crate) use socket::Socket;
pub(crate) use wait::{LONG, SHORT, eventually, within};

/// Where a new database of the caller's own is, when the tests are run on PostgreSQL: `TIEOUT_TEST_STORE=postgres`.
/// None means the default, a SQLite file.
pub(crate) fn database_url() -> Option<String> {
    match std::env::var("TIEOUT_TEST_STORE").as_deref() {
        Err(_) | Ok("" | "sqlite") => None,
        Ok("postgres") => Some(postgres::Postgres::shared().new_database()),
        Ok(other) => panic!("TIEOUT_TEST_STORE={other} is neither sqlite nor postgres"),
    }
}
