//! The task that compares open rooms with the store: now and then while the others are heard, often while they are not.
//!
//! So a relay that falls silent without a word loses nothing. Easy to get wrong: a replica that has the store to itself
//! has nobody to miss anything from, and asks the store nothing.
use crate::actors::hub::actor::Base;
use crate::actors::rooms::messages::{BeginClaims, ClaimsTold, History, Positions, Purpose, RoomPositions, Told};
use crate::cluster::Link;
use crate::db::postgres::wakeups::Heard;
use crate::db::{Store, claims, events};
use crate::protocol::ids::ProjectId;
use futures_util::FutureExt;
use std::{
    any::Any,
    collections::{BTreeSet, HashMap},
    future::pending,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Rooms whose heads one query reads.
const ROOMS_AT_ONCE: usize = 500;
/// Rooms whose claims the hub is told of in one turn.
const CLAIMS_AT_ONCE: usize = 32;
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
    last: Instant,
    /// When the claims are to be compared too: news of them are told once, and no later one shows that one was lost.
    claims_next: Instant,
}

impl Comparing {
    /// For the rooms of `base`, with `store`.
    pub fn new(base: Arc<Base>, store: Store, heard: Option<mpsc::Receiver<Heard>>) -> Self {
        let (link, gaps) = (base.mesh.relay.link(), base.mesh.relay.gaps());
        let last = Instant::now();
        let next = last + base.mesh.limits.compare_every;
        Self { base, store, heard, link, gaps, next, last, claims_next: next }
    }

    /// Until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let base = self.base.clone();
        while let Some(Err(panic)) =
            stop.run_until_cancelled(AssertUnwindSafe(self.compare_for_ever()).catch_unwind()).await
        {
            crashed("comparing rooms with the store", &*panic);
            // Whatever made it panic is not met in a tight circle.
            tokio::time::sleep(base.mesh.limits.poll_every).await;
        }
    }

    async fn compare_for_ever(&mut self) {
        let mut tick = interval(self.base.mesh.limits.poll_every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mesh = self.base.mesh.clone();
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = sleep_until(self.next), if self.every().is_some() => {}
                () = mesh.missed() => self.all_soon(),
                () = changed(&mut self.gaps) => self.all_soon(),
                () = changed(&mut self.link) => self.all_soon(),
                heard = heard(&mut self.heard) => {
                    if heard.contains(&Heard::Missed) {
                        self.all_soon();
                    } else {
                        self.woken(heard).await;
                        continue;
                    }
                }
            }
            let now = Instant::now();
            if self.base.mesh.take_fresh() {
                self.next = self.next.min(now + SETTLE);
                self.claims_next = self.claims_next.min(now + SETTLE);
            }
            let Some(every) = self.every() else { continue };
            self.next = self.next.min(now + every).max(self.last + LEAST);
            if self.next <= now {
                self.compare().await;
            }
        }
    }

    /// Something may have been lost: as soon as it may be, all is compared.
    fn all_soon(&mut self) {
        let now = Instant::now();
        (self.next, self.claims_next) = (now, now);
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

    /// Something was committed there, says the store. It does so while its replica has no relay, whatever ours is like.
    async fn woken(&self, heard: Vec<Heard>) {
        let named = heard.into_iter().filter_map(|heard| match heard {
            Heard::Project(project) => Some(project),
            Heard::Missed => None,
        });
        let projects: BTreeSet<ProjectId> = named.filter(|id| self.base.mesh.follows(*id)).collect();
        if !projects.is_empty()
            && let Some(mut positions) = self.positions().await
        {
            positions.rooms.retain(|(project, _)| projects.contains(project));
            self.compare_heads(&positions).await;
        }
    }

    async fn compare(&mut self) {
        let began = Instant::now();
        if let Some(positions) = self.positions().await {
            self.compare_heads(&positions).await;
            if self.claims_next <= began && self.compare_claims(&positions).await {
                self.claims_next = Instant::now() + self.base.mesh.limits.compare_every;
            }
        }
        self.last = Instant::now();
        self.next = self.last + self.every().unwrap_or(self.base.mesh.limits.compare_every);
    }

    async fn positions(&self) -> Option<RoomPositions> {
        let hub = self.base.addr.get()?;
        hub.ask(Positions)
            .await
            .inspect_err(|error| log::debug!("the hub did not say where its rooms are: {error}"))
            .ok()
    }

    async fn compare_heads(&self, positions: &RoomPositions) {
        let Some(hub) = self.base.addr.get() else { return };
        for some in positions.rooms.chunks(ROOMS_AT_ONCE) {
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

    /// Whether all could be compared.
    async fn compare_claims(&self, positions: &RoomPositions) -> bool {
        let (Some(hub), generation) = (self.base.addr.get(), positions.generation) else { return false };
        for some in positions.rooms.chunks(ROOMS_AT_ONCE) {
            let rooms = some.iter().map(|(project, _)| *project).collect();
            // First the hub notes what changes from now on, then the store is read.
            let Ok(ids) = hub.ask(BeginClaims { generation, rooms }).await else { return false };
            let mut claims = claims::list_many(&self.store, ids.clone())
                .await
                .inspect_err(|error| log::debug!("claims of rooms={} were not compared: {error}", ids.len()))
                .ok();
            let rooms = ids
                .into_iter()
                .map(|project| (project, claims.as_mut().map(|claims| claims.remove(&project).unwrap_or_default())));
            let rooms: Vec<_> = rooms.collect();
            for rooms in rooms.chunks(CLAIMS_AT_ONCE) {
                if hub.tell(ClaimsTold { generation, rooms: rooms.to_vec() }).await.is_err() {
                    return false;
                }
            }
            if claims.is_none() {
                return false;
            }
        }
        true
    }
}

/// When the value changes; never, once nobody can change it.
async fn changed<T>(watched: &mut watch::Receiver<T>) {
    if watched.changed().await.is_err() {
        pending::<()>().await;
    }
}

/// A task that must not end has panicked, and goes on.
pub(super) fn crashed(what: &str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a text");
    log::error!("{what} has panicked, and goes on panic={text:?}");
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
