//! What this replica tells the others of who is in a room: changes, each with the next version, or the whole.
//!
//! Easy to get wrong: a version is never used again with another meaning, not even after the room was forgotten and
//! opened anew; so the first one is the time.
use crate::actors::replicas::wire::{Message, Seats};
use std::{collections::BTreeSet, sync::Arc};

/// Users that one message names.
const USERS_AT_ONCE: usize = 1_000;

/// The state.
#[derive(Debug, Default)]
pub struct Share {
    version: u64,
    changed: BTreeSet<Arc<str>>,
    whole: bool,
}

impl Share {
    /// The seats of `user` have changed.
    pub fn note(&mut self, user: &Arc<str>) {
        self.changed.insert(user.clone());
    }

    /// Somebody lacks the whole.
    pub fn ask_whole(&mut self) {
        self.whole = true;
    }

    /// Whether there is something to tell.
    pub fn due(&self) -> bool {
        self.whole || !self.changed.is_empty()
    }

    /// The version told last; none when nothing was.
    pub fn version(&self) -> Option<u64> {
        (self.version > 0).then_some(self.version)
    }

    /// What to tell: the changes, or all of `users` when somebody lacks them. `seats` gives a user's, zeros for one who
    /// is not there.
    pub fn take(
        &mut self,
        unix_ms: i64,
        users: impl Iterator<Item = Seats>,
        seats: impl Fn(&str) -> Seats,
    ) -> Vec<Message> {
        let changed: Vec<Arc<str>> = std::mem::take(&mut self.changed).into_iter().collect();
        if self.version == 0 {
            self.version = u64::try_from(unix_ms).unwrap_or(0) + 1;
        }
        if std::mem::take(&mut self.whole) {
            if !changed.is_empty() {
                self.version += 1;
            }
            let users: Vec<Seats> = users.collect();
            let parts = users.len().div_ceil(USERS_AT_ONCE).max(1) as u32;
            let mut told: Vec<Message> = users
                .chunks(USERS_AT_ONCE)
                .zip(0..)
                .map(|(users, part)| Message::Here { version: self.version, part, parts, users: users.to_vec() })
                .collect();
            if told.is_empty() {
                told.push(Message::Here { version: self.version, part: 0, parts, users: Vec::new() });
            }
            return told;
        }
        let changes = changed.chunks(USERS_AT_ONCE).map(|users| {
            self.version += 1;
            Message::Moved { version: self.version, users: users.iter().map(|user| seats(user)).collect() }
        });
        changes.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(user: &str) -> Seats {
        (user.to_owned(), 1, 0)
    }

    #[test]
    fn changes_count_on_and_the_whole_stands_for_all_before_it() {
        let mut share = Share::default();
        assert_eq!((share.due(), share.version()), (false, None));
        share.note(&"ana".into());
        let told = share.take(41, [].into_iter(), of);
        assert_eq!(told, [Message::Moved { version: 43, users: vec![of("ana")] }]);
        share.ask_whole();
        let told = share.take(50, ["ana"].map(of).into_iter(), of);
        assert_eq!(told, [Message::Here { version: 43, part: 0, parts: 1, users: vec![of("ana")] }]);
        share.ask_whole();
        share.note(&"ana".into());
        let told = share.take(50, [].into_iter(), of);
        assert_eq!(told, [Message::Here { version: 44, part: 0, parts: 1, users: vec![] }], "nobody is something too");
        assert!(!share.due());
    }

    #[test]
    fn a_crowd_goes_in_parts() {
        let mut share = Share::default();
        let users: Vec<Arc<str>> = (0..2_500).map(|n| format!("u{n}").into()).collect();
        users.iter().for_each(|user| share.note(user));
        let versions: Vec<u64> = share
            .take(9, [].into_iter(), of)
            .iter()
            .map(|told| match told {
                Message::Moved { version, .. } => *version,
                _ => 0,
            })
            .collect();
        assert_eq!(versions, [11, 12, 13]);
        share.ask_whole();
        let told = share.take(9, users.iter().map(|user| of(user)), of);
        assert!(matches!(told[..], [_, Message::Here { version: 13, part: 1, parts: 3, .. }, _]), "{told:?}");
    }
}
