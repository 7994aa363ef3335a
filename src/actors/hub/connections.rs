//! Connections: who is let in, given a shard, closed, and all of them sent away at the end.
//!
//! Reading and parsing are `http`'s. Easy to get wrong: whoever connects must disconnect, or the hub keeps a member that
//! is gone.
use super::error::unanswered;
use super::{Realtime, RealtimeError};
use crate::actors::rooms::Shared;
use crate::actors::rooms::messages::Revoke;
use crate::actors::sockets::Peer;
use crate::actors::sockets::commands::ShardCommand;
use crate::actors::sockets::queue::Queue;
use crate::actors::sockets::users::Seat;
use crate::protocol::CloseCode;
use crate::protocol::ids::{ConnId, ProjectId};
use crate::protocol::principal::{Grant, Principal};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::tcp::OwnedWriteHalf;

/// Where a connection lives: its number and the thread of its shard.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    conn: ConnId,
    shard: usize,
}

/// What came of sending a user away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SentAway {
    /// Connections that were closed or taken out, at this replica.
    pub connections: usize,
    /// All other replicas that live have confirmed that they did the same.
    pub complete: bool,
}

/// A new connection's place among those that there may be, until it is open and has one of its own.
#[derive(Debug)]
pub struct Admission(Arc<Shared>);

