//! Places for what holds memory or a file for as long as a client takes: uploads, downloads and long answers.
//!
//! One user or one address gets half of them, so that nobody can keep everybody else out. Easy to get wrong: a client
//! that moves a byte now and then never stands still; [`Pace`] asks for a least number of bytes.
use super::connection::shares::Peer;
use super::error::{ApiError, ApiResult};
use super::state::AppState;
use crate::protocol::principal::Principal;
use http::StatusCode;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Answers from this size on are counted until they are on their way.
pub(super) const LONG_ANSWER_BYTES: u64 = 64 * 1024;

/// Connections that it takes to fill one user's share of answers that wait to be read.
const CONNECTIONS_TO_A_SHARE: u64 = 4;

/// What a place is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Kind {
    Upload,
    Download,
}

/// Something that is counted for every holder and in all.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Holder {
    All,
    User(String),
    UserFor(String, Kind),
    Address(IpAddr),
    Connection(u64),
}

/// A number of places, of which one user or address may take a share.
#[derive(Debug)]
pub struct Places {
    most: u64,
    taken: Mutex<HashMap<Holder, u64>>,
}

/// Why there is no place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NoPlace {
    /// All are taken.
    InAll,
    /// As many as one user or address may have are taken by this one.
    ForOne(u64),
}

/// Places that are taken; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    held: Vec<Holder>,
    count: u64,
}

impl Places {
    /// So many.
    pub fn new(most: u64) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// What one user or one address may take.
    fn share(&self) -> u64 {
        self.most.div_ceil(2)
    }

    /// Takes a place for a transfer of this user.
    pub(super) fn take(self: &Arc<Self>, user: &str, peer: Peer, kind: Kind) -> Result<Place, NoPlace> {
        // Who has used up one kind can still do the other.
        let of_a_kind = (self.share() * 3 / 4).max(1);
        self.take_as(user, peer, (Holder::UserFor(user.to_owned(), kind), of_a_kind), 1)
    }

    /// Takes `count` for an answer on this connection.
    pub(super) fn take_many(self: &Arc<Self>, user: &str, peer: Peer, count: u64) -> Result<Place, NoPlace> {
        let of_a_connection = self.share() / CONNECTIONS_TO_A_SHARE;
        // What is longer than all of it would never be given.
        let count = count.min(of_a_connection);
        self.take_as(user, peer, (Holder::Connection(peer.connection), of_a_connection), count)
    }

    fn take_as(self: &Arc<Self>, user: &str, peer: Peer, one: (Holder, u64), count: u64) -> Result<Place, NoPlace> {
        let mut wanted = vec![(Holder::All, self.most), (Holder::User(user.to_owned()), self.share()), one];
        wanted.extend(peer.address.map(|address| (Holder::Address(address), self.share())));
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for (holder, most) in &wanted {
            if taken.get(holder).copied().unwrap_or(0) + count > *most {
                return Err(if *holder == Holder::All { NoPlace::InAll } else { NoPlace::ForOne(*most) });
            }
        }
        let held: Vec<Holder> = wanted.into_iter().map(|(holder, _)| holder).collect();
        for holder in &held {
            *taken.entry(holder.clone()).or_default() += count;
        }
        Ok(Place { places: self.clone(), held, count })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for holder in self.held.drain(..) {
            if let Some(count) = taken.get_mut(&holder) {
                *count = count.saturating_sub(self.count);
                if *count == 0 {
                    taken.remove(&holder);
                }
            }
        }
    }
}

impl AppState {
    /// A place for one transfer.
    pub(super) fn transfer(&self, caller: &Principal, peer: Peer, kind: Kind) -> ApiResult<Place> {
        if self.shutdown.is_cancelled() {
            return Err(ApiError::draining());
        }
        self.transfers.take(&caller.user_id, peer, kind).map_err(|none| match none {
            NoPlace::InAll => {
                let max = self.config.limits.max_transfers;
                let detail = format!("{max} uploads and downloads are under way already");
                ApiError::limit(StatusCode::SERVICE_UNAVAILABLE, "max_transfers", detail)
            }
            NoPlace::ForOne(most) => {
                let detail = format!("{most} of these are under way already for this user or address");
                ApiError::limit(StatusCode::TOO_MANY_REQUESTS, "transfers_per_user", detail)
            }
        })
    }

