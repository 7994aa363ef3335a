//! Who works on what, as the hub knows it: a view of the store's leased rows, room by room.
//!
//! The rows decide (`db::claims`), so neither a restart nor a second process grants a claim twice; the view answers
//! at once what is certain, tells the room, and says what is due. Easy to get wrong: the holder is a connection, not a
//! user, or two tabs of one user would both be granted; a row names it together with its process (`tag`), because
//! connection numbers start again in the next one.
use crate::{
    db::claims,
    protocol::{ids::ConnId, server::ClaimView},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// Who holds a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The user, as the room sees it.
    pub user: Arc<str>,
    /// The connection it was made on; none for a claim made over HTTP.
    pub conn: Option<ConnId>,
}

/// A granted claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim {
    /// What is claimed.
    pub entity_id: String,
    /// By whom.
    pub user_id: String,
    /// Whether this call granted it; false when it renewed the caller's own.
    pub granted: bool,
    /// Grows each time the claim changes hands; a write under a smaller one is by somebody who has lost it.
    pub fence: u64,
    /// When it lapses, unix milliseconds.
    pub expires_at_ms: i64,
}

/// Why a claim was not granted or not released.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ClaimRefused {
    /// Somebody has it.
    #[error("already claimed by {holder}")]
    AlreadyClaimed {
        /// The user who has it.
        holder: String,
        /// When it lapses, unix milliseconds.
        expires_at_ms: i64,
    },
    /// Nobody, or somebody else, holds it.
    #[error("not claimed by you")]
    NotHeld,
    /// The project has as many claims as it may.
    #[error("the project has {0} claims, its limit (claims_per_project)")]
    TooMany(u64),
    /// There is no such project.
    #[error("no such project")]
    NoProject,
    /// The store or the hub can't answer now; nothing is known to have changed, and asking again is safe.
    #[error("{0}, try again")]
    Unavailable(&'static str),
}

/// The moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For people, and for what the store says: its time, not this machine's.
    pub unix_ms: i64,
}

/// How long ago something arrived on a user's connection; none when this process has no such connection.
pub type Heard = Arc<dyn Fn(&str, ConnId) -> Option<Duration> + Send + Sync>;

/// A claim in force.
#[derive(Clone, Debug)]
pub struct Held {
    /// Who.
    pub user: Arc<str>,
    /// The connection, when it is one of this process.
    pub conn: Option<ConnId>,
    /// The holder as the row names it.
    pub tag: String,
    /// The row's fencing number.
    pub fence: u64,
    /// When it lapses.
    pub expires: Instant,
    /// The same for people.
    pub expires_at_ms: i64,
    renew_at: Option<Instant>,
    /// Granted by this process: nobody else makes it longer.
    here: bool,
}

impl Held {
    /// Whether what is known of it is certain: this process granted it.
    pub fn is_certain(&self) -> bool {
        self.here
    }

    /// The store's row, as far as it is known here.
    pub fn row(&self, entity: &str) -> claims::Claim {
        claims::Claim {
            entity_id: entity.to_owned(),
            user_id: self.user.to_string(),
            holder: self.tag.clone(),
            token: self.fence,
            expires_at_ms: self.expires_at_ms,
        }
    }

    fn due(&self) -> Instant {
        self.renew_at.map_or(self.expires, |at| at.min(self.expires))
    }
}

/// The claims of one room.
#[derive(Debug, Default)]
pub struct View {
    claims: BTreeMap<String, Held>,
    due: BTreeSet<(Instant, String)>,
    /// When the room's timer for claims is next due, if it runs.
    pub timed: Option<Instant>,
}

/// What has come due.
#[derive(Debug, Default)]
pub struct Due {
    /// Lapsed: what and whose.
    pub lapsed: Vec<(String, Arc<str>)>,
    /// To be renewed, for their holders are active: what and the holder's tag.
    pub renew: Vec<(String, String)>,
    /// Some of another process should have lapsed by now, unless it has renewed them: the store knows.
    pub unsure: bool,
}

impl View {
    /// The claim on `entity`, if it is in force.
    pub fn get(&self, entity: &str, now: Instant) -> Option<&Held> {
        self.claims.get(entity).filter(|held| held.expires > now)
    }

    /// The store says that `row` is in force. `incarnation` is this process's, `ttl` the lease.
    pub fn put(&mut self, row: &claims::Claim, incarnation: &str, ttl: Duration, now: Now) {
        self.remove(&row.entity_id);
        let left = u64::try_from(row.expires_at_ms - now.unix_ms).unwrap_or(0);
        let conn = conn_of(&row.holder, incarnation);
        // No lease is longer. One that has passed already is in force all the same, by another clock than ours.
        let left = match Duration::from_millis(left).min(ttl) {
            Duration::ZERO => ttl / 8,
            left => left,
        };
        let held = Held {
            user: row.user_id.as_str().into(),
            conn,
            tag: row.holder.clone(),
            fence: row.token,
            expires: now.instant + left,
            expires_at_ms: row.expires_at_ms,
            renew_at: conn.map(|_| now.instant + ttl / 2),
            here: conn.is_some(),
        };
        self.due.insert((held.due(), row.entity_id.clone()));
        self.claims.insert(row.entity_id.clone(), held);
    }

