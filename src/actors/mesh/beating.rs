//! The task that shows the others that this replica lives, and tells clients whether the others can be heard.
//!
//! Apart from the comparison with the store, so that a store that is slow or away does not make this replica look dead.
//! Easy to get wrong: a replica whose actor thread is stuck is to look dead, so what its rooms are is the hub's to say.
use super::wire::Message;
use crate::{
    actors::hub::{actor::Base, jobs::ShardJob, messages::Beat},
    cluster::{Channel, Link},
};
use std::sync::{Arc, atomic::Ordering};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Beat, and watch the link, until `stop`.
pub(in crate::actors) async fn live(base: Arc<Base>, stop: CancellationToken) {
    let mut beats = interval(base.mesh.limits.beat_every);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut link = base.mesh.relay.link();
    // How it is to begin with.
    link.mark_changed();
    let mut watched = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = beats.tick() => beat(&base),
            changed = link.changed(), if watched => match changed {
                Ok(()) => link_changed(&base, link.borrow_and_update().clone()),
                // It will never be another.
                Err(_) => watched = false,
            },
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

fn link_changed(base: &Base, state: Link) {
    // While the relay says what was committed, the store need not.
    base.mesh.wake_by_store(!matches!(state, Link::Up));
    let degraded = !state.is_up();
    if base.shared.degraded.swap(degraded, Ordering::Relaxed) == degraded {
        return;
    }
    match state {
        Link::Down { reason } => log::warn!("the other replicas can't be heard, the store is asked instead: {reason}"),
        Link::Up | Link::Local => log::info!("the other replicas are heard again"),
    }
    for queue in &base.queues {
        queue.push(ShardJob::Status { degraded });
    }
}
