//! The comparing of one job, shared: the runner and replicas with nothing else to do compute parts of it, each once.
//!
//! It leaves what a part is to the engine and rows to `db::parts`. A helper reads both files as the runner does, compares what
//! nobody else does, and goes away; it writes nothing but parts. The one thing easy to get wrong: parts save work and are never
//! needed, so a store that is away costs only what it would have saved.
use super::board::{Flight, Halt};
use super::handle::Shared;
use super::ingest;
use super::meter::Meter;
use super::run::{Run, Stop, rules_of};
use crate::actors::jobs::MADE_BY;
use crate::db::StoreError;
use crate::db::jobs::{self, Job};
use crate::db::parts::{self, Taken};
use crate::protocol::ids::JobId;
use crate::reconcile::{Cancelled, Control, Part, Parts, Progress, RunError, Side, compare_parts};
use sha2::{Digest as _, Sha256};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How long to wait for parts that others compute before looking again.
const LOOK: Duration = Duration::from_millis(50);
/// How long giving parts back may hold up the end of a run; after it they are free when their leases end.
const RELEASE: Duration = Duration::from_millis(500);

/// The engine's control of a run whose comparing is kept in parts.
pub(super) struct InParts<'a> {
    run: &'a Run,
    helping: bool,
    computed: AtomicU64,
    taken: AtomicU64,
    /// Whether a part was requested: one may be held then.
    asked: AtomicBool,
    /// That the store does not answer was logged: it would be for every part.
    warned: AtomicBool,
}

impl<'a> InParts<'a> {
    pub(super) fn of_runner(run: &'a Run) -> Self {
        let (zero, no) = (|| AtomicU64::new(0), || AtomicBool::new(false));
        Self { run, helping: false, computed: zero(), taken: zero(), asked: no(), warned: no() }
    }

    /// What was computed here, and what was taken from an earlier attempt or another process.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.computed.load(Ordering::Relaxed), self.taken.load(Ordering::Relaxed))
    }

    /// Gives back what was taken and not computed, once the comparing has ended early.
    pub(super) fn release(&self) {
        let Run { shared, job, .. } = self.run;
        // On an exclusive store whoever else took a part is dead, and its lease counts for nothing.
        if shared.store.exclusive() || !self.asked.load(Ordering::Relaxed) {
            return;
        }
        let call = parts::release(&shared.store, job.id, shared.store.process());
        let error = match shared.tokio.block_on(async { tokio::time::timeout(RELEASE, call).await }) {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(late) => late.to_string(),
        };
        log::warn!("parts of a job stay taken until their leases end job={} error={error}", job.id);
    }

    /// One try. An error is no reason to stop: what cannot be kept is computed here.
    fn ask<T>(&self, what: &str, call: impl Future<Output = Result<T, StoreError>>) -> Result<Option<T>, Cancelled> {
        let Run { shared, flight, job, .. } = self.run;
        let answer = shared.tokio.block_on(async {
            tokio::select! {
                answer = call => Some(answer),
                () = flight.stopping() => None,
            }
        });
        match answer {
            None => Err(Cancelled),
            Some(Ok(answer)) => Ok(Some(answer)),
            Some(Err(StoreError::Fenced)) => {
                flight.halt(Halt::Lost);
                Err(Cancelled)
            }
            Some(Err(error)) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    let id = job.id;
                    log::warn!("parts of a job's comparing are not all kept: cannot {what} job={id} error={error}");
                }
                Ok(None)
            }
        }
    }
}

impl Control for InParts<'_> {
    fn progress(&self, progress: Progress) -> ControlFlow<()> {
        self.run.meter.progress(progress)
    }

    fn parts(&self) -> Option<&dyn Parts> {
        Some(self)
    }
}

