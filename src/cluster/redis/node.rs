//! One server of the relay: what is to be sent to it and heard from it, and a connection that comes back after any loss.
//!
//! Leaves one life of the connection to `session`. Easy to get wrong: while there is no connection nothing may wait in the
//! queue, for a message that is seconds late is worth less than the store's answer.
use super::inbox::{Inbox, dropped};
use super::links::{Links, Part};
use super::server::Server;
use super::session;
use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{
        Notify,
        mpsc::{self, Receiver, Sender},
    },
    time::{Instant, sleep},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Messages that may wait for a server; past it new ones are dropped and counted.
pub(super) const MAX_QUEUED: usize = 4_096;
/// Their bytes; past it new ones are dropped and counted.
const MAX_QUEUED_BYTES: usize = 16 << 20;
/// Longest and shortest time before the connection is tried again. There is no last try: the process outlives any outage.
const MAX_BACKOFF: Duration = Duration::from_secs(1);
const MIN_BACKOFF: Duration = Duration::from_millis(20);
/// A connection that has lasted for so long was no failure.
const STEADY: Duration = Duration::from_secs(3);

/// What all servers of a relay share.
pub(super) struct Shared {
    pub(super) inbox: Inbox,
    pub(super) links: Links,
    pub(super) probe_every: Duration,
    pub(super) answer_within: Duration,
    /// Whether channels belong to the slots of a cluster.
    pub(super) sharded: bool,
    /// Somebody should ask the cluster anew who has which slots.
    pub(super) refresh: Notify,
    pub(super) tasks: TaskTracker,
    /// Nodes that were ever started.
    pub(super) started: AtomicU64,
}

/// A message on its way out.
pub(super) struct Outgoing {
    pub(super) name: String,
    pub(super) message: Vec<u8>,
}

/// Names of channels to be heard.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) names: HashSet<String>,
    /// Those that have changed since the connection was told.
    pub(super) changed: HashSet<String>,
    /// Those that the connection is giving up just now.
    pub(super) leaving: HashSet<String>,
    /// Those that the server has taken away by itself.
    pub(super) taken: HashSet<String>,
}

/// A server, and what goes to and fro.
pub(super) struct Node {
    pub(super) server: Server,
    /// Host and port, and which one of the nodes with this name it is.
    pub(super) part: Part,
    /// The channel of its probes.
    pub(super) probe: String,
    /// Told when [`Wanted::changed`] has something.
    pub(super) told: Notify,
    pub(super) stop: CancellationToken,
    queue: Sender<Outgoing>,
    queued_bytes: AtomicUsize,
    connected: AtomicBool,
    wanted: Mutex<Wanted>,
}

impl Node {
    /// A server with a task that keeps a connection to it until `stop`.
    pub(super) fn start(server: Server, probe: String, shared: &Arc<Shared>, stop: CancellationToken) -> Arc<Self> {
        let (queue, taken) = mpsc::channel(MAX_QUEUED);
        let node = Arc::new(Self {
            part: (server.name(), shared.started.fetch_add(1, Ordering::Relaxed)),
            server,
            probe,
            told: Notify::new(),
            stop,
            queue,
            queued_bytes: AtomicUsize::new(0),
            connected: AtomicBool::new(false),
            wanted: Mutex::default(),
        });
        shared.links.down(&node.part, "not connected yet");
        shared.tasks.spawn(keep(node.clone(), shared.clone(), taken));
        node
    }

    /// Queues a message, or drops and counts it.
    pub(super) fn publish(&self, message: Outgoing) {
        if !self.connected.load(Ordering::Relaxed) {
            return dropped("away", 1);
        }
        let bytes = message.message.len();
        // The bound may be passed by what several callers add at the same moment, not by more.
        if self.queued_bytes.load(Ordering::Relaxed) > MAX_QUEUED_BYTES {
            return dropped("queue_full", 1);
        }
        self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.queue.try_send(message).is_err() {
            self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            dropped("queue_full", 1);
        }
    }

    /// Messages were taken from the queue.
    pub(super) fn taken(&self, messages: &[Outgoing]) {
        let bytes = messages.iter().map(|message| message.message.len()).sum();
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether messages may be queued.
    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    pub(super) fn wanted(&self) -> MutexGuard<'_, Wanted> {
        // Sets are whole after every call that could panic.
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hear a channel from now on, or no more.
    pub(super) fn want(&self, name: String, wanted: bool) {
        let mut all = self.wanted();
        let news = if wanted { all.names.insert(name.clone()) } else { all.names.remove(&name) };
        if news {
            all.changed.insert(name);
            self.told.notify_one();
        }
    }

    /// Hear these channels and no others. Whether there are new ones among them.
    pub(super) fn want_only(&self, names: HashSet<String>) -> bool {
        let mut all = self.wanted();
        let more = names.difference(&all.names).next().is_some();
        let changed: Vec<_> = all.names.symmetric_difference(&names).cloned().collect();
        all.changed.extend(changed);
        all.names = names;
        self.told.notify_one();
        more
    }
}

/// Keeps a connection until the node is stopped.
async fn keep(node: Arc<Node>, shared: Arc<Shared>, mut queue: Receiver<Outgoing>) {
    let mut backoff = MIN_BACKOFF;
    // What the log has said last: an outage is one line, not one for each try.
    let mut said = String::new();
    loop {
        let began = Instant::now();
        let Err(lost) = session::run(&node, &shared, &mut queue).await else { break };
        node.set_connected(false);
        drain(&node, &mut queue);
        shared.links.down(&node.part, &lost.reason);
        shared.refresh.notify_one();
        if lost.was_up {
            shared.inbox.gap();
            said.clear();
            // One that is lost again and again as soon as it is up is not tried ever faster.
            if began.elapsed() >= STEADY {
                backoff = MIN_BACKOFF;
            }
        }
        if said != lost.reason {
            log::warn!("no messages between replicas for now: {} redis={}", lost.reason, node.part.0);
            said = lost.reason;
        }
        // Jitter keeps the replicas of one outage from coming back in step.
        let pause = backoff.mul_f64(rand::random_range(0.5..=1.0));
        backoff = (backoff * 2).min(MAX_BACKOFF);
        tokio::select! {
            () = node.stop.cancelled() => break,
            () = sleep(pause) => {}
        }
    }
    node.set_connected(false);
    drain(&node, &mut queue);
    shared.links.forget(&node.part);
}

fn drain(node: &Node, queue: &mut Receiver<Outgoing>) {
    while let Ok(message) = queue.try_recv() {
        node.taken(std::slice::from_ref(&message));
        dropped("away", 1);
    }
}
