//! Dead letters and refused messages: why, how many, and whom to tell. Easy to get wrong: a refused message came back to its
//! sender and was never accepted; a dead letter was accepted and will never be handled.
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Why an accepted message will never be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeadReason {
    /// Its actor ended.
    Stopped,
    /// It was pushed out of, or dropped at, a full mailbox.
    Overflow,
    /// Its deadline passed while it waited.
    Expired,
    /// Its asker went away.
    Withdrawn,
}

impl DeadReason {
    const ALL: [Self; 4] = [Self::Stopped, Self::Overflow, Self::Expired, Self::Withdrawn];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Overflow => "overflow",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// How many there were, by reason.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters([AtomicU64; DeadReason::ALL.len()]);

impl DeadLetters {
    pub(crate) fn count(&self, reason: DeadReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// Every reason, those without letters too.
    pub(crate) fn by_reason(&self) -> Vec<(&'static str, u64)> {
        DeadReason::ALL.iter().map(|r| (r.name(), self.0[*r as usize].load(Ordering::Relaxed))).collect()
    }
}

/// A message that was refused at the mailbox's door and came back, as told to `Builder::on_rejected`.
#[derive(Debug, Clone)]
pub struct Rejected {
    /// Its addressee.
    pub actor: Arc<str>,
    /// Its type.
    pub message: &'static str,
    /// The error's code, e.g. `mailbox_full`.
    pub reason: &'static str,
}