    /// Room for an answer of so many bytes, until it is on its way.
    pub(super) fn answer_room(&self, user: &str, peer: Peer, bytes: u64) -> ApiResult<Place> {
        self.answers.take_many(user, peer, bytes).map_err(|_| {
            let detail = "too many long answers wait to be read; read them, or ask for shorter ones";
            ApiError::limit(StatusCode::SERVICE_UNAVAILABLE, "answer_budget", detail)
        })
    }

    /// The pace that a transfer must keep.
    pub(super) fn pace(&self) -> Pace {
        let limits = &self.config.limits;
        Pace::new(limits.transfer_least_bytes, limits.transfer_window)
    }
}

/// How fast a client moves a transfer, over the time that was spent waiting for it alone: a slow disk or store of ours
/// is not its fault.
#[derive(Debug)]
pub(super) struct Pace {
    least: u64,
    window: Duration,
    waited: Duration,
    moved: u64,
}

impl Pace {
    fn new(least: u64, window: Duration) -> Self {
        Self { least, window, waited: Duration::ZERO, moved: 0 }
    }

    /// `bytes` moved after `waited`. What is wrong, when it is too slow.
    pub(super) fn keep(&mut self, waited: Duration, bytes: u64) -> Result<(), String> {
        self.waited += waited;
        self.moved += bytes;
        if self.waited < self.window {
            return Ok(());
        }
        let (moved, waited) = (std::mem::take(&mut self.moved), std::mem::take(&mut self.waited));
        if moved >= self.least {
            return Ok(());
        }
        Err(format!("{moved} bytes moved in {} ms, less than {}", waited.as_millis(), self.least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_or_address_gets_half_of_the_places_and_three_quarters_of_those_for_one_kind() {
        let places = Places::new(16);
        let take = |user: &str, address: u8, kind| {
            let address = (address > 0).then(|| IpAddr::from([10, 0, 0, address]));
            places.take(user, Peer { address, connection: 1 }, kind)
        };
        let mut uploads: Vec<_> = (0..6).map(|_| take("ana", 1, Kind::Upload).unwrap()).collect();
        assert_eq!(take("ana", 1, Kind::Upload).unwrap_err(), NoPlace::ForOne(6));
        let downloads: Vec<_> = (0..2).map(|_| take("ana", 1, Kind::Download).unwrap()).collect();
        assert_eq!(take("ana", 2, Kind::Download).unwrap_err(), NoPlace::ForOne(8), "the user's half is taken");
        assert_eq!(take("bob", 1, Kind::Upload).unwrap_err(), NoPlace::ForOne(8), "the address's half is taken");
        let others: Vec<_> = (0..8).map(|n| take(["bob", "cleo"][n % 2], 0, Kind::Upload).unwrap()).collect();
        assert_eq!(take("dora", 3, Kind::Upload).unwrap_err(), NoPlace::InAll);
        uploads.pop();
        drop(take("dora", 3, Kind::Upload).unwrap());
        drop((uploads, downloads, others));
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn a_single_place_is_anybodys() {
        let places = Places::new(1);
        let place = places.take("ana", Peer::default(), Kind::Download).unwrap();
        assert_eq!(places.take("ana", Peer::default(), Kind::Upload).unwrap_err(), NoPlace::InAll);
        drop(place);
        places.take("ana", Peer::default(), Kind::Upload).unwrap();
    }

    #[test]
    fn answers_on_one_connection_get_a_quarter_of_what_their_user_gets() {
        let places = Places::new(80);
        let take = |connection, count| places.take_many("ana", Peer { address: None, connection }, count);
        let _held = [take(1, 6).unwrap(), take(1, 4).unwrap(), take(2, 10).unwrap(), take(3, 99).unwrap()];
        assert_eq!(take(1, 1).unwrap_err(), NoPlace::ForOne(10));
        let _rest = take(4, 10).unwrap();
        assert_eq!(take(5, 1).unwrap_err(), NoPlace::ForOne(40));
    }

    #[test]
    fn a_transfer_that_moves_too_little_is_too_slow_and_one_that_waits_for_us_is_not() {
        let second = Duration::from_secs(1);
        let mut drip = Pace::new(60, 60 * second);
        assert!(drip.keep(25 * second, 1).is_ok() && drip.keep(25 * second, 1).is_ok());
        assert!(drip.keep(25 * second, 1).unwrap_err().starts_with("3 bytes moved in 75000 ms"));
        let mut steady = Pace::new(60, 60 * second);
        assert!((0..1_000).all(|_| steady.keep(second, 1).is_ok()));
        let mut ours = Pace::new(60, 60 * second);
        assert!((0..1_000).all(|_| ours.keep(Duration::ZERO, 0).is_ok()));
    }
}
