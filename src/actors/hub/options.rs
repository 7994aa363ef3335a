//! Whether there is a realtime layer, and with which limits.
//!
//! Leaves the limits' values to whoever starts it. Easy to get wrong: `Mode::Lazy` is healthy without a hub.
use crate::actors::replicas::MeshLimits;
use crate::actors::rooms::Limits;
use crate::cluster::{LocalBus, Relay, ReplicaId};
use crate::db::postgres::wakeups::Wakeups;

/// Whether there is a realtime layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// The hub starts with the process.
    #[default]
    On,
    /// The first connection starts it.
    Lazy,
    /// `/ws` answers 503; everything else works.
    Off,
}

impl std::str::FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" => Ok(Self::On),
            "lazy" => Ok(Self::Lazy),
            "off" => Ok(Self::Off),
            other => Err(format!("realtime must be on, lazy or off, not {other:?}")),
        }
    }
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::On => "on",
            Self::Lazy => "lazy",
            Self::Off => "off",
        })
    }
}

/// Settings of the realtime layer.
#[derive(Debug)]
pub struct Options {
    /// Threads that read and write live connections, each its share.
    pub threads: usize,
    /// Limits of connections and rooms.
    pub limits: Limits,
    /// The way to the other replicas.
    pub relay: Relay,
    /// How replicas look after each other.
    pub mesh: MeshLimits,
    /// Words between replicas by the store itself, for while there is no relay between them.
    pub wakeups: Option<Wakeups>,
}

impl Default for Options {
    /// One process, which has the store for itself.
    fn default() -> Self {
        Self {
            threads: 1,
            limits: Limits::default(),
            relay: Relay::local(&LocalBus::new(), ReplicaId::new("tieout")),
            mesh: MeshLimits::default(),
            wakeups: None,
        }
    }
}
