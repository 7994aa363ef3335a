//! The task that shows the others that this replica lives, and tells clients whether the others can be heard.
//!
//! Apart from the comparison with the store, so that a store that is slow or away does not make this replica look dead.
//! Easy to get wrong: a replica whose actor thread is stuck is to look dead, so what its rooms are is the hub's to say.
use super::comparing::crashed;
use super::wire::Message;
use crate::actors::hub::actor::Base;
use crate::actors::rooms::messages::Beat;
use crate::actors::sockets::commands::ShardCommand;
use crate::cluster::{Channel, Link};
use futures_util::FutureExt;
use std::{
    future::pending,
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// Beat, and watch the link, until `stop`.
pub(in crate::actors) async fn live(base: Arc<Base>, stop: CancellationToken) {
    let mut watch = Watch { link: base.mesh.relay.link(), is_up: None, degraded_at: None };
    while let Some(Err(panic)) = stop.run_until_cancelled(AssertUnwindSafe(watch.keep(&base)).catch_unwind()).await {
        crashed("giving signs of life", &*panic);
        sleep(base.mesh.limits.beat_every).await;
    }
}

/// The task's state.
struct Watch {
    link: watch::Receiver<Link>,
    /// How it was when it was last looked at.
    is_up: Option<bool>,
    /// When clients are to be told that it is down: a short loss costs them nothing that they could do something about.
    degraded_at: Option<Instant>,
}

impl Watch {
    async fn keep(&mut self, base: &Base) {
        let mut beats = interval(base.mesh.limits.beat_every);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // How it is to begin with.
        self.link.mark_changed();
        let mut watched = true;
        loop {
            tokio::select! {
                _ = beats.tick() => {
                    beat(base);
                    base.mesh.expel_again();
                }
                changed = self.link.changed(), if watched => match changed {
                    Ok(()) => self.look(base),
                    // It will never be another.
                    Err(_) => watched = false,
                },
                () = at(self.degraded_at) => {
                    self.degraded_at = None;
                    let state = self.link.borrow().clone();
                    if let Link::Down { reason } = state {
                        log::warn!("the other replicas can't be heard, the store is asked instead: {reason}");
                        tell_clients(base, true);
                    }
                }
            }
        }
    }

    fn look(&mut self, base: &Base) {
        let state = self.link.borrow_and_update().clone();
        // While the relay says what was committed, the store need not.
        base.mesh.wake_by_store(!matches!(state, Link::Up));
        let is_up = state.is_up();
        if self.is_up.replace(is_up) == Some(is_up) {
            return;
        }
        base.mesh.asks.hears(is_up);
        if !is_up {
            self.degraded_at = Some(Instant::now() + base.mesh.limits.degraded_after);
            return;
        }
        self.degraded_at = None;
        // What was said here before was lost, and the others, whose links may have been up, don't know.
        base.mesh.tell(Channel::All, &Message::Missed {}, &[]);
        beat(base);
        base.mesh.expel_again();
        if base.shared.degraded.load(Ordering::Relaxed) {
            log::info!("the other replicas are heard again");
            tell_clients(base, false);
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => pending().await,
    }
}

fn tell_clients(base: &Base, degraded: bool) {
    if base.shared.degraded.swap(degraded, Ordering::Relaxed) != degraded {
        for queue in &base.queues {
            queue.push(ShardCommand::Status { degraded });
        }
    }
}

fn beat(base: &Base) {
    let mesh = &base.mesh;
    if mesh.is_alone() {
        return;
    }
    match base.addr.get() {
        // When it can't take this it is stuck or overloaded; it is missed soon enough.
        Some(hub) => drop(hub.try_tell(Beat)),
        None => mesh.tell(Channel::All, &Message::Beat { part: 0, rooms: Vec::new() }, &[]),
    }
}
