//! What every handler can reach.
//!
//! Handles only: cloning it is cheap, and nothing in it belongs to one request. Easy to get wrong: `shutdown` is the
//! word that the process drains, not that this request must stop; long streams watch it, short requests finish.
use super::auth::Auth;
use super::live::elsewhere;
use super::live::sse::Streams;
use super::live::tickets::Tickets;
use super::options::Options;
use super::transfers::Places;
use crate::actors::hub::Realtime;
use crate::actors::janitor::UploadsState;
use crate::actors::jobs::Jobs;
use crate::actors::meter::Meter;
use crate::db::Store;
use crate::runtime::Runtime;
use std::{ops::Deref, sync::Arc, time::Instant};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Pages of results that are read and encoded at one time; the next ones wait, within `request_timeout`.
pub const PAGES_AT_ONCE: usize = 8;

/// Shared by all handlers.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// What [`AppState`] gives access to.
pub struct Parts {
    /// What the HTTP layer was told at start.
    pub config: Arc<Options>,
    /// The store.
    pub store: Store,
    /// The actors' runtime.
    pub runtime: Runtime,
    /// Live updates: publish, claims, sockets.
    pub realtime: Realtime,
    /// Runs jobs: nudge, cancel, progress.
    pub jobs: Jobs,
    /// Whether files of sources are looked after.
    pub uploads: watch::Receiver<UploadsState>,
    /// Counts what the runtime says.
    pub meter: Arc<Meter>,
    /// The rules of the door.
    pub auth: Arc<Auth>,
    /// Tickets that were given out and not used yet.
    pub tickets: Arc<Tickets>,
    /// Open event streams.
    pub streams: Arc<Streams>,
    /// Cancelled when the process begins to drain.
    pub shutdown: CancellationToken,
    /// Owns what outlives a request: commits with their publication, uploads, downloads.
    pub tracker: TaskTracker,
    /// Places for uploads and downloads: `max_transfers`.
    pub transfers: Arc<Places>,
    /// Bytes of long answers that wait to be read: `answer_budget`.
    pub answers: Arc<Places>,
    /// Turns at reading and encoding a page of results, each of which takes several times the page's memory.
    pub pages: Arc<Semaphore>,
    /// When the process came up.
    pub started: Instant,
}

impl AppState {
    /// A handle of these, which answers what other replicas ask.
    pub fn new(parts: Parts) -> Self {
        parts.realtime.answer_others(Box::new(elsewhere::answerer(parts.tickets.clone(), parts.streams.clone())));
        Self(Arc::new(parts))
    }
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
