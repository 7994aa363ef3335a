//! The harness of the outer-door tests: a real server process, clients, small data with known truth, and waiting.
//! Leaves every promise to the tests. Easy to get wrong: nothing here may sleep and hope; whoever waits says for what.
pub mod balancer;
pub mod http;
pub mod job;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod redis;
pub mod renamer;
pub mod replica;
pub mod sample;
pub mod shared;
pub mod socket;
pub mod swarm;
pub mod wait;

pub use http::{Answer, Api};
pub use job::Run;
pub use process::{Options, Server};
pub use sample::Sample;
pub use socket::Socket;
pub use wait::{LONG, SHORT, eventually, within};

/// Where a new database of the caller's own is, when the tests are run on PostgreSQL: `TIEOUT_TEST_STORE=postgres`.
/// None means the default, a SQLite file.
pub fn database_url() -> Option<String> {
    match std::env::var("TIEOUT_TEST_STORE").as_deref() {
        Err(_) | Ok("" | "sqlite") => None,
        Ok("postgres") => Some(postgres::Postgres::shared().new_database()),
        Ok(other) => panic!("TIEOUT_TEST_STORE={other} is neither sqlite nor postgres"),
    }
}
