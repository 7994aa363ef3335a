//! What every fault test has in common: clients in a room, a publisher, and a ledger of both. Leaves the fault to the test.
//! Easy to get wrong: judging before everyone has seen everything; `finish` waits for that.
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    fault_ledger::{Ledger, Verdict},
    support::{
        Api, LONG, eventually,
        publisher::{Publisher, Told},
        swarm::{Identity, Swarm},
    },
};

/// Least time between two requests of the publisher. A client that stays away for the 10 s that a server may ask for must not
/// miss more than the 1,000 events that it is given back.
const EVERY: Duration = Duration::from_millis(20);

/// Clients and a publisher at work.
pub struct Load {
    pub ledger: Arc<Ledger>,
    pub swarm: Swarm,
    publisher: Publisher,
}

/// How it ended.
pub struct Outcome {
    pub told: Told,
    pub verdict: Verdict,
}

impl Load {
    /// So many clients, shared out over these addresses, and one publisher through `api`; waits until it runs well.
    pub async fn start(api: Api, addresses: &[SocketAddr], project: &str, clients: usize, identity: Identity) -> Load {
        let ledger = Arc::new(Ledger::default());
        let swarm = Swarm::join(addresses, project, clients, identity, &ledger).await;
        let publisher = Publisher::start(api, project, "n", EVERY, &ledger);
        let load = Load { ledger, swarm, publisher };
        load.published(50, LONG).await;
        load
    }

    /// Waits until so many more requests have been answered 200, and says how long that took.
    pub async fn published(&self, more: usize, limit: Duration) -> Duration {
        let (start, before) = (Instant::now(), self.ledger.acknowledged());
        eventually(limit, &format!("{more} more requests to succeed"), || async {
            let now = self.ledger.acknowledged() - before;
            if now >= more { Ok(()) } else { Err(format!("{now} have")) }
        })
        .await;
        start.elapsed()
    }

    /// Ends the publisher, lets every client see all, and judges.
    pub async fn finish(self) -> Outcome {
        let mut told = self.publisher.stop().await;
        self.swarm.caught_up(LONG).await;
        told.slowest_event = self.ledger.slowest_event();
        let verdict = self.ledger.verdict();
        self.swarm.stop().await;
        verdict.assert_sound();
        assert!(verdict.acknowledged >= 100, "too little was published to say anything: {verdict}");
        Outcome { told, verdict }
    }
}

/// Clients of a server on loopback, which asks nobody who they are.
pub fn nobody() -> Identity {
    Arc::new(|_| None)
}
