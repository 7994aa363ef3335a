//! How the realtime layer is, from what it has published; nobody is asked.
//!
//! Easy to get wrong: a hub that restarts is degraded, not gone; its connections stay.
use super::{Mode, Realtime};
use crate::{cluster::Link, runtime::State};
use std::sync::atomic::Ordering;

/// How the realtime layer is, without asking the hub.
#[derive(Clone, Debug)]
pub struct RealtimeHealth {
    /// The mode.
    pub mode: Mode,
    /// The hub's state; none before it was started.
    pub hub: Option<State>,
    /// Connections are being closed.
    pub draining: bool,
    /// How the link to the other replicas is.
    pub link: Link,
    /// Open WebSockets.
    pub connections: usize,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}

impl RealtimeHealth {
    /// Whether it does what its mode promises.
    pub fn ok(&self) -> bool {
        self.link.is_up() && self.hub_ok()
    }

    fn hub_ok(&self) -> bool {
        match (self.mode, &self.hub) {
            (Mode::Off, _) | (Mode::Lazy, None) => true,
            (_, Some(state)) => matches!(state, State::Running),
            (Mode::On, None) => false,
        }
    }
}

impl Realtime {
    /// How it is; no I/O, no waiting.
    pub fn health(&self) -> RealtimeHealth {
        let shared = &self.0.base.shared;
        RealtimeHealth {
            mode: self.0.mode,
            hub: self.running().map(|hub| hub.watch().get()),
            link: self.0.base.mesh.state(),
            draining: shared.draining.load(Ordering::Relaxed),
            connections: self.connections(),
            queued_bytes: shared.budget.used(),
        }
    }

    /// Open WebSockets.
    pub fn connections(&self) -> usize {
        self.0.base.shared.connections.load(Ordering::Relaxed)
    }
}