impl Drop for Admission {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sockets that are open only to be told why they are closed; past it the HTTP answer says so.
const MAX_REFUSALS: usize = 256;

/// A place for one of them.
#[derive(Debug)]
pub struct RefusalPlace(Arc<Shared>);

impl Drop for RefusalPlace {
    fn drop(&mut self) {
        self.0.refusing.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Realtime {
    /// A place to tell a client on its own socket why it is refused; none when too many are being told.
    pub fn refusal(&self) -> Option<RefusalPlace> {
        let shared = &self.0.base.shared;
        let before = shared.refusing.fetch_add(1, Ordering::Relaxed);
        let place = RefusalPlace(shared.clone());
        (before < MAX_REFUSALS).then_some(place)
    }

    /// Lets a new connection in; asked before an upgrade, and kept until [`Realtime::connect`]. Starts a lazy hub.
    ///
    /// # Errors
    /// [`RealtimeError`] says why not.
    pub async fn admit(&self) -> Result<Admission, RealtimeError> {
        self.hub().await?;
        let shared = &self.0.base.shared;
        if shared.draining.load(Ordering::Relaxed) {
            return Err(RealtimeError::Draining);
        }
        // Counted before it is compared, so that of those who come at once none is let in twice over.
        let arriving = shared.arriving.fetch_add(1, Ordering::Relaxed) + 1;
        let admission = Admission(shared.clone());
        if self.connections() + arriving > shared.limits.sockets {
            return Err(RealtimeError::Limit("sockets"));
        }
        Ok(admission)
    }

    /// Where the next connection is to live.
    pub fn place(&self) -> Place {
        let number = self.0.base.shared.next_conn();
        Place { conn: ConnId(number), shard: (number % self.0.base.queues.len() as u64) as usize }
    }

    /// Run the task of the connection at `place` on its thread, where its socket must be registered. The task is dropped
    /// when the layer was not started ([`Realtime::admit`] does) or has ended.
    pub fn run(&self, place: Place, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(started) = self.0.started.get() {
            started.workers.spawn(place.shard, task);
        }
    }

    /// Take over the writing end of an upgraded socket, with its user and the seat that was taken for it, or neither
    /// until it authenticates; `bare` when it did not ask for the subprotocol. What is written to it first comes first;
    /// then [`Realtime::enlist`] is due.
    pub fn connect(&self, place: Place, half: OwnedWriteHalf, known: Option<(Grant, Seat)>, bare: bool) -> Arc<Peer> {
        self.made(place, known, |conn, shard, shared| {
            let peer = Peer::new(conn, shard, half, shared);
            if bare {
                peer.speak_bare();
            }
            peer
        })
    }

    /// The same for a connection whose frames are taken with [`Peer::poll_frames`].
    pub fn connect_queued(&self, grant: Grant, seat: Seat) -> Arc<Peer> {
        self.made(self.place(), Some((grant, seat)), Peer::queued)
    }

    /// From now on the connection is looked after, and others write to it. Whoever calls this must call
    /// [`Realtime::disconnect`] in the end.
    pub fn enlist(&self, peer: &Arc<Peer>) {
        self.0.base.queues[peer.shard].push(ShardCommand::Add(peer.clone()));
    }

    fn made(
        &self,
        place: Place,
        known: Option<(Grant, Seat)>,
        make: impl FnOnce(ConnId, usize, Arc<Shared>) -> Arc<Peer>,
    ) -> Arc<Peer> {
        let base = &self.0.base;
        let Place { conn, shard } = place;
        let peer = make(conn, shard, base.shared.clone());
        if let Some((grant, seat)) = known {
            peer.authenticate(&grant);
            peer.sit(seat);
        }
        peer
    }

    /// Where the connection's requests to the hub go.
    pub fn requests(&self, peer: &Peer) -> Arc<Queue> {
        self.0.base.queues[peer.shard].clone()
    }

    /// The connection has ended; nobody counts on it from now on.
    pub fn disconnect(&self, peer: &Peer) {
        peer.kill();
        self.0.base.queues[peer.shard].push(ShardCommand::Remove(peer.id));
    }

    /// Tell all clients to go, close them at random moments within `within` (at most 25 s, and 500 a second), and wait
    /// until they are gone. No new ones are let in. Returns how many were left.
    pub async fn drain(&self, within: Duration) -> usize {
        let shared = &self.0.base.shared;
        shared.draining.store(true, Ordering::Relaxed);
        let per_second = f64::from(shared.limits.drain_per_second.max(1));
        let many = Duration::from_secs_f64(self.connections() as f64 / per_second);
        // What is left of `within` after the window is for the close frames and their answers.
        let window = many.min(shared.limits.drain_window).min(within.mul_f64(0.6));
        for queue in &self.0.base.queues {
            queue.push(ShardCommand::Drain { window });
        }
        let deadline = tokio::time::Instant::now() + within;
        let left = loop {
            let ended = shared.ended.notified();
            tokio::pin!(ended);
            // Listening before looking: an end in between is not missed.
            ended.as_mut().enable();
            let left = self.connections();
            metrics::gauge!("tieout_rt_drain_remaining").set(left as f64);
            if left == 0 || tokio::time::timeout_at(deadline, ended).await.is_err() {
                break left;
            }
        };
        self.0.base.mesh.say_goodbye();
        self.0.stop.cancel();
        self.0.tasks.close();
        if tokio::time::timeout(Duration::from_secs(1), self.0.tasks.wait()).await.is_err() {
            log::warn!("{} realtime tasks or threads did not end", self.0.tasks.len());
        }
        left
    }

    /// The end: the other replicas are told nothing more. After [`Realtime::drain`], once nothing is committed any more.
    pub async fn leave(&self) {
        self.0.base.mesh.relay.stop().await;
    }

    /// `user` may no longer be in the project's room: its connections there get `ProjectLeft` at once, what was queued for
    /// them is discarded, and its claims are free. The other replicas do the same; they are told until each has confirmed.
    ///
    /// # Errors
    /// When the hub does not answer. The caller has taken the right away before, or the user would be back.
    pub async fn revoke(&self, project: ProjectId, user: &str) -> Result<SentAway, RealtimeError> {
        let here = async {
            let Some(hub) = self.running() else { return Ok(0) };
            hub.ask(Revoke { project: Some(project), user: user.into() }).await.map_err(unanswered)
        };
        let (complete, here) = tokio::join!(self.0.base.mesh.expel(Some(project), user), here);
        Ok(SentAway { connections: here?, complete })
    }

    /// Close every connection of `user` (4403), and make free what it had claimed in the rooms there are. The other
    /// replicas do the same; they are told until each has confirmed.
    ///
    /// # Errors
    /// When the hub does not answer: the connections are closed, the claims last as long as their leases. The caller has
    /// taken the right away before, or the user would be back.
    pub async fn disconnect_user(&self, user: &str) -> Result<SentAway, RealtimeError> {
        let peers = self.0.base.shared.users.peers(user);
        peers.iter().for_each(|peer| peer.close(CloseCode::Forbidden, None));
        let here = async {
            let Some(hub) = self.running() else { return Ok(0) };
            hub.ask(Revoke { project: None, user: user.into() }).await.map_err(unanswered)
        };
        let (complete, here) = tokio::join!(self.0.base.mesh.expel(None, user), here);
        here?;
        Ok(SentAway { connections: peers.len(), complete })
    }

    /// A place for one more connection of `principal`, to be given to [`Realtime::connect`]. It is free again when it
    /// is dropped, or with its connection.
    ///
    /// # Errors
    /// [`RealtimeError::Limit`] `connections_per_user`.
    pub fn seat(&self, principal: &Principal) -> Result<Seat, RealtimeError> {
        let shared = &self.0.base.shared;
        let most = shared.limits.connections_per_user;
        shared.users.seat(principal, most).ok_or(RealtimeError::Limit("connections_per_user"))
    }
}
