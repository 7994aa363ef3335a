//! Two replicas over a PostgreSQL and a Redis of their own, each behind a proxy, with clients on both. Leaves the fault to the
//! test. Easy to get wrong: a publisher that goes to one replica only would say nothing about the other's clients; every
//! second client is on the other one.
use std::time::{Duration, Instant};

use super::load::{Load, Outcome, nobody};
use crate::{
    fault_table::{Row, report},
    support::{LONG, Options, eventually, postgres::Postgres, proxy::Proxy, redis::Redis, replica::Replica},
};

const CLIENTS: usize = 20;

/// Both replicas, both stores, and what is between them.
pub struct Pair {
    pub a: Replica,
    pub b: Replica,
    pub to_postgres: Proxy,
    pub to_redis: Proxy,
    pub postgres: Postgres,
    pub redis: Redis,
    /// The database's name.
    pub database: String,
    pub project: String,
}

impl Pair {
    /// Both are ready and know each other through Redis.
    pub async fn start() -> Pair {
        let postgres = Postgres::start();
        let url = postgres.database().await;
        Pair::on(postgres, &url, |_, options| options).await
    }

    /// The same on this database of the server, each replica with options of its own.
    pub async fn on(postgres: Postgres, url: &str, tuned: impl Fn(usize, Options) -> Options) -> Pair {
        let redis = Redis::start();
        let (to_postgres, to_redis) = (Proxy::start(postgres.port), Proxy::start(redis.port));
        let database = url.rsplit('/').next().expect("an address ends with a name").to_owned();
        let options = Options::default()
            .env("TIEOUT_DATABASE_URL", format!("postgres://tieout@127.0.0.1:{}/{database}", to_postgres.port))
            .env("TIEOUT_REDIS_URL", format!("redis://127.0.0.1:{}", to_redis.port));
        let a = Replica::start("a", tuned(0, options.clone())).await;
        let b = Replica::start("b", tuned(1, options)).await;
        a.ready().await;
        b.ready().await;
        let project = a.api().project("pair").await;
        let pair = Pair { a, b, to_postgres, to_redis, postgres, redis, database, project };
        pair.both_say("ready").await;
        pair
    }

    /// Clients on both, a publisher on the first.
    pub async fn load(&self) -> Load {
        Load::start(self.a.api(), &[self.a.addr, self.b.addr], &self.project, CLIENTS, nobody()).await
    }

    /// Waits until `/api/ready` of both has this status; for how long.
    pub async fn both_say(&self, status: &str) -> Duration {
        let start = Instant::now();
        for replica in [&self.a, &self.b] {
            eventually(LONG, &format!("a replica to say {status}"), || async {
                let answer = replica.api().try_get("/api/ready").await?;
                if answer.json()["status"] == status { Ok(()) } else { Err(answer.text) }
            })
            .await;
        }
        start.elapsed()
    }

    /// The address of the database, past the proxy.
    pub fn url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// Ends the load, judges, and files the row. No request may have waited longer than `bound`.
    pub async fn judge(&self, load: Load, name: &str, fault: &str, recovery: Duration, bound: Duration) -> Outcome {
        load.swarm.complete(LONG).await;
        let outcome = load.finish().await;
        println!("{fault}: {:?}, {}", outcome.told, outcome.verdict);
        assert!(outcome.told.slowest <= bound, "a request waited longer than {bound:?}: {:?}", outcome.told);
        for replica in [&self.a, &self.b] {
            replica.assert_running();
            assert!(!replica.log().contains("panicked at"), "something panicked\n{}", replica.log());
        }
        report(name, &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
        outcome
    }
}
