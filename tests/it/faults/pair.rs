//! Two replicas over a PostgreSQL and a Redis of their own, all ways between behind proxies, with clients on both. Leaves the fault to the
//! test. Easy to get wrong: a publisher that goes to one replica only would say nothing about the other's clients; every
//! second client is on the other one.
use std::time::{Duration, Instant};

use serde_json::Value;

use super::load::{Load, Outcome, nobody};
use crate::{
    fault_table::{Row, report},
    support::{
        LONG, Options, eventually,
        postgres::Postgres,
        proxy::{Mode, Proxy},
        redis::Redis,
        replica::Replica,
    },
};

const CLIENTS: usize = 20;

/// Both replicas, both stores, and what is between them.
pub(super) struct Pair {
    pub a: Replica,
    pub b: Replica,
    pub to_postgres: Proxy,
    /// The first replica's way, and the second's.
    to_redis: [Proxy; 2],
    pub postgres: Postgres,
    pub redis: Redis,
    /// The database's name.
    pub database: String,
    pub project: String,
}

impl Pair {
    /// Both are ready and know each other through Redis.
    pub(super) async fn start() -> Pair {
        let postgres = Postgres::start();
        let url = postgres.database().await;
        Pair::on(postgres, &url, |_, options| options).await
    }

    /// The same on this database of the server, each replica with options of its own.
    pub(super) async fn on(postgres: Postgres, url: &str, tuned: impl Fn(usize, Options) -> Options) -> Pair {
        let redis = Redis::start();
        let to_postgres = Proxy::start(postgres.port);
        let to_redis = [Proxy::start(redis.port), Proxy::start(redis.port)];
        let database = url.rsplit('/').next().expect("an address ends with a name").to_owned();
        let options = |n: usize| {
            let database_url = format!("postgres://tieout@127.0.0.1:{}/{database}", to_postgres.port);
            let redis_url = format!("redis://127.0.0.1:{}", to_redis[n].port);
            tuned(n, Options::default().env("TIEOUT_DATABASE_URL", database_url).env("TIEOUT_REDIS_URL", redis_url))
        };
        let a = Replica::start("a", options(0)).await;
        let b = Replica::start("b", options(1)).await;
        a.ready().await;
        b.ready().await;
        let project = a.api().project("pair").await;
        let pair = Pair { a, b, to_postgres, to_redis, postgres, redis, database, project };
        pair.both_say("ready").await;
        pair
    }

    /// Clients on both, a publisher on the first.
    pub(super) async fn load(&self) -> Load {
        Load::start(self.a.api(), &[self.a.addr, self.b.addr], &self.project, CLIENTS, nobody()).await
    }

    /// Clients on both, two publishers on each.
    pub(super) async fn load_of_many(&self) -> Load {
        let apis = [self.a.api(), self.b.api(), self.a.api(), self.b.api()];
        Load::of_many(&apis, &[self.a.addr, self.b.addr], &self.project, CLIENTS, nobody()).await
    }

    /// What the network does between both replicas and Redis.
    pub(super) async fn set_redis(&self, mode: Mode) {
        for way in &self.to_redis {
            way.set(mode).await;
        }
    }

    /// Resets every connection to Redis.
    pub(super) async fn reset_redis(&self) {
        for way in &self.to_redis {
            way.reset().await;
        }
    }

    /// Puts another Redis in its place.
    pub(super) async fn switch_redis(&self, port: u16) {
        for way in &self.to_redis {
            way.switch(port).await;
        }
    }

    /// Connections to Redis so far, of each replica.
    pub(super) fn redis_connections(&self) -> [usize; 2] {
        [0, 1].map(|n| self.to_redis[n].accepted())
    }

    /// Waits until each replica has opened a connection to Redis that it had not `before`.
    pub(super) async fn reconnected(&self, before: [usize; 2]) {
        eventually(LONG, "both replicas to connect again", || async {
            let now = self.redis_connections();
            if (0..2).all(|n| now[n] > before[n]) { Ok(()) } else { Err(format!("{before:?}, then {now:?}")) }
        })
        .await;
    }

    /// Waits until `/api/ready` of both has this status; for how long.
    pub(super) async fn both_say(&self, status: &str) -> Duration {
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
    pub(super) fn url(&self) -> String {
        self.postgres.url(&self.database)
    }

    /// Ends the load, judges, and files the row. No request may have waited longer than `bound`.
    pub(super) async fn judge(
        &self,
        load: Load,
        name: &str,
        fault: &str,
        recovery: Duration,
        bound: Duration,
    ) -> Outcome {
        self.judge_events(load, name, fault, recovery, bound).await.0
    }

    /// The same; gives the project's events as well, as the database has them.
    pub(super) async fn judge_events(
        &self,
        load: Load,
        name: &str,
        fault: &str,
        recovery: Duration,
        bound: Duration,
    ) -> (Outcome, Vec<Value>) {
        load.swarm.complete(LONG).await;
        let (outcome, events) = load.finish_on(&self.url()).await;
        println!("{fault}: {:?}, {}", outcome.told, outcome.verdict);
        assert!(outcome.told.slowest <= bound, "a request waited longer than {bound:?}: {:?}", outcome.told);
        for replica in [&self.a, &self.b] {
            replica.assert_running();
            let log = replica.whole_log();
            assert!(!log.contains("panicked at"), "something panicked\n{log}");
        }
        report(name, &Row { fault, client: &outcome.told, ledger: &outcome.verdict, recovery });
        (outcome, events)
    }
}
