//! What this process is running: one entry per attempt of a job, from its claim until its row says how it ended and its work is
//! out.
//!
//! It lives outside the actors so that a restarted dispatcher still knows what is in the air, and so that asking for
//! progress costs no message. The one thing easy to get wrong: an entry is removed only after the row was written;
//! until then nobody may take the job for lost.
use crate::db::jobs::JobState;
use crate::protocol::ids::JobId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JobProgress {
    /// Where it is in its life.
    pub state: JobState,
    /// What it is doing, in the engine's word.
    pub phase: String,
    /// Units of the phase that are done.
    pub done: u64,
    /// Units of the phase; 0 while unknown.
    pub total: u64,
    /// Matches so far.
    pub matches: u64,
    /// Rows per second of the latest phase that counts rows.
    pub rows_per_second: f64,
    /// Seconds to the end of the phase, when they can be told.
    pub eta_seconds: Option<f64>,
}

/// Why a run is to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    /// A user wants it to stand still.
    Pause,
    /// A user wants it stopped.
    Cancel,
    /// The process stops; the job goes back to the queue.
    Shutdown,
    /// The row is another attempt's or deleted: nothing may be written.
    Lost,
}

/// One running job.
pub(crate) struct Flight {
    pub job: JobId,
    pub fence: i64,
    halt: AtomicU8,
    stopping: CancellationToken,
    progress: Mutex<JobProgress>,
}

impl Flight {
    pub(crate) fn new(job: JobId, fence: i64) -> Self {
        let progress = JobProgress {
            state: JobState::Ingesting,
            phase: JobState::Ingesting.to_string(),
            done: 0,
            total: 0,
            matches: 0,
            rows_per_second: 0.0,
            eta_seconds: None,
        };
        let (halt, stopping) = (AtomicU8::new(0), CancellationToken::new());
        Self { job, fence, halt, stopping, progress: Mutex::new(progress) }
    }

    /// Asks it to stop. The first cause stays, but nothing outranks the loss of the row, and a wish to cancel outranks one to
    /// pause.
    pub(crate) fn halt(&self, why: Halt) {
        let code = match why {
            Halt::Cancel => 1,
            Halt::Shutdown => 2,
            Halt::Lost => 3,
            Halt::Pause => 4,
        };
        // Relaxed: the flag carries no other data, and seeing it one batch later is soon enough.
        if why == Halt::Lost {
            self.halt.store(code, Ordering::Relaxed);
        } else {
            // Refused when there is another cause already, which is what is wanted.
            _ = self.halt.compare_exchange(0, code, Ordering::Relaxed, Ordering::Relaxed);
            if why == Halt::Cancel {
                _ = self.halt.compare_exchange(4, code, Ordering::Relaxed, Ordering::Relaxed);
            }
        }
        self.stopping.cancel();
    }

    /// Waits until it is to stop.
    pub(crate) async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Whether and why it is to stop.
    pub(crate) fn halted(&self) -> Option<Halt> {
        match self.halt.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Halt::Cancel),
            2 => Some(Halt::Shutdown),
            4 => Some(Halt::Pause),
            _ => Some(Halt::Lost),
        }
    }

    pub(crate) fn progress(&self) -> JobProgress {
        let mut progress = held(&self.progress).clone();
        match self.halted() {
            Some(Halt::Cancel) => progress.state = JobState::Cancelling,
            Some(Halt::Pause) => progress.state = JobState::Pausing,
            _ => {}
        }
        progress
    }

    pub(crate) fn set_progress(&self, progress: JobProgress) {
        *held(&self.progress) = progress;
    }
}

/// Every running attempt of this process: an attempt whose end is written may compute on for a while, beside the next one of
/// its job.
#[derive(Default)]
pub(crate) struct Board {
    flights: Mutex<BTreeMap<(JobId, i64), Arc<Flight>>>,
}

impl Board {
    pub(crate) fn add(&self, flight: Arc<Flight>) {
        held(&self.flights).insert((flight.job, flight.fence), flight);
    }

    pub(crate) fn remove(&self, flight: &Flight) {
        held(&self.flights).remove(&(flight.job, flight.fence));
    }

    /// The latest attempt of a job.
    pub(crate) fn get(&self, job: JobId) -> Option<Arc<Flight>> {
        held(&self.flights).range((job, i64::MIN)..=(job, i64::MAX)).next_back().map(|(_, flight)| flight.clone())
    }

    /// That attempt of a job.
    pub(crate) fn attempt(&self, job: JobId, fence: i64) -> Option<Arc<Flight>> {
        held(&self.flights).get(&(job, fence)).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Flight>> {
        held(&self.flights).values().cloned().collect()
    }

    pub(crate) fn len(&self) -> usize {
        held(&self.flights).len()
    }
}

/// Plain data is behind these locks: a panic while holding one leaves it as good as before.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_to_halt_stays_but_cancelling_outranks_pausing_and_a_lost_row_both() {
        let flight = Flight::new(JobId::generate(), 1);
        assert_eq!(flight.halted(), None);
        flight.halt(Halt::Pause);
        assert_eq!(flight.halted(), Some(Halt::Pause));
        flight.halt(Halt::Cancel);
        flight.halt(Halt::Shutdown);
        assert_eq!(flight.halted(), Some(Halt::Cancel));
        flight.halt(Halt::Lost);
        assert_eq!(flight.halted(), Some(Halt::Lost));
    }

    #[test]
    fn two_attempts_of_a_job_are_two_runs_and_the_later_one_speaks_for_it() {
        let board = Board::default();
        let job = JobId::generate();
        let old = Arc::new(Flight::new(job, 1));
        board.add(old.clone());
        board.add(Arc::new(Flight::new(job, 2)));
        board.add(Arc::new(Flight::new(JobId::generate(), 7)));
        assert_eq!((board.len(), board.all().len()), (3, 3), "the old one computes on and takes its place");
        assert_eq!(board.get(job).map(|flight| flight.fence), Some(2));
        assert_eq!(board.attempt(job, 1).map(|flight| flight.fence), Some(1));
        board.remove(&old);
        assert_eq!((board.len(), board.get(job).map(|flight| flight.fence)), (2, Some(2)));
        assert!(board.attempt(job, 1).is_none() && board.get(JobId::generate()).is_none());
    }
}
