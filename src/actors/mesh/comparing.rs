//! The task that compares open rooms with the store: now and then while the others are heard, often while they are not.
//!
//! So a relay that falls silent without a word loses nothing. Easy to get wrong: a replica that has the store to itself
//! has nobody to miss anything from, and asks the store nothing.
use crate::{
    actors::hub::{
        actor::Base,
        messages::{History, Positions, Purpose, RefreshClaims, Told},
    },
    cluster::Link,
    db::{Store, events, wakeups::Heard},
    protocol::ids::ProjectId,
};
use std::{
    collections::{BTreeSet, HashMap},
    future::pending,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// Rooms whose heads one query reads.
const ROOMS_AT_ONCE: usize = 500;
/// Words of the store that are taken together.
const WAKEUPS_AT_ONCE: usize = 256;
/// After a room was followed the relay may need a moment until it really is; what fell between shows after this.
const SETTLE: Duration = Duration::from_secs(1);
/// Least time between two comparisons, whatever calls for them.
const LEAST: Duration = Duration::from_millis(100);

/// The task's state.
pub struct Comparing {
    base: Arc<Base>,
    store: Store,
    /// Projects in which something was committed, as the store itself tells; listened to while the relay is away.
    heard: Option<mpsc::Receiver<Heard>>,
    link: watch::Receiver<Link>,
    gaps: watch::Receiver<u64>,
    next: Instant,
    /// News of claims may have been lost since they were read.
    claims_missed: bool,
}

impl Comparing {
    /// For the rooms of `base`, with `store`.
    pub fn new(base: Arc<Base>, store: Store, heard: Option<mpsc::Receiver<Heard>>) -> Self {
        let (link, gaps) = (base.mesh.relay.link(), base.mesh.relay.gaps());
        let next = Instant::now() + base.mesh.limits.compare_every;
        Self { base, store, heard, link, gaps, next, claims_missed: false }
    }

    /// Until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.compare_for_ever()).await;
    }

    async fn compare_for_ever(&mut self) {
        let mut tick = interval(self.base.mesh.limits.poll_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = changed(&mut self.gaps) => {
                    self.next = Instant::now();
                    self.claims_missed = true;
                }
                () = changed(&mut self.link) => self.next = Instant::now(),
                heard = heard(&mut self.heard) => {
                    if heard.contains(&Heard::Missed) {
                        self.next = Instant::now();
                    } else {
                        self.woken(heard).await;
                        continue;
                    }
                }
            }
            let now = Instant::now();
            if self.base.mesh.take_fresh() {
                self.next = self.next.min(now + SETTLE);
            }
            let Some(every) = self.every() else { continue };
            self.next = self.next.min(now + every);
            if self.next <= now {
                self.compare().await;
                // Once the link is up again: what is missed meanwhile is not known before.
                if self.claims_missed && self.link.borrow().is_up() {
                    self.claims_missed = false;
                    self.refresh_claims();
                }
                self.next = Instant::now() + every.max(LEAST);
            }
        }
    }

    /// Between two comparisons; none when there is nobody to miss anything from.
    fn every(&self) -> Option<Duration> {
        let limits = &self.base.mesh.limits;
        match *self.link.borrow() {
            Link::Down { .. } => Some(limits.poll_every),
            Link::Local if self.base.mesh.is_alone() && self.store.exclusive() => None,
            // Others may have the store, and no relay.
            Link::Local if self.base.mesh.is_alone() => Some(limits.poll_every),
            Link::Local | Link::Up => Some(limits.compare_every),
        }
    }

    /// Something was committed there, says the store. While the relay works it says so itself.
    async fn woken(&self, heard: Vec<Heard>) {
        let up = matches!(*self.link.borrow(), Link::Up);
        let named = heard.into_iter().filter_map(|heard| match heard {
            Heard::Project(project) => Some(project),
            Heard::Missed => None,
        });
        let projects: BTreeSet<ProjectId> = named.filter(|id| self.base.mesh.follows(*id)).collect();
        if !up && !projects.is_empty() {
            self.compare_some(Some(&projects)).await;
        }
    }

    fn refresh_claims(&self) {
        if let Some(hub) = self.base.addr.get()
            && let Err(error) = hub.try_tell(RefreshClaims)
        {
            log::debug!("claims are not looked at: {}", error.code());
        }
    }

    async fn compare(&self) {
        self.compare_some(None).await;
    }

    async fn compare_some(&self, only: Option<&BTreeSet<ProjectId>>) {
        let Some(hub) = self.base.addr.get() else { return };
        let positions = match hub.ask(Positions).await {
            Ok(positions) => positions,
            Err(error) => return log::debug!("the hub did not say where its rooms are: {error}"),
        };
        let mut rooms = positions.rooms;
        rooms.retain(|(project, _)| only.is_none_or(|only| only.contains(project)));
        for some in rooms.chunks(ROOMS_AT_ONCE) {
            let ids = some.iter().map(|(project, _)| *project).collect();
            let heads: HashMap<ProjectId, (String, u64)> = match events::heads(&self.store, ids).await {
                Ok(heads) => heads.into_iter().map(|(project, ep, off)| (project, (ep, off))).collect(),
                Err(error) => return log::debug!("rooms={} were not compared: {error}", some.len()),
            };
            for (project, here) in some {
                let history = match heads.get(project) {
                    None => History::NotFound,
                    Some((ep, off)) if *here.ep == **ep && *off <= here.off => continue,
                    Some((ep, off)) => History::Head { ep: ep.as_str().into(), off: *off },
                };
                let (generation, project, purpose) = (positions.generation, *project, Purpose::Check);
                if hub.tell(Told { generation, project, purpose, history }).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// When the value changes; never, once nobody can change it.
async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        pending::<()>().await;
    }
}

async fn heard(ears: &mut Option<mpsc::Receiver<Heard>>) -> Vec<Heard> {
    let mut heard = Vec::new();
    if let Some(ears) = ears
        && ears.recv_many(&mut heard, WAKEUPS_AT_ONCE).await > 0
    {
        return heard;
    }
    pending().await
}