impl Parts for InParts<'_> {
    fn begin(&self, step: u64, parts: u32) -> Result<(), Cancelled> {
        if self.helping {
            return Ok(());
        }
        let Run { shared, flight, .. } = self.run;
        self.ask("open parts", parts::begin(&shared.store, flight.job, flight.fence, numbered(step), parts)).map(drop)
    }

    fn take(&self, step: u64, part: u32) -> Result<Part, Cancelled> {
        let Run { shared, flight, .. } = self.run;
        let (store, lease) = (&shared.store, shared.limits.lease);
        let place = (numbered(step), i64::from(part));
        self.asked.store(true, Ordering::Relaxed);
        match self.ask("take a part", parts::take(store, flight.job, place, store.process(), lease))? {
            Some(Taken::Kept(body)) => {
                self.taken.fetch_add(1, Ordering::Relaxed);
                Ok(Part::Kept(body))
            }
            Some(Taken::Elsewhere) => Ok(Part::Elsewhere),
            // Nobody waits for a helper.
            Some(Taken::Gone) | None if self.helping => Err(Cancelled),
            Some(Taken::Yours | Taken::Gone) | None => Ok(Part::Yours),
        }
    }

    fn keep(&self, step: u64, part: u32, body: Vec<u8>) -> Result<(), Cancelled> {
        self.computed.fetch_add(1, Ordering::Relaxed);
        let Run { shared, flight, .. } = self.run;
        let place = (numbered(step), i64::from(part));
        match self.ask("keep a part", parts::keep(&shared.store, flight.job, place, body))? {
            Some(false) if self.helping => Err(Cancelled),
            _ => Ok(()),
        }
    }

    fn wait(&self) -> Result<(), Cancelled> {
        let Run { shared, flight, .. } = self.run;
        let halted = shared.tokio.block_on(async { tokio::time::timeout(LOOK, flight.stopping()).await.is_ok() });
        if halted { Err(Cancelled) } else { Ok(()) }
    }

    fn last_first(&self) -> bool {
        self.helping
    }
}

/// The step's number among those of every version of this code: another one may find something else.
fn numbered(step: u64) -> i64 {
    let digest = Sha256::digest(MADE_BY.as_bytes());
    let version = digest.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    (step ^ version).cast_signed()
}

/// A job of another process that wants help, and that this one has not helped yet.
pub(super) async fn wanting(shared: &Shared, helped: &[(JobId, i64)]) -> Result<Option<Job>, StoreError> {
    for id in parts::wanting(&shared.store).await? {
        if shared.board.get(id).is_some() {
            continue;
        }
        match jobs::get(&shared.store, id).await {
            Ok(job) if !helped.contains(&(job.id, job.attempt)) => return Ok(Some(job)),
            Ok(_) | Err(StoreError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Computes parts of another process's job until there is none left, it ends, or `closing` does.
pub(super) async fn help(shared: Arc<Shared>, job: Job) {
    let (id, attempt, closing) = (job.id, job.attempt, shared.closing.clone());
    let flight = Arc::new(Flight::new(id, attempt));
    let meter = Meter::silent(&shared, flight.clone(), &job);
    let run = Run { shared, flight: flight.clone(), job: Arc::new(job), meter };
    let mut work = tokio::task::spawn_blocking(move || compare(&run));
    let outcome = tokio::select! {
        outcome = &mut work => outcome,
        () = closing.cancelled() => {
            flight.halt(Halt::Shutdown);
            work.await
        }
    };
    match outcome {
        Ok(Ok(parts)) => log::info!("helped with a job job={id} attempt={attempt} parts={parts}"),
        Ok(Err(Stop::Halted(_))) => log::debug!("help with a job ended early job={id} attempt={attempt}"),
        Ok(Err(Stop::Failed(why) | Stop::NotHere(why))) => log::warn!("cannot help with a job job={id}: {why}"),
        Err(lost) => log::error!("help with a job was lost job={id} error={lost}"),
    }
}

/// What the runner does up to the end of the comparing; how many parts were computed here.
fn compare(run: &Run) -> Result<u64, Stop> {
    let (rules, inferred) = rules_of(run)?;
    let mut left = ingest::table(run, &rules, Side::Left)?;
    let mut right = ingest::table(run, &rules, Side::Right)?;
    let control = InParts { helping: true, ..InParts::of_runner(run) };
    let given = Some(&rules).filter(|_| !inferred);
    let compared = crate::reconcile::settle(&mut left, &mut right, given, &control)
        .map_err(RunError::from)
        .and_then(|()| compare_parts(&left, &right, given, &control));
    let (computed, _) = control.counts();
    if compared.is_err() {
        control.release();
    }
    match compared {
        // The job went on without the rest.
        Ok(()) | Err(RunError::Cancelled) => Ok(computed),
        Err(error) => Err(Stop::Failed(error.to_string())),
    }
}
