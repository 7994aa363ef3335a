//! Progress of a run: from thousands of engine callbacks to at most ten reports a second.
//!
//! It is the engine's [`Control`], called from any CPU thread. The one thing easy to get wrong: it must never wait, so
//! a busy meter skips a report (the next is near), and the row's state is written by a task of its own.
use super::board::{Flight, Halt, JobProgress};
use super::handle::Shared;
use crate::actors::hub::Realtime;
use crate::db::StoreError;
use crate::db::jobs::{self, Job, JobState};
use crate::protocol::ids::{JobId, ProjectId};
use crate::protocol::server::JobProgressUpdate;
use crate::reconcile::{Control, Phase, Progress};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Least time between two reports of one phase.
const REPORT_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Meter {
    project: ProjectId,
    job: JobId,
    realtime: Realtime,
    flight: Arc<Flight>,
    /// What it sees is another process's to report.
    silent: bool,
    latest: Mutex<Latest>,
    state: Mutex<Option<(watch::Sender<JobState>, JoinHandle<()>)>>,
}

struct Latest {
    phase: &'static str,
    phase_began: Instant,
    reported: Instant,
    rows_per_second: f64,
}

impl Meter {
    pub(crate) fn new(shared: &Shared, flight: Arc<Flight>, job: &Job) -> Self {
        let (sender, receiver) = watch::channel(JobState::Ingesting);
        let writer = write_states(shared.store.clone(), flight.clone(), receiver);
        let writer = shared.tasks.spawn_on(writer, &shared.tokio);
        Self { silent: false, state: Mutex::new(Some((sender, writer))), ..Self::silent(shared, flight, job) }
    }

    /// One that only looks whether the work is to stop.
    pub(crate) fn silent(shared: &Shared, flight: Arc<Flight>, job: &Job) -> Self {
        let now = Instant::now();
        let latest = Latest { phase: "", phase_began: now, reported: now, rows_per_second: 0.0 };
        Self {
            project: job.project_id,
            job: job.id,
            realtime: shared.realtime.clone(),
            flight,
            silent: true,
            latest: Mutex::new(latest),
            state: Mutex::new(None),
        }
    }

    /// Reports work of a phase; `rows` says whether its units are rows. The beginning of a phase is always reported,
    /// the rest at most every [`REPORT_EVERY`].
    pub(crate) fn report(&self, state: JobState, phase: &'static str, done: u64, total: u64, matches: u64, rows: bool) {
        // The row may say by now that it is paused or cancelled, and this would be taken for later news.
        if self.silent || self.flight.halted().is_some() {
            return;
        }
        let mut latest = match self.latest.try_lock() {
            Ok(latest) => latest,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let now = Instant::now();
        if latest.phase == phase {
            if now - latest.reported < REPORT_EVERY {
                return;
            }
        } else {
            latest.phase = phase;
            latest.phase_began = now;
            self.enter(state);
        }
        latest.reported = now;
        let seconds = (now - latest.phase_began).as_secs_f64();
        let speed = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        if rows && speed > 0.0 {
            latest.rows_per_second = speed.round();
        }
        let eta_seconds = (speed > 0.0 && total >= done && total > 0).then(|| (total - done) as f64 / speed);
        let rows_per_second = latest.rows_per_second;
        drop(latest);
        let progress =
            JobProgress { state, phase: phase.to_owned(), done, total, matches, rows_per_second, eta_seconds };
        self.flight.set_progress(progress);
        self.realtime.job_progress(JobProgressUpdate {
            project_id: self.project,
            job_id: self.job,
            state: self.flight.progress().state.to_string(),
            phase: phase.to_owned(),
            done,
            total,
            matches,
            rows_per_second,
            eta_seconds,
            terminal: false,
        });
    }

    fn enter(&self, state: JobState) {
        let sender = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((sender, _)) = sender.as_ref() {
            sender.send_if_modified(|current| std::mem::replace(current, state) != state);
        }
    }

    /// Waits until the row has its last state, so that none is written after the run's end. Called once, off the CPU pool.
    pub(crate) fn flush(&self, tokio: &tokio::runtime::Handle) {
        let taken = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some((sender, writer)) = taken {
            drop(sender);
            if let Err(lost) = tokio.block_on(writer) {
                log::error!("the task that writes a job's state was lost job={} error={lost}", self.job);
            }
        }
    }
}

impl Control for Meter {
    fn progress(&self, progress: Progress) -> ControlFlow<()> {
        let (state, rows) = match progress.phase {
            Phase::Ingesting => (JobState::Ingesting, false),
            Phase::Indexing => (JobState::Indexing, false),
            Phase::Scoring => (JobState::Scoring, true),
            Phase::Training => (JobState::Scoring, false),
            Phase::Assigning | Phase::Summing => (JobState::Assigning, false),
            Phase::Classifying => (JobState::Classifying, false),
        };
        self.report(state, progress.phase.as_str(), progress.done, progress.total, progress.matches, rows);
        match self.flight.halted() {
            None => ControlFlow::Continue(()),
            Some(_) => ControlFlow::Break(()),
        }
    }
}

/// Writes the newest state until the run is over; states that pass while one is written are skipped.
async fn write_states(store: crate::db::Store, flight: Arc<Flight>, mut states: watch::Receiver<JobState>) {
    while states.changed().await.is_ok() {
        let state = *states.borrow_and_update();
        match jobs::set_phase(&store, flight.job, flight.fence, state).await {
            Ok(()) => {}
            Err(StoreError::Fenced) => flight.halt(Halt::Lost),
            // The state is shown to people only: the next one will do.
            Err(error) => log::warn!("cannot write a job's state job={} state={state} error={error}", flight.job),
        }
    }
}
