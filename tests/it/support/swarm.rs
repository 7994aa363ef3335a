//! Clients that live through faults: each keeps one WebSocket, comes back when it ends, asks for what it missed, and enters
//! everything into a ledger. Leaves judging to the ledger. Easy to get wrong: a client that panics when the server is gone;
//! here an end, a refusal and a silence are all reasons to come back, and only nonsense fails the test.
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Socket, eventually, socket::Ended};
use crate::fault_ledger::Ledger;

/// How long a handshake or the answer to a join may take before a client gives the connection up. Shorter than what `Socket`
/// itself takes for a failure of the test.
const PATIENCE: Duration = Duration::from_secs(10);
/// A server that says nothing for so long is gone: it pings every 25 s.
const SILENCE: Duration = Duration::from_secs(40);
/// Longest pause of a client that was not told when to come back.
const JITTER_MS: u64 = 500;

/// Whom a client says it is; `None` where nobody asks.
pub(crate) type Identity = Arc<dyn Fn(usize) -> Option<String> + Send + Sync>;

/// One connection that ended, and the one after it.
#[derive(Clone, Debug)]
pub(crate) struct Return {
    pub client: usize,
    /// Close code; none when the connection was cut.
    pub code: Option<u16>,
    /// The pause that the server asked for.
    pub told: Option<Duration>,
    pub left: Instant,
    /// When it had joined again.
    pub back: Instant,
}

/// Running clients.
pub(crate) struct Swarm {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    /// Client n's is the one at n modulo their number.
    addresses: Vec<SocketAddr>,
    project: String,
    identity: Identity,
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    /// By client, the last offset it saw; 0 before its first join.
    positions: Vec<AtomicU64>,
    /// Clients that have joined and whose connection has not ended.
    present: AtomicUsize,
    returns: Mutex<Vec<Return>>,
    /// Users that were shown as leaving, by anyone.
    leaves: Mutex<Vec<String>>,
    /// Since when everybody is known to be there.
    settled: Mutex<Option<Instant>>,
    /// Users that were shown as coming since, to somebody who had been there before.
    repeated_joins: Mutex<Vec<String>>,
}

impl Swarm {
    /// So many clients in this project's room, shared out over these addresses; waits until all have joined.
    pub(crate) async fn join(
        addresses: &[SocketAddr],
        project: &str,
        clients: usize,
        identity: Identity,
        ledger: &Arc<Ledger>,
    ) -> Swarm {
        let shared = Arc::new(Shared {
            addresses: addresses.to_vec(),
            project: project.into(),
            identity,
            ledger: ledger.clone(),
            stop: CancellationToken::new(),
            positions: (0..clients).map(|_| AtomicU64::new(0)).collect(),
            present: AtomicUsize::new(0),
            returns: Mutex::default(),
            leaves: Mutex::default(),
            settled: Mutex::default(),
            repeated_joins: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for client in 0..clients {
            let shared = shared.clone();
            tasks.spawn(async move {
                let stop = shared.stop.clone();
                stop.run_until_cancelled(shared.live(client)).await;
            });
        }
        let swarm = Swarm { shared, clients: tasks };
        swarm.complete(PATIENCE * 3).await;
        swarm
    }

    /// Waits until every client is in the room.
    pub(crate) async fn complete(&self, limit: Duration) {
        let all = self.shared.positions.len();
        eventually(limit, &format!("{all} clients to be in the room"), || async {
            let present = self.shared.present.load(Ordering::Relaxed);
            if present == all { Ok(()) } else { Err(format!("{present} are")) }
        })
        .await;
    }

    /// Waits until every client has seen this offset.
    pub(crate) async fn reached(&self, off: u64, limit: Duration) {
        let all = self.shared.positions.len();
        eventually(limit, &format!("{all} clients to see offset {off}"), || async {
            let there = |position: &&AtomicU64| position.load(Ordering::Relaxed) >= off;
            let missing = all - self.shared.positions.iter().filter(there).count();
            if missing == 0 { Ok(()) } else { Err(format!("{missing} have not")) }
        })
        .await;
    }

    /// Waits until every client has seen all that anyone was told or saw.
    pub(crate) async fn caught_up(&self, limit: Duration) {
        self.reached(self.shared.ledger.head(&self.shared.project), limit).await;
    }

    /// Every connection that ended so far and was replaced.
    pub(crate) fn returns(&self) -> Vec<Return> {
        locked(&self.shared.returns).clone()
    }

    /// Every user that a client was told has left.
    pub(crate) fn leaves(&self) -> Vec<String> {
        locked(&self.shared.leaves).clone()
    }

    /// Everybody is there: whoever is connected now is to hear of nobody who comes.
    pub(crate) fn settled(&self) {
        *locked(&self.shared.settled) = Some(Instant::now());
    }

    /// Every user that was shown as coming all the same.
    pub(crate) fn repeated_joins(&self) -> Vec<String> {
        locked(&self.shared.repeated_joins).clone()
    }

    /// Ends the clients; fails when one of them was told nonsense.
    pub(crate) async fn stop(mut self) {
        self.shared.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("no client is told nonsense");
        }
    }
}

impl Shared {
    /// Comes, stays, and comes back, for ever.
    async fn live(&self, client: usize) {
        let mut left: Option<(Instant, Ended)> = None;
        loop {
            let ended = match self.enter(client).await {
                Ok(mut socket) => {
                    if let Some((at, ended)) = left.take() {
                        let (code, told) = (ended.code, told(&ended));
                        let back = Return { client, code, told, left: at, back: Instant::now() };
                        locked(&self.returns).push(back);
                    }
                    self.present.fetch_add(1, Ordering::Relaxed);
                    let ended = self.stay(client, &mut socket).await;
                    self.present.fetch_sub(1, Ordering::Relaxed);
                    ended
                }
                Err(why) => Ended { code: None, why },
            };
            let pause = told(&ended).unwrap_or_else(|| Duration::from_millis(rand::random_range(20..JITTER_MS)));
            // The first end counts; what came of the attempts since does not.
            left.get_or_insert((Instant::now(), ended));
            tokio::time::sleep(pause).await;
        }
    }

