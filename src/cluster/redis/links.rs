//! Whether messages get through, from what is known of every server: up when all of them are.
//!
//! Leaves finding out to `session`. Easy to get wrong: it wakes those who watch on a change only, not on every probe.
use crate::cluster::relay::Link;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use tokio::sync::watch;

/// One connection that is kept: the server's name, and which one to it, for a new one may be there before the old one ends.
pub(super) type Part = (String, u64);

/// Why a part is down, when it is.
type WhyDown = Option<String>;

/// The link, made of parts.
pub(super) struct Links {
    parts: Mutex<BTreeMap<Part, WhyDown>>,
    link: watch::Sender<Link>,
}

impl Links {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        metrics::gauge!("tieout_relay_up").set(0);
        let link = Link::Down { reason: "not connected yet".to_owned() };
        Self { parts: Mutex::default(), link: watch::Sender::new(link) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(super) fn up(&self, part: &Part) {
        self.change(|parts| parts.insert(part.clone(), None));
    }

    pub(super) fn down(&self, part: &Part, reason: &str) {
        self.change(|parts| parts.insert(part.clone(), Some(reason.to_owned())));
    }

    /// The part is no more.
    pub(super) fn forget(&self, part: &Part) {
        self.change(|parts| parts.remove(part));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<Part, WhyDown>) -> T) {
        // A map is whole after every call that could panic.
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut parts);
        let away: Vec<_> =
            parts.iter().filter_map(|((name, _), why)| Some(format!("{name}: {}", why.as_ref()?))).collect();
        let now = match (parts.is_empty(), away.is_empty()) {
            (true, _) => Link::Down { reason: "no server is known".to_owned() },
            (false, true) => Link::Up,
            (false, false) => Link::Down { reason: away.join("; ") },
        };
        metrics::gauge!("tieout_relay_up").set(if now.is_up() { 1 } else { 0 });
        self.link.send_if_modified(|link| {
            let changed = *link != now;
            *link = now;
            changed
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_up_when_every_part_is_and_says_which_one_is_not() {
        let links = Links::new();
        let mut link = links.watch();
        assert!(!link.borrow().is_up());
        let part = |name: &str, number| (name.to_owned(), number);
        links.up(&part("a:1", 0));
        assert_eq!(*link.borrow_and_update(), Link::Up);
        links.up(&part("a:1", 0));
        assert!(!link.has_changed().unwrap(), "nothing is new");
        links.down(&part("a:1", 1), "gone");
        assert_eq!(*link.borrow(), Link::Down { reason: "a:1: gone".to_owned() });
        links.forget(&part("a:1", 1));
        assert_eq!(*link.borrow(), Link::Up);
        links.forget(&part("a:1", 0));
        assert!(!link.borrow().is_up(), "of no server nothing is known");
    }
}