    /// This process was granted the claim on `entity`, for whatever holder, just now: its lease begins, whatever any
    /// clock shows.
    pub fn granted_here(&mut self, entity: &str, ttl: Duration, now: Now) {
        let Some(held) = self.claims.get_mut(entity) else { return };
        self.due.remove(&(held.due(), entity.to_owned()));
        held.here = true;
        held.expires = now.instant + ttl;
        self.due.insert((held.due(), entity.to_owned()));
    }

    /// The fencing number of the claim on `entity`, as far as one is known.
    pub fn fence(&self, entity: &str) -> Option<u64> {
        self.claims.get(entity).map(|held| held.fence)
    }

    /// What is claimed, and whose it is.
    pub fn holders(&self) -> impl Iterator<Item = (&String, &Arc<str>)> {
        self.claims.iter().map(|(entity, held)| (entity, &held.user))
    }

    /// The store has renewed the lease of `entity` for this holder just now: it begins anew, whatever any clock shows.
    pub fn renewed(&mut self, entity: &str, tag: &str, expires_at_ms: i64, ttl: Duration, now: Now) {
        let Some(held) = self.claims.get_mut(entity).filter(|held| held.tag == tag) else { return };
        self.due.remove(&(held.due(), entity.to_owned()));
        held.expires = now.instant + ttl;
        held.expires_at_ms = expires_at_ms;
        held.renew_at = Some(now.instant + ttl / 2);
        self.due.insert((held.due(), entity.to_owned()));
    }

    /// The holder with this tag is gone: the claim lasts as long as it did, and is not renewed.
    pub fn abandon(&mut self, entity: &str, tag: &str) {
        let Some(held) = self.claims.get_mut(entity).filter(|held| held.tag == tag) else { return };
        self.due.remove(&(held.due(), entity.to_owned()));
        (held.conn, held.renew_at, held.tag) = (None, None, claims::abandoned(tag));
        self.due.insert((held.due(), entity.to_owned()));
    }

    /// It is no longer claimed; returns whose it was.
    pub fn remove(&mut self, entity: &str) -> Option<Held> {
        let held = self.claims.remove(entity)?;
        self.due.remove(&(held.due(), entity.to_owned()));
        Some(held)
    }

    /// What `conn` holds.
    pub fn of_conn(&self, conn: ConnId) -> Vec<String> {
        let held = self.claims.iter().filter(|(_, held)| held.conn == Some(conn));
        held.map(|(entity, _)| entity.clone()).collect()
    }

    /// Whether `user` holds anything.
    pub fn has(&self, user: &str) -> bool {
        self.claims.values().any(|held| &*held.user == user)
    }

    /// What `user` holds, and as whom, by anything but one of its living connections.
    pub fn left_over(&self, user: &str, lives: impl Fn(ConnId) -> bool) -> Vec<(String, String)> {
        let left = |held: &Held| &*held.user == user && !held.conn.is_some_and(&lives);
        let held = self.claims.iter().filter(|(_, held)| left(held));
        held.map(|(entity, held)| (entity.clone(), held.tag.clone())).collect()
    }

    /// Take out what has lapsed, and say what to renew: the claims of connections heard within half a lease. Those that
    /// are nearly due come along, so that many claims make one write.
    pub fn take_due(&mut self, ttl: Duration, now: Instant, heard: impl Fn(&str, ConnId) -> Option<Duration>) -> Due {
        let mut due = Due::default();
        let soon = now + ttl / 8;
        let near: Vec<String> =
            self.due.iter().take_while(|(at, _)| *at <= soon).map(|(_, entity)| entity.clone()).collect();
        for entity in near {
            let Some(held) = self.claims.get_mut(&entity) else { continue };
            if held.expires <= now && !held.here {
                // Asked again if the store does not answer.
                self.due.remove(&(held.due(), entity.clone()));
                held.expires = now + ttl / 8;
                self.due.insert((held.due(), entity));
                due.unsure = true;
                continue;
            }
            if held.expires <= now {
                due.lapsed.extend(self.remove(&entity).map(|held| (entity, held.user)));
                continue;
            }
            let Some((conn, _)) = held.conn.zip(held.renew_at.filter(|at| *at <= soon)) else { continue };
            self.due.remove(&(held.due(), entity.clone()));
            held.renew_at = Some(now + ttl / 4);
            self.due.insert((held.due(), entity.clone()));
            if heard(&held.user, conn).is_some_and(|ago| ago <= ttl / 2) {
                due.renew.push((entity, held.tag.clone()));
            }
        }
        due
    }

