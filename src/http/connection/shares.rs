//! Connections by the address that they come from, so that one address can't take all places.
//!
//! Leaves the number in all to `listener`. Easy to get wrong: a proxy's address stands for all of its clients, so
//! addresses in `trusted_proxies` have no share; and one host has a whole /64 of IPv6 addresses.
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Who is at the other end of a connection, as far as shares go. In the request's extensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(in crate::http) struct Peer {
    /// The address that has a share; none for a proxy, which speaks for many.
    pub address: Option<IpAddr>,
    /// Tells connections apart.
    pub connection: u64,
}

/// The connections of every address.
pub(in crate::http) struct Shares {
    most: u64,
    proxies: Vec<ipnet::IpNet>,
    open: Mutex<HashMap<IpAddr, u64>>,
    accepted: AtomicU64,
}

/// A connection of an address, until it is dropped.
pub(in crate::http) struct Share {
    shares: Arc<Shares>,
    address: Option<IpAddr>,
}

impl Shares {
    /// At most so many connections of an address outside of `proxies`.
    pub(crate) fn new(most: u64, proxies: Vec<ipnet::IpNet>) -> Arc<Self> {
        Arc::new(Self { most, proxies, open: Mutex::default(), accepted: AtomicU64::new(0) })
    }

    /// Who has connected from there.
    pub(crate) fn peer(&self, address: IpAddr) -> Peer {
        let connection = self.accepted.fetch_add(1, Ordering::Relaxed);
        let address = address.to_canonical();
        if self.proxies.iter().any(|proxies| proxies.contains(&address)) {
            return Peer { address: None, connection };
        }
        let host = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        };
        Peer { address: Some(host), connection }
    }

    /// One more connection; none when the address has its share.
    pub(crate) fn enter(self: &Arc<Self>, peer: Peer) -> Option<Share> {
        if let Some(address) = peer.address {
            let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
            let count = open.entry(address).or_default();
            if *count >= self.most {
                return None;
            }
            *count += 1;
        }
        Some(Share { shares: self.clone(), address: peer.address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut open = self.shares.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_a_proxy_has_none_and_an_ipv6_host_is_one() {
        let shares = Shares::new(2, vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()]);
        let enter = |address: &str| shares.enter(shares.peer(address.parse().unwrap()));
        let mut held: Vec<_> = ["192.0.2.1", "::ffff:192.0.2.1"].map(|address| enter(address).unwrap()).into();
        assert!(enter("192.0.2.1").is_none() && enter("192.0.2.2").is_some());
        held.extend(["2001:db8::1", "2001:db8::2"].map(|address| enter(address).unwrap()));
        assert!(enter("2001:db8::3").is_none() && enter("2001:db8:0:1::3").is_some());
        held.extend((0..9).map(|_| enter("10.1.2.3").unwrap()));
        held.extend((0..9).map(|_| enter("::1").unwrap()));
        held.clear();
        assert!(shares.open.lock().unwrap().is_empty(), "nothing is kept of who is gone");
    }
}
