//! Connections by user, outside the actor: how many a user has, when one was last heard, and all of them to be closed.
//!
//! A [`Seat`] is taken before an upgrade and given back when it is dropped, whatever way the connection ends. Easy to
//! get wrong: a peer's last reference must not be dropped under the lock here, for its seat takes the same lock.
use super::peer::Peer;
use crate::protocol::{ids::ConnId, principal::Principal};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

#[derive(Debug, Default)]
struct User {
    seats: usize,
    peers: HashMap<ConnId, Weak<Peer>>,
}

/// All users with connections.
#[derive(Debug, Default)]
pub struct Users(Mutex<HashMap<Arc<str>, User>>);

/// One user's place for one connection.
#[derive(Debug)]
pub struct Seat {
    users: Arc<Users>,
    user: Arc<str>,
    conn: std::sync::OnceLock<ConnId>,
}

impl Users {
    /// A place for one more connection of `principal`; none when it has `most`. The installation's own owner (loopback,
    /// or the static token) is not one person, so it is not limited.
    pub fn seat(self: &Arc<Self>, principal: &Principal, most: usize) -> Option<Seat> {
        let mut users = self.lock();
        let user: Arc<str> = principal.user_id.as_str().into();
        if !principal.is_local_owner() && users.get(&user).map_or(0, |user| user.seats) >= most {
            return None;
        }
        users.entry(user.clone()).or_default().seats += 1;
        Some(Seat { users: self.clone(), user, conn: std::sync::OnceLock::new() })
    }

    /// How many connections `user` has.
    pub fn count(&self, user: &str) -> usize {
        self.lock().get(user).map_or(0, |user| user.seats)
    }

    /// How long ago something arrived on this connection of `user`; none when there is no such connection.
    pub fn heard(&self, user: &str, conn: ConnId) -> Option<Duration> {
        // In two steps: the lock is gone before the peer can be.
        let peer = self.lock().get(user).and_then(|user| user.peers.get(&conn)).and_then(Weak::upgrade)?;
        let tick = peer.shared().tick();
        (!peer.is_closed() && !peer.is_dead()).then(|| Duration::from_millis(u64::from(peer.silent_ms(tick))))
    }

    /// The open connections of `user`.
    pub fn peers(&self, user: &str) -> Vec<Arc<Peer>> {
        let users = self.lock();
        let peers = users.get(user).map(|user| user.peers.values().filter_map(Weak::upgrade).collect());
        drop(users);
        peers.unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, User>> {
        // Every change is complete when it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// It is this connection's.
    pub fn register(&self, peer: &Arc<Peer>) {
        if self.conn.set(peer.id).is_ok()
            && let Some(user) = self.users.lock().get_mut(&self.user)
        {
            user.peers.insert(peer.id, Arc::downgrade(peer));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut users = self.users.lock();
        let Some(user) = users.get_mut(&self.user) else { return };
        user.seats -= 1;
        if let Some(conn) = self.conn.get() {
            user.peers.remove(conn);
        }
        if user.seats == 0 {
            users.remove(&self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::principal::Role;

    #[test]
    fn a_seat_is_given_back_when_it_is_dropped() {
        let users = Arc::new(Users::default());
        let ana = Principal { user_id: "ana".into(), role: Role::Owner };
        let first = users.seat(&ana, 2).unwrap();
        let _second = users.seat(&ana, 2).unwrap();
        assert!(users.seat(&ana, 2).is_none());
        drop(first);
        assert_eq!(users.count("ana"), 1);
        assert!(users.seat(&ana, 2).is_some());
        let owner = Principal::local_owner();
        let many: Vec<_> = (0..30).map(|_| users.seat(&owner, 2).unwrap()).collect();
        assert_eq!(users.count("owner"), many.len());
        drop(many);
        assert_eq!(users.count("owner"), 0);
    }
}