    /// Opens a connection and joins, after the last event that this client saw.
    async fn enter(&self, client: usize) -> Result<Socket, String> {
        let name = name(client);
        let token = (self.identity)(client).map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = token.iter().map(|token| ("authorization", token.as_str())).collect();
        let opened =
            tokio::time::timeout(PATIENCE, Socket::try_open(self.addresses[client % self.addresses.len()], &headers))
                .await;
        let mut socket = opened.map_err(|_| "no handshake".to_owned())??;
        let mut body = json!({ "project_id": self.project });
        if let Some((ep, off)) = self.ledger.position(&name) {
            body["since"] = json!({ "ep": ep, "off": off });
        }
        if !socket.try_send(json!({ "id": 1, "JoinProject": body }).to_string()).await {
            return Err("the join could not be sent".into());
        }
        let joined = async {
            loop {
                let message = socket.next().await.map_err(|ended| ended.why)?;
                if message["re"] == 1 {
                    return Ok::<_, String>(message);
                }
            }
        };
        let reply = tokio::time::timeout(PATIENCE, joined).await.map_err(|_| "no answer to the join".to_owned())??;
        let body = &reply["ProjectJoined"];
        if !body.is_object() {
            let again = reply["Error"]["retryable"] == true;
            assert!(again, "{name} asked to join and was told {reply}");
            return Err(reply.to_string());
        }
        self.ledger.joined(&name, &self.project, body);
        self.moved(client);
        Ok(socket)
    }

    /// Reads until the connection ends or says nothing any more.
    async fn stay(&self, client: usize, socket: &mut Socket) -> Ended {
        let (name, entered) = (name(client), Instant::now());
        loop {
            let message = match tokio::time::timeout(SILENCE, socket.next()).await {
                Ok(Ok(message)) => message,
                Ok(Err(ended)) => return ended,
                Err(_) => return Ended { code: None, why: "silence".into() },
            };
            socket.seen.clear();
            self.ledger.saw(&name, &message);
            self.moved(client);
            let users = |list: &str| {
                let users = message["PresenceDiff"][list].as_array().into_iter().flatten();
                users.filter_map(|user| user.as_str().map(str::to_owned)).collect::<Vec<_>>()
            };
            locked(&self.leaves).extend(users("leaves"));
            if locked(&self.settled).is_some_and(|settled| entered < settled) {
                locked(&self.repeated_joins).extend(users("joins"));
            }
            if message.get("ResyncRequired").is_some() {
                return Ended { code: None, why: "resync".into() };
            }
        }
    }

    fn moved(&self, client: usize) {
        if let Some((_, off)) = self.ledger.position(&name(client)) {
            self.positions[client].store(off, Ordering::Relaxed);
        }
    }
}

/// The pause that a close reason asks for.
fn told(ended: &Ended) -> Option<Duration> {
    let reason: Value = serde_json::from_str(&ended.why).ok()?;
    reason["retry_ms"].as_u64().map(Duration::from_millis)
}

fn name(client: usize) -> String {
    format!("client-{client}")
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A client that panicked fails the test when the swarm is stopped.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
