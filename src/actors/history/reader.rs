//! The store for the hub: reads of the event log, changes of claims, on the application's tokio runtime; the answer
//! is a message.
//!
//! Events are encoded here, not in the actor. Easy to get wrong: a read that fails, or does not end, must still be answered, or
//! the joins that wait for it would wait for ever.
use super::catching_up::{self, CatchingUp, Reading, Wanted};
use crate::actors::hub::Hub;
use crate::actors::hub::actor::Base;
use crate::actors::rooms::claims::ClaimRefused;
use crate::actors::rooms::messages::{Change, ClaimAsk, ClaimOutcome, ClaimTold, History, Purpose, RenewTold, Told};
use crate::actors::sockets::commands::Cursor;
use crate::db::{Store, StoreError, claims, events};
use crate::protocol::ids::ProjectId;
use std::{fmt, sync::Arc, time::Duration};
use tokio::{runtime::Handle, sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;

/// Reads under way at once; more wait their turn.
const MAX_READS: usize = 32;
/// How long who asks may wait for an answer; then it is that the store is away, and a join is refused.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Reads the event log.
#[derive(Clone)]
pub struct Reader {
    store: Store,
    handle: Handle,
    tasks: TaskTracker,
    turns: Arc<Semaphore>,
    catching_up: Arc<CatchingUp>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Reads of `store` run on `handle` and are owned by `tasks`.
    pub fn new(store: Store, handle: Handle, tasks: TaskTracker) -> Self {
        Self { store, handle, tasks, turns: Arc::new(Semaphore::new(MAX_READS)), catching_up: Arc::default() }
    }

    /// The store's time, unix milliseconds: replicas' own clocks may be minutes apart.
    pub fn now_ms(&self) -> i64 {
        self.store.now_us() / 1_000
    }

    /// Read the newest position.
    pub fn head(&self, base: &Arc<Base>, generation: u64, project: ProjectId, purpose: Purpose) {
        let store = self.store.clone();
        let (opens, only_claims) = (matches!(purpose, Purpose::Open), matches!(purpose, Purpose::Claims));
        self.answer(base, generation, project, purpose, async move {
            if only_claims {
                return match claims::list(&store, project).await {
                    Ok(claims) => History::Claims(claims),
                    Err(error) => failed(project, &error),
                };
            }
            let head = match events::head(&store, project).await {
                Ok((ep, off)) => (ep.into(), off),
                Err(error) => return failed(project, &error),
            };
            let (ep, off) = head;
            if !opens {
                return History::Head { ep, off };
            }
            match claims::list(&store, project).await {
                Ok(claims) => History::Opened { ep, off, claims },
                Err(error) => failed(project, &error),
            }
        });
    }

    /// Read what follows `from`; together with whoever else asks meanwhile.
    pub fn since(&self, base: &Arc<Base>, generation: u64, project: ProjectId, from: Cursor, purpose: Purpose) {
        let log = (project, from.ep.clone());
        if !self.catching_up.wait(project, from, generation, purpose) {
            return;
        }
        let (base, reader) = (base.clone(), self.clone());
        self.spawn(async move {
            let turn = timeout(ANSWER_WITHIN, reader.turns.acquire()).await;
            let most = base.shared.limits.outbound_bytes;
            let mut reading = Reading::new(&reader.catching_up, &log);
            loop {
                let wanted = reading.next();
                if wanted.is_empty() {
                    return;
                }
                let (answers, unserved) = match &turn {
                    Ok(_turn) => catching_up::read(&reader.store, &log, wanted, most).await,
                    Err(_elapsed) => catching_up::refused(project, wanted, &too_late()),
                };
                reader.catching_up.put_back(&log, unserved);
                for (wanted, history) in answers {
                    let Wanted { generation, purpose, .. } = wanted;
                    tell(&base, project, Told { generation, project, purpose, history }).await;
                }
            }
        });
    }

    /// Have a claim decided.
    pub fn claim(&self, base: &Arc<Base>, generation: u64, ask: ClaimAsk) {
        let (base, turns, store) = (base.clone(), self.turns.clone(), self.store.clone());
        self.spawn(async move {
            let deciding = async {
                let _turn = turns.acquire().await;
                decide(&store, &base, &ask).await
            };
            let outcome = timeout(ANSWER_WITHIN, deciding).await;
            let outcome =
                outcome.unwrap_or(ClaimOutcome::Failed(ClaimRefused::Unavailable("the store does not answer")));
            tell(&base, ask.project, ClaimTold { generation, ask, outcome }).await;
        });
    }

    /// Have leases renewed. When the store can't, they last as long as they did.
    pub fn renew(&self, base: &Arc<Base>, project: ProjectId, wanted: Vec<(String, String)>) {
        let (base, turns, store) = (base.clone(), self.turns.clone(), self.store.clone());
        self.spawn(async move {
            let _turn = turns.acquire().await;
            let count = wanted.len();
            let asked = wanted.clone();
            match claims::renew(&store, project, wanted, base.shared.limits.claim_ttl).await {
                Ok(renewed) => tell(&base, project, RenewTold { project, asked, renewed }).await,
                Err(error) => log::warn!("project={project} claims={count} not renewed: {error}"),
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.handle);
    }

    fn answer(
        &self,
        base: &Arc<Base>,
        generation: u64,
        project: ProjectId,
        purpose: Purpose,
        read: impl Future<Output = History> + Send + 'static,
    ) {
        let (base, turns) = (base.clone(), self.turns.clone());
        self.spawn(async move {
            let reading = async {
                let _turn = turns.acquire().await;
                read.await
            };
            let history = timeout(ANSWER_WITHIN, reading).await;
            let history = history.unwrap_or_else(|_elapsed| failed(project, &too_late()));
            tell(&base, project, Told { generation, project, purpose, history }).await;
        });
    }
}

async fn tell<M>(base: &Base, project: ProjectId, answer: M)
where
    Hub: actix::Handler<M>,
    M: actix::Message<Result = ()> + Send + 'static,
{
    let Some(hub) = base.addr.get() else {
        return log::error!("project={project} the hub asked the store before it had an address");
    };
    if let Err(error) = hub.tell(answer).await {
        log::warn!("project={project} the store's answer was not delivered: {error}");
    }
}

async fn decide(store: &Store, base: &Base, ask: &ClaimAsk) -> ClaimOutcome {
    let limits = &base.shared.limits;
    let decided = match ask.change {
        Change::Take => {
            let wanted = claims::Wanted {
                entity_id: ask.entity_id.clone(),
                user_id: ask.user.to_string(),
                holder: ask.holder.clone(),
            };
            let most = limits.claims_per_project as u64;
            claims::take(store, ask.project, wanted, limits.claim_ttl, most).await.map(ClaimOutcome::Taken)
        }
        Change::Abandon => {
            let abandoned = claims::abandon(store, ask.project, &ask.entity_id, &ask.holder).await;
            abandoned.map(ClaimOutcome::Abandoned)
        }
        Change::Release | Change::ReleaseOwn => {
            let holder = (ask.change == Change::ReleaseOwn).then(|| ask.holder.clone());
            let released = claims::release(store, ask.project, &ask.entity_id, &ask.user, holder).await;
            released.map(ClaimOutcome::Released)
        }
    };
    decided.unwrap_or_else(|error| {
        ClaimOutcome::Failed(match error {
            StoreError::NotFound => ClaimRefused::NoProject,
            StoreError::LimitExceeded { max, .. } => ClaimRefused::TooMany(max),
            error => {
                log::warn!("project={} a claim was not settled: {error}", ask.project);
                ClaimRefused::Unavailable("the store is away")
            }
        })
    })
}

pub(super) fn too_late() -> StoreError {
    StoreError::unavailable(format!("the store did not answer in {ANSWER_WITHIN:?}"))
}

pub(super) fn failed(project: ProjectId, error: &StoreError) -> History {
    if let StoreError::NotFound = error {
        return History::NotFound;
    }
    log::warn!("project={project} reading its events failed: {error}");
    History::Unavailable
}
