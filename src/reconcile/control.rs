//! Progress out, cancellation in: the one callback a run makes.
//!
//! The engine knows nothing of clocks, bars or sockets: it reports often (every few thousand units of work) and
//! the caller throttles. Easy to get wrong: the callback runs on pool threads, so it must be `Sync` and short.
use crate::score::Parts;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a run is doing; the names are the job states shown to people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Rows are read and typed.
    Ingesting,
    /// Blocking keys are built.
    Indexing,
    /// Candidate pairs are compared.
    Scoring,
    /// The model learns its weights from the comparison patterns.
    Training,
    /// One-to-one assignment.
    Assigning,
    /// Sums for one-to-many and many-to-one groups.
    Summing,
    /// States, duplicates and breaks.
    Classifying,
}

impl Phase {
    /// The name as it appears in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ingesting => "ingesting",
            Self::Indexing => "indexing",
            Self::Scoring => "scoring",
            Self::Training => "training",
            Self::Assigning => "assigning",
            Self::Summing => "summing",
            Self::Classifying => "classifying",
        }
    }
}

/// How far a run is. `total` is 0 while it is unknown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// The phase that is running.
    pub phase: Phase,
    /// Units of the phase done so far (rows, or groups).
    pub done: u64,
    /// Units in the phase.
    pub total: u64,
    /// Matches found so far.
    pub matches: u64,
}

/// Watches a run and may stop it.
///
/// [`ControlFlow::Break`] cancels: the run returns its `Cancelled` error within 200 ms.
pub trait Control: Sync {
    /// Called from any pool thread.
    fn progress(&self, progress: Progress) -> ControlFlow<()>;

    /// Where parts of the comparing are kept, if they are. Called from the thread that called the run.
    fn parts(&self) -> Option<&dyn Parts> {
        None
    }
}

impl<F: Fn(Progress) -> ControlFlow<()> + Sync> Control for F {
    fn progress(&self, progress: Progress) -> ControlFlow<()> {
        self(progress)
    }
}

/// Ignores progress and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unattended;

impl Control for Unattended {
    fn progress(&self, _: Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// The run was cancelled by its [`Control`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

/// Counts the work of one phase over many threads and remembers a cancellation.
pub(crate) struct Meter<'a> {
    control: &'a dyn Control,
    phase: Phase,
    total: u64,
    done: AtomicU64,
    matches: AtomicU64,
    cancelled: AtomicBool,
}

impl<'a> Meter<'a> {
    /// Starts a phase and reports it once, so every phase is seen even when it is short.
    pub(crate) fn start(control: &'a dyn Control, phase: Phase, total: u64, matches: u64) -> Result<Self, Cancelled> {
        let meter = Self {
            control,
            phase,
            total,
            done: AtomicU64::new(0),
            matches: AtomicU64::new(matches),
            cancelled: AtomicBool::new(false),
        };
        meter.check()?;
        Ok(meter)
    }

    /// Where parts of the comparing are kept.
    pub(crate) fn parts(&self) -> Option<&dyn Parts> {
        self.control.parts()
    }

    /// Asks whether to go on. Cheap enough for every few thousand rows.
    pub(crate) fn check(&self) -> Result<(), Cancelled> {
        self.add(0, 0)
    }

    /// Asks whether to go on at every 4,096th of a loop's steps.
    pub(crate) fn check_at(&self, step: usize) -> Result<(), Cancelled> {
        if step.is_multiple_of(4096) { self.check() } else { Ok(()) }
    }

    /// Adds finished work and asks whether to go on. Cheap enough for every hundred rows.
    pub(crate) fn add(&self, done: u64, matches: u64) -> Result<(), Cancelled> {
        // Relaxed: the counters are only displayed, and a cancellation seen one batch later is soon enough.
        let done = self.done.fetch_add(done, Ordering::Relaxed) + done;
        let matches = self.matches.fetch_add(matches, Ordering::Relaxed) + matches;
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Cancelled);
        }
        // Text may be longer once it is decoded; a total of 0 stays unknown.
        let total = if self.total == 0 { 0 } else { self.total.max(done) };
        match self.control.progress(Progress { phase: self.phase, done, total, matches }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                self.cancelled.store(true, Ordering::Relaxed);
                Err(Cancelled)
            }
        }
    }
}
