//! One run, step by step, on a blocking thread: read and store the sources, match, keep what was found, stage, publish.
//!
//! Steps are in `ingest`, `checkpoint` and `stage`; the matching is the engine's. The one thing easy to get wrong: this thread may
//! wait for the store, so every wait looks at the halt flag, and none is without a limit.
use super::board::{Flight, Halt};
use super::handle::Shared;
use super::meter::Meter;
use super::parts::InParts;
use super::{checkpoint, ingest, stage};
use crate::db::jobs::Job;
use crate::db::{Committed, StoreError, parts, staging};
use crate::reconcile::{ReadError, RuleError, RuleSet, RunError, Side};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Why a run ended without a result.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It was told to.
    Halted(Halt),
    /// It could not; the text is for the user.
    Failed(String),
    /// It could not here, another process may; the text is for the user when nobody could.
    NotHere(String),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Fenced => Self::Halted(Halt::Lost),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// What the steps of a run need.
pub(crate) struct Run {
    pub shared: Arc<Shared>,
    pub flight: Arc<Flight>,
    pub job: Arc<Job>,
    pub meter: Meter,
}

impl Run {
    pub(crate) fn new(shared: Arc<Shared>, flight: Arc<Flight>, job: Arc<Job>) -> Self {
        let meter = Meter::new(&shared, flight.clone(), &job);
        Self { shared, flight, job, meter }
    }

    /// Goes on only while nobody wants the run stopped.
    pub(crate) fn check(&self) -> Result<(), Stop> {
        self.flight.halted().map_or(Ok(()), |why| Err(Stop::Halted(why)))
    }

    /// Waits for a call to the store, again while the store is away; not any longer once the run is to stop.
    pub(crate) fn store<T, F>(&self, call: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.check()?;
        let outcome = self.shared.tokio.block_on(async {
            tokio::select! {
                outcome = patiently(&self.shared, Some(&self.flight), call) => Some(outcome),
                () = self.flight.stopping() => None,
            }
        });
        self.check()?;
        // Without an outcome it was halted, and the check said so.
        outcome.unwrap_or(Err(StoreError::Fenced)).map_err(Stop::from)
    }

    /// The same for a change with an event: once begun it is waited for, as what was committed must be told.
    pub(crate) fn commit<T, F>(&self, call: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<Committed<T>, StoreError>>,
    {
        self.check()?;
        let done = match self.shared.tokio.block_on(patiently(&self.shared, Some(&self.flight), call)) {
            Ok(done) => done,
            Err(error) => return Err(self.check().err().unwrap_or_else(|| error.into())),
        };
        if let Some(event) = done.event {
            self.shared.realtime.publish(event);
        }
        Ok(done.value)
    }

    /// The engine stopped because its control said so, or has something to say to the user.
    pub(crate) fn read_failed(&self, error: &ReadError) -> Stop {
        match (error, self.flight.halted()) {
            (ReadError::Cancelled, Some(why)) => Stop::Halted(why),
            _ => Stop::Failed(error.to_string()),
        }
    }

    fn run_failed(&self, error: &RunError) -> Stop {
        match (error, self.flight.halted()) {
            (RunError::Cancelled, Some(why)) => Stop::Halted(why),
            _ => Stop::Failed(error.to_string()),
        }
    }
}

/// The whole run; when it returns `Ok`, its results are visible.
pub(crate) fn execute(run: Run) -> Result<(), Stop> {
    run.check()?;
    let began = Instant::now();
    let found = match checkpoint::load(&run)? {
        Some(found) => found,
        None => {
            let found = compare(&run)?;
            run.store(|| parts::discard(&run.shared.store, run.job.id, run.flight.fence))?;
            found
        }
    };
    let attempt = stage::all(&run, &found)?;
    run.meter.flush(&run.shared.tokio);
    let (id, fence, counts) = (run.job.id, run.flight.fence, found.head.counts);
    let publish = || async {
        match staging::publish_under(&run.shared.store, id, fence, attempt, counts).await {
            Ok(done) => Ok(Committed { value: true, event: done.event }),
            // A user's wish that came before the commit.
            Err(StoreError::Conflict(_)) => Ok(Committed { value: false, event: None }),
            Err(error) => Err(error),
        }
    };
    if !run.commit(publish)? {
        // To pause or to cancel: whichever it is, the row says when its end is written.
        return Err(Stop::Halted(Halt::Pause));
    }
    log::info!(
        "job completed job={id} left={} right={} matched={} discrepancy={} seconds={:.2}",
        counts.left,
        counts.right,
        counts.matched,
        counts.discrepancy,
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

/// From the files to what will be stored; the tables are gone when it returns.
fn compare(run: &Run) -> Result<checkpoint::Found, Stop> {
    let (rules, inferred) = rules_of(run)?;
    let mut left = ingest::side(run, &rules, Side::Left)?;
    let mut right = ingest::side(run, &rules, Side::Right)?;
    let control = InParts::of_runner(run);
    let given = Some(&rules).filter(|_| !inferred);
    crate::reconcile::settle(&mut left, &mut right, given, &control)
        .map_err(|stopped| run.run_failed(&stopped.into()))?;
    let outcome = if inferred {
        crate::reconcile::run_inferred(&left, &right, &control)
    } else {
        crate::reconcile::run(&left, &right, &rules, &control)
    };
    let (computed, taken) = control.counts();
    if taken > 0 {
        log::info!("parts of the comparing were there job={} parts={taken} of={}", run.job.id, computed + taken);
    }
    if outcome.is_err() {
        control.release();
    }
    let outcome = outcome.map_err(|error| run.run_failed(&error))?;
    run.check()?;
    stage::found(run, &rules, outcome, &left, &right)
}

/// The rules of a job, and whether they are only a proposal that was inferred.
pub(super) fn rules_of(run: &Run) -> Result<(RuleSet, bool), Stop> {
    let rules = RuleSet::from_value(run.job.rules.clone()).map_err(|error| failed_rules(&error))?;
    Ok((rules, run.job.options["inferred"].as_bool() == Some(true)))
}

fn failed_rules(error: &RuleError) -> Stop {
    Stop::Failed(format!("rules: {error}"))
}

/// Calls the store until it answers, at most for the limits' patience; ends early when the run is halted.
pub(crate) async fn patiently<T, F>(
    shared: &Shared,
    flight: Option<&Flight>,
    call: impl Fn() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    /// How long a halt may go unseen while the store is away.
    const LOOK: Duration = Duration::from_millis(50);
    let deadline = Instant::now() + shared.limits.store_patience;
    let mut status = shared.store.status();
    loop {
        match call().await {
            Err(StoreError::Unavailable { .. }) if Instant::now() < deadline => {}
            answer => return answer,
        }
        // Ready again or not yet down: either way the next call decides.
        let mut pause = tokio::time::interval(LOOK);
        pause.tick().await;
        loop {
            pause.tick().await;
            let halted = flight.is_some_and(|flight| flight.halted().is_some());
            if halted || status.borrow_and_update().is_ready() || Instant::now() >= deadline {
                break;
            }
        }
        if flight.is_some_and(|flight| flight.halted().is_some()) {
            return Err(StoreError::Unavailable { reason: "halted".into(), retry_after: LOOK });
        }
    }
}
