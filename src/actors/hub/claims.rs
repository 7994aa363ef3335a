//! Who works on what: a claim has one holder, lasts until its lease lapses, and is renewed by its holder.
//!
//! The book is handed from one incarnation of the hub to the next, so a restart can't grant a claim twice. Easy to get
//! wrong: the holder is a connection, not a user, or two tabs of one user would both be granted.
use crate::protocol::{
    ids::{ConnId, ProjectId},
    server::ClaimView,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Claims a project may have at once (`claims_per_project`).
pub const MAX_CLAIMS_PER_PROJECT: usize = 10_000;

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
    /// Grows with each grant; a later holder has a greater one.
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
    #[error("the project has {MAX_CLAIMS_PER_PROJECT} claims, its limit (claims_per_project)")]
    TooMany,
}

#[derive(Clone, Debug)]
struct Held {
    holder: Holder,
    fence: u64,
    expires: Instant,
    expires_at_ms: i64,
}

/// All claims.
#[derive(Debug, Default)]
pub struct Book {
    projects: HashMap<ProjectId, BTreeMap<String, Held>>,
    fence: u64,
}

/// The book as it passes between incarnations of the hub. Only the living one locks it.
pub type Ledger = Arc<Mutex<Book>>;

/// The moment, on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For deadlines.
    pub instant: Instant,
    /// For people.
    pub unix_ms: i64,
}

impl Book {
    /// Grant, or renew the holder's own.
    ///
    /// # Errors
    /// [`ClaimRefused::AlreadyClaimed`] names the holder.
    pub fn claim(
        &mut self,
        project: ProjectId,
        entity: &str,
        holder: Holder,
        ttl: Duration,
        now: Now,
    ) -> Result<Claim, ClaimRefused> {
        let claims = self.projects.entry(project).or_default();
        let live = claims.get(entity).filter(|held| held.expires > now.instant);
        let granted = match live {
            Some(held) if held.holder == holder && holder.conn.is_some() => false,
            Some(held) => {
                let holder = held.holder.user.to_string();
                return Err(ClaimRefused::AlreadyClaimed { holder, expires_at_ms: held.expires_at_ms });
            }
            None if claims.len() >= MAX_CLAIMS_PER_PROJECT => return Err(ClaimRefused::TooMany),
            None => true,
        };
        if granted {
            self.fence += 1;
        }
        let fence = match live {
            Some(held) if !granted => held.fence,
            _ => self.fence,
        };
        let expires_at_ms = now.unix_ms + ttl.as_millis() as i64;
        let user_id = holder.user.to_string();
        claims.insert(entity.to_string(), Held { holder, fence, expires: now.instant + ttl, expires_at_ms });
        Ok(Claim { entity_id: entity.to_string(), user_id, granted, fence, expires_at_ms })
    }

    /// Release; any connection of the holder's user may.
    ///
    /// # Errors
    /// [`ClaimRefused::NotHeld`] when it is not the user's.
    pub fn release(&mut self, project: ProjectId, entity: &str, user: &str) -> Result<(), ClaimRefused> {
        let claims = self.projects.get_mut(&project).ok_or(ClaimRefused::NotHeld)?;
        match claims.get(entity) {
            Some(held) if &*held.holder.user == user => claims.remove(entity),
            _ => return Err(ClaimRefused::NotHeld),
        };
        self.prune(project);
        Ok(())
    }

    /// Drop what `conn` holds in `project`; returns what it was.
    pub fn release_conn(&mut self, project: ProjectId, conn: ConnId) -> Vec<(String, Arc<str>)> {
        self.remove_where(project, |held| held.holder.conn == Some(conn))
    }

    /// Drop what has lapsed in `project`; returns what it was.
    pub fn expire(&mut self, project: ProjectId, now: Instant) -> Vec<(String, Arc<str>)> {
        self.remove_where(project, |held| held.expires <= now)
    }

    /// The claims of a project, by entity.
    pub fn list(&self, project: ProjectId) -> Vec<ClaimView> {
        let claims = self.projects.get(&project).into_iter().flatten();
        claims
            .map(|(entity, held)| ClaimView {
                entity_id: entity.clone(),
                user_id: held.holder.user.to_string(),
                expires_at_ms: held.expires_at_ms,
            })
            .collect()
    }

    /// The first lapse in `project`.
    pub fn next_expiry(&self, project: ProjectId) -> Option<Instant> {
        self.projects.get(&project)?.values().map(|held| held.expires).min()
    }

    /// Projects with claims.
    pub fn projects(&self) -> Vec<ProjectId> {
        self.projects.keys().copied().collect()
    }

    fn remove_where(&mut self, project: ProjectId, gone: impl Fn(&Held) -> bool) -> Vec<(String, Arc<str>)> {
        let Some(claims) = self.projects.get_mut(&project) else { return Vec::new() };
        let names: Vec<String> = claims.iter().filter(|(_, held)| gone(held)).map(|(name, _)| name.clone()).collect();
        let out =
            names.into_iter().filter_map(|name| claims.remove(&name).map(|held| (name, held.holder.user))).collect();
        self.prune(project);
        out
    }

    fn prune(&mut self, project: ProjectId) {
        if self.projects.get(&project).is_some_and(BTreeMap::is_empty) {
            self.projects.remove(&project);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(user: &str, conn: u64) -> Holder {
        Holder { user: user.into(), conn: Some(ConnId(conn)) }
    }

    #[test]
    fn a_claim_has_one_holder_until_it_lapses() {
        let mut book = Book::default();
        let project = ProjectId::generate();
        let ttl = Duration::from_secs(60);
        let now = Now { instant: Instant::now(), unix_ms: 0 };
        let first = book.claim(project, "m1", holder("ana", 1), ttl, now).unwrap();
        assert!(first.granted);
        assert!(!book.claim(project, "m1", holder("ana", 1), ttl, now).unwrap().granted, "its own claim is renewed");
        let refused = book.claim(project, "m1", holder("ana", 2), ttl, now).unwrap_err();
        assert!(matches!(refused, ClaimRefused::AlreadyClaimed { holder, .. } if holder == "ana"));
        let later = Now { instant: now.instant + ttl, unix_ms: 60_000 };
        let second = book.claim(project, "m1", holder("bob", 3), ttl, later).unwrap();
        assert!(second.granted && second.fence > first.fence);
        assert_eq!(book.release(project, "m1", "ana"), Err(ClaimRefused::NotHeld));
        assert_eq!(book.release_conn(project, ConnId(3)).len(), 1);
        assert!(book.list(project).is_empty());
    }
}
