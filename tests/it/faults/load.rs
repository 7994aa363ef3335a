//! What every fault test has in common: clients in a room, publishers, and a ledger of both. Leaves the fault to the test.
//! Easy to get wrong: judging before everyone has seen everything; `finish` waits for that.
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    fault_ledger::{Ledger, Verdict},
    support::{
        Api, LONG, eventually,
        postgres::connect,
        publisher::{Publisher, Told},
        swarm::{Identity, Swarm},
    },
};

/// Least time between two requests of a publisher. A client that stays away for the 10 s that a server may ask for must not
/// miss more than the 1,000 events that it is given back.
const EVERY: Duration = Duration::from_millis(20);

/// Clients and publishers at work.
pub(super) struct Load {
    pub ledger: Arc<Ledger>,
    pub swarm: Swarm,
    project: String,
    publishers: Vec<Publisher>,
}

/// How it ended.
pub(super) struct Outcome {
    pub told: Told,
    pub verdict: Verdict,
}

impl Load {
    /// So many clients, shared out over these addresses, and one publisher through `api`; waits until it runs well.
    pub(super) async fn start(
        api: Api,
        addresses: &[SocketAddr],
        project: &str,
        clients: usize,
        identity: Identity,
    ) -> Load {
        Load::of_many(&[api], addresses, project, clients, identity).await
    }

    /// The same with a publisher through each of these.
    pub(super) async fn of_many(
        apis: &[Api],
        addresses: &[SocketAddr],
        project: &str,
        clients: usize,
        identity: Identity,
    ) -> Load {
        let ledger = Arc::new(Ledger::default());
        let swarm = Swarm::join(addresses, project, clients, identity, &ledger).await;
        let publisher =
            |(n, api): (usize, &Api)| Publisher::start(api.clone(), project, &format!("p{n}"), EVERY, &ledger);
        let publishers = apis.iter().enumerate().map(publisher).collect();
        let load = Load { ledger, swarm, project: project.into(), publishers };
        load.published(50, LONG).await;
        load
    }

    /// Waits until so many more requests have been answered 200, and says how long that took.
    pub(super) async fn published(&self, more: usize, limit: Duration) -> Duration {
        let (start, before) = (Instant::now(), self.ledger.acknowledged());
        eventually(limit, &format!("{more} more requests to succeed"), || async {
            let now = self.ledger.acknowledged() - before;
            if now >= more { Ok(()) } else { Err(format!("{now} have")) }
        })
        .await;
        start.elapsed()
    }

    /// Ends the publishers, lets every client see all, and judges.
    pub(super) async fn finish(self) -> Outcome {
        let mut told = Told::default();
        for publisher in self.publishers {
            told = told.and(publisher.stop().await);
        }
        self.swarm.caught_up(LONG).await;
        told.slowest_event = self.ledger.slowest_event();
        let verdict = self.ledger.verdict();
        self.swarm.stop().await;
        verdict.assert_sound();
        assert!(verdict.acknowledged >= 100, "too little was published to say anything: {verdict}");
        Outcome { told, verdict }
    }

    /// The same, with the database at `url` read back: what is stored is what the ledger says. Gives the project's events.
    pub(super) async fn finish_on(self, url: &str) -> (Outcome, Vec<Value>) {
        let (ledger, project) = (self.ledger.clone(), self.project.clone());
        let outcome = self.finish().await;
        let events = stored(url, &project).await;
        let broken = ledger.against_stored(&project, &events);
        assert!(broken.is_empty(), "the database disagrees with the ledger:\n{}", broken.join("\n"));
        (outcome, events.into_iter().map(|(_, event)| event).collect())
    }
}

/// All events of a project that a database holds: offset and message, in order.
pub(super) async fn stored(url: &str, project: &str) -> Vec<(u64, Value)> {
    let (database, _task) = connect(url).await;
    let rows = database
        .query("SELECT off, body FROM events WHERE project_id::text = $1 ORDER BY off", &[&project])
        .await
        .expect("events can be read");
    let event = |row: &tokio_postgres::Row| {
        let (off, body): (i64, String) = (row.get(0), row.get(1));
        let message = serde_json::from_str(&format!("{{{body}}}")).unwrap_or_else(|e| panic!("{e}: {body}"));
        (off.unsigned_abs(), message)
    };
    rows.iter().map(event).collect()
}

/// Clients of a server on loopback, which asks nobody who they are.
pub(super) fn nobody() -> Identity {
    Arc::new(|_| None)
}