    /// Whether `entity` is held under this tag.
    pub fn is_held_as(&self, entity: &str, tag: &str) -> bool {
        self.claims.get(entity).is_some_and(|held| held.tag == tag)
    }

    /// When something is next due.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The claims, by entity.
    pub fn list(&self) -> Vec<ClaimView> {
        let view = |(entity, held): (&String, &Held)| ClaimView {
            entity_id: entity.clone(),
            user_id: held.user.to_string(),
            fence: held.fence,
            expires_at_ms: held.expires_at_ms,
        };
        self.claims.iter().map(view).collect()
    }
}

/// How a row names a connection of the process `incarnation`.
pub fn conn_tag(incarnation: &str, conn: ConnId) -> String {
    format!("{incarnation}:{}", conn.0)
}

fn conn_of(tag: &str, incarnation: &str) -> Option<ConnId> {
    let number = tag.strip_prefix(incarnation)?.strip_prefix(':')?;
    number.parse().ok().map(ConnId)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn row(holder: &str, expires_at_ms: i64) -> claims::Claim {
        let (entity_id, user_id) = ("m1".to_owned(), "ana".to_owned());
        claims::Claim { entity_id, user_id, holder: holder.to_owned(), token: 3, expires_at_ms }
    }

    #[test]
    fn a_heard_holders_lease_is_renewed_and_a_silent_ones_lapses() {
        let now = Now { instant: Instant::now(), unix_ms: 1_000 };
        let mut view = View::default();
        view.put(&row("here:7", 61_000), "here", TTL, now);
        let heard = |_: &str, conn| (conn == ConnId(7)).then_some(Duration::from_secs(1));
        let silent = |_: &str, _: ConnId| None;
        assert_eq!(view.next_due(), Some(now.instant + TTL / 2));
        assert_eq!(view.take_due(TTL, now.instant + TTL / 2, heard).renew, [("m1".into(), "here:7".into())]);
        assert!(view.take_due(TTL, now.instant + TTL / 4 * 3, silent).renew.is_empty());
        assert!(view.take_due(TTL, now.instant + TTL - Duration::from_secs(1), silent).lapsed.is_empty());
        assert_eq!(view.take_due(TTL, now.instant + TTL, silent).lapsed, [("m1".into(), "ana".into())]);
        assert_eq!(view.next_due(), None);
    }

    #[test]
    fn another_processs_claim_is_shown_but_not_renewed() {
        let now = Now { instant: Instant::now(), unix_ms: 0 };
        let mut view = View::default();
        view.put(&row("there:7", 60_000), "here", TTL, now);
        assert_eq!(view.get("m1", now.instant).unwrap().conn, None);
        assert_eq!(view.next_due(), Some(now.instant + TTL));
        assert!(view.get("m1", now.instant + TTL).is_none());
        assert_eq!(view.list()[0].fence, 3);
        let due = view.take_due(TTL, now.instant + TTL, |_, _| None);
        assert!(due.unsure && due.lapsed.is_empty(), "the other process may have renewed it");
        assert!(view.next_due() > Some(now.instant + TTL), "asked again if need be, and not at once");
    }

    #[test]
    fn a_claim_in_force_by_another_clock_is_in_force() {
        let now = Now { instant: Instant::now(), unix_ms: 300_000 };
        let mut view = View::default();
        view.put(&row("there:7", 60_000), "here", TTL, now);
        assert!(view.get("m1", now.instant).is_some(), "the store's clock is behind");
        view.put(&row("there:7", 900_000), "here", TTL, now);
        assert!(view.get("m1", now.instant + TTL).is_none(), "the store's clock is ahead");
    }

    #[test]
    fn a_lease_that_this_process_has_just_got_or_renewed_lasts_as_long_as_a_lease_by_whatever_clock() {
        let mut view = View::default();
        for skew_ms in [-300_000, 300_000] {
            let now = Now { instant: Instant::now(), unix_ms: 1_000_000 + skew_ms };
            view.put(&row("here:7", 1_060_000), "here", TTL, now);
            view.granted_here("m1", TTL, now);
            let before = |at: Instant| at + TTL - Duration::from_millis(1);
            assert!(view.get("m1", before(now.instant)).is_some() && view.get("m1", now.instant + TTL).is_none());
            assert_eq!(view.next_due(), Some(now.instant + TTL / 2), "it is renewed in time");
            let later = Now { instant: now.instant + TTL / 2, unix_ms: now.unix_ms + 30_000 };
            view.renewed("m1", "here:7", 1_090_000, TTL, later);
            assert!(view.get("m1", before(later.instant)).is_some() && view.get("m1", later.instant + TTL).is_none());
        }
    }
}
