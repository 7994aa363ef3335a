//! Reads of the event log for the hub, on the application's tokio runtime; the answer is a message.
//!
//! Events are encoded here, not in the actor. Easy to get wrong: a read that fails must still answer, or the joins that
//! wait for it would wait for ever.
use crate::{
    actors::hub::{
        actor::Base,
        core::MAX_RECOVERED,
        jobs::Cursor,
        messages::{History, Purpose, Told},
    },
    db::{Store, StoreError, events},
    protocol::{ids::ProjectId, server},
};
use std::{fmt, sync::Arc};
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::task::TaskTracker;

/// Reads under way at once; more wait their turn.
const MAX_READS: usize = 32;

/// Reads the event log.
#[derive(Clone)]
pub struct Reader {
    store: Store,
    handle: Handle,
    tasks: TaskTracker,
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reader")
    }
}

impl Reader {
    /// Reads of `store` run on `handle` and are owned by `tasks`.
    pub fn new(store: Store, handle: Handle, tasks: TaskTracker) -> Self {
        Self { store, handle, tasks, turns: Arc::new(Semaphore::new(MAX_READS)) }
    }

    /// Read the newest position.
    pub fn head(&self, base: &Arc<Base>, generation: u64, project: ProjectId, purpose: Purpose) {
        let store = self.store.clone();
        self.answer(base, generation, project, purpose, async move {
            match events::head(&store, project).await {
                Ok((ep, off)) => History::Head { ep: ep.into(), off },
                Err(error) => failed(project, &error),
            }
        });
    }

    /// Read what follows `from`.
    pub fn since(&self, base: &Arc<Base>, generation: u64, project: ProjectId, from: Cursor, purpose: Purpose) {
        let store = self.store.clone();
        self.answer(base, generation, project, purpose, async move {
            match events::since(&store, project, &from.ep, from.off, MAX_RECOVERED).await {
                Ok(events::Recovery::Recovered { events, head }) => {
                    let encode = |event: events::DurableEvent| {
                        (event.off, server::durable((&event.ep, event.off), event.ts_ms, &event.body))
                    };
                    History::Events { events: events.into_iter().map(encode).collect(), head }
                }
                Ok(events::Recovery::Unrecoverable { ep, off }) => History::Gone { ep: ep.into(), off },
                Err(error) => failed(project, &error),
            }
        });
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
        self.tasks.spawn_on(
            async move {
                let _turn = turns.acquire().await;
                let history = read.await;
                let Some(hub) = base.addr.get() else {
                    return log::error!("project={project} the hub asked for history before it had an address");
                };
                if let Err(error) = hub.tell(Told { generation, project, purpose, history }).await {
                    log::warn!("project={project} history not delivered: {error}");
                }
            },
            &self.handle,
        );
    }
}

fn failed(project: ProjectId, error: &StoreError) -> History {
    if let StoreError::NotFound = error {
        return History::NotFound;
    }
    log::warn!("project={project} reading its events failed: {error}");
    History::Unavailable
}
