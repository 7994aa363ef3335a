//! Tickets: a word that opens one connection for the caller who asked for it, so that a token never stands in a URL.
//!
//! Leaves who may ask to the route. Easy to get wrong: a ticket is taken out of the store by the look that finds it, in
//! one step under the lock; two requests with one ticket must not both find it.
use super::elsewhere::{Hash, hash, secret};
use crate::protocol::principal::Grant;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tickets that one user may have unused; past it the request is refused.
pub(crate) const TICKETS_PER_USER: usize = 32;

/// What was given out and not used yet. Lapsed ones are thrown away when a new one is asked for.
pub struct Tickets {
    lasts: Duration,
    most: usize,
    owner: u64,
    /// By their hash, which is all that other replicas are told.
    open: Mutex<HashMap<Hash, Ticket>>,
}

struct Ticket {
    grant: Grant,
    until: Instant,
}

/// A ticket, once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issued {
    /// The word.
    pub ticket: String,
    /// When it lapses, unix milliseconds.
    pub expires_at_ms: i64,
}

/// Why there is no ticket: the limit's name and its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TooMany {
    /// In the whole server (`max_tickets`).
    InAll(usize),
    /// For this user (`tickets_per_user`).
    OfUser(usize),
}

impl Tickets {
    /// Tickets that last as long as this, at most so many at a time, of the replica with the mark `owner`.
    pub fn new(lasts: Duration, most: usize, owner: u64) -> Self {
        Self { lasts, most, owner, open: Mutex::default() }
    }

    /// A ticket for `grant`; it never lasts longer than the grant does.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn issue(&self, grant: Grant) -> Result<Issued, TooMany> {
        self.issue_at(grant, Instant::now(), unix_ms())
    }

    /// The grant behind the ticket with this hash, if it was given out here; it is used up by this.
    pub(in crate::http) fn redeem(&self, ticket: &Hash) -> Option<Grant> {
        self.redeem_at(ticket, Instant::now())
    }

    fn issue_at(&self, grant: Grant, now: Instant, now_ms: i64) -> Result<Issued, TooMany> {
        let left_ms = grant.expires_at_ms.map_or(u64::MAX, |at| at.saturating_sub(now_ms).max(0) as u64);
        let lasts = self.lasts.min(Duration::from_millis(left_ms));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // A walk over all of them: at most `max_tickets`, and asking is rare beside connecting.
        open.retain(|_, ticket| ticket.until > now);
        if open.len() >= self.most {
            return Err(TooMany::InAll(self.most));
        }
        let user = &grant.principal.user_id;
        if open.values().filter(|ticket| ticket.grant.principal.user_id == *user).count() >= TICKETS_PER_USER {
            return Err(TooMany::OfUser(TICKETS_PER_USER));
        }
        let word = secret(self.owner);
        open.insert(hash(&word), Ticket { grant, until: now + lasts });
        Ok(Issued { ticket: word, expires_at_ms: now_ms + lasts.as_millis() as i64 })
    }

    fn redeem_at(&self, ticket: &Hash, now: Instant) -> Option<Grant> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(ticket).filter(|ticket| ticket.until > now).map(|ticket| ticket.grant)
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::principal::{Principal, Role};

    fn grant(user: &str) -> Grant {
        Principal { user_id: user.into(), role: Role::Viewer }.into()
    }

    #[test]
    fn a_ticket_opens_once_within_its_time() {
        let tickets = Tickets::new(Duration::from_secs(30), 10, 7);
        let now = Instant::now();
        let issued = tickets.issue_at(grant("ana"), now, 1_000).unwrap();
        assert_eq!(issued.expires_at_ms, 31_000);
        assert!(tickets.redeem_at(&hash("guess"), now).is_none());
        assert_eq!(tickets.redeem_at(&hash(&issued.ticket), now), Some(grant("ana")));
        assert!(tickets.redeem_at(&hash(&issued.ticket), now).is_none(), "used up");
        let late = tickets.issue_at(grant("ana"), now, 1_000).unwrap();
        assert!(tickets.redeem_at(&hash(&late.ticket), now + Duration::from_secs(30)).is_none(), "lapsed");
    }

    #[test]
    fn a_ticket_does_not_outlive_the_token_it_was_given_for() {
        let tickets = Tickets::new(Duration::from_secs(30), 10, 7);
        let now = Instant::now();
        let short = Grant { expires_at_ms: Some(6_000), ..grant("ana") };
        let issued = tickets.issue_at(short, now, 1_000).unwrap();
        assert_eq!(issued.expires_at_ms, 6_000);
        assert!(tickets.redeem_at(&hash(&issued.ticket), now + Duration::from_secs(5)).is_none());
    }

    #[test]
    fn neither_one_user_nor_all_together_fill_the_store() {
        let tickets = Tickets::new(Duration::from_secs(30), TICKETS_PER_USER + 1, 7);
        let now = Instant::now();
        for _ in 0..TICKETS_PER_USER {
            tickets.issue_at(grant("ana"), now, 0).unwrap();
        }
        assert_eq!(tickets.issue_at(grant("ana"), now, 0), Err(TooMany::OfUser(TICKETS_PER_USER)));
        tickets.issue_at(grant("bob"), now, 0).unwrap();
        assert_eq!(tickets.issue_at(grant("eve"), now, 0), Err(TooMany::InAll(TICKETS_PER_USER + 1)));
        tickets.issue_at(grant("ana"), now + Duration::from_secs(31), 0).expect("lapsed ones make room");
    }
}
