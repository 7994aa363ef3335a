//! The ledger against what the database holds in the end. Leaves reading it to the tests. Easy to get wrong: believing what
//! clients saw; an event may have been sent that is not stored, and stored without having been sent.
use std::collections::BTreeMap;

use serde_json::Value;

use super::{Ledger, key_of};

impl Ledger {
    /// What can't be true, given all events of a project as they are stored: offset and message, in order.
    pub(crate) fn against_stored(&self, project: &str, events: &[(u64, Value)]) -> Vec<String> {
        let books = self.books();
        let mut broken = Vec::new();
        for (at, (off, _)) in (1..).zip(events) {
            if *off != at {
                broken.push(format!("{off} is stored where {at} should be"));
                break;
            }
        }
        let (head, last) = (books.head(project), events.last().map_or(0, |(off, _)| *off));
        if last < head {
            broken.push(format!("{head} was seen or answered, and {last} is the last that is stored"));
        }
        let mut places: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (off, event) in events {
            if let Some(key) = key_of(event) {
                places.entry(key).or_default().push(*off);
            }
        }
        for (key, request) in books.requests.iter().filter(|(_, request)| request.project == project) {
            let stored = places.remove(key.as_str()).unwrap_or_default();
            let right = match request.answers.first() {
                Some((_, off)) => stored == [*off],
                None => stored.len() <= usize::from(!request.refused),
            };
            if !right {
                let answers = &request.answers;
                broken.push(format!("{key} is stored at {stored:?}, and was answered {answers:?}"));
            }
        }
        broken.extend(places.keys().map(|key| format!("{key} is stored, and nobody asked for it")));
        broken
    }
}
