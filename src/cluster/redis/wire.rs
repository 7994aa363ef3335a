//! Channels and messages as Redis carries them: names under the installation's prefix, and who sent it before what it says.
//!
//! Leaves what a payload means to whoever published it. Easy to get wrong: Redis sends a message back to its sender when
//! it listens too, and only the sender's id in it tells.
use crate::cluster::options::MAX_REPLICA;
use crate::cluster::relay::{Channel, ReplicaId};
use bytes::Bytes;

/// The first byte of a message; another one is of another release, and is not read.
const FORMAT: u8 = 1;
/// Format and length of the sender's id.
const HEAD: usize = 2;

/// Names of an installation's channels.
#[derive(Clone)]
pub(super) struct Names {
    all: String,
    room: String,
    one: String,
    probe: String,
}

impl Names {
    pub(super) fn new(prefix: &str, replica: &ReplicaId) -> Self {
        Self {
            all: format!("{prefix}:all"),
            room: format!("{prefix}:room:"),
            one: format!("{prefix}:one:"),
            probe: format!("{prefix}:probe:{replica}:"),
        }
    }

    /// The name of a channel.
    pub(super) fn of(&self, channel: Channel) -> String {
        match channel {
            Channel::Room(project) => format!("{}{project}", self.room),
            Channel::All => self.all.clone(),
            Channel::One(mark) => format!("{}{mark:016x}", self.one),
        }
    }

    /// The channel with this name, if it is one of ours.
    pub(super) fn channel(&self, name: &[u8]) -> Option<Channel> {
        if name == self.all.as_bytes() {
            return Some(Channel::All);
        }
        if let Some(mark) = name.strip_prefix(self.one.as_bytes()) {
            return u64::from_str_radix(std::str::from_utf8(mark).ok()?, 16).ok().map(Channel::One);
        }
        let project = name.strip_prefix(self.room.as_bytes())?;
        std::str::from_utf8(project).ok()?.parse().ok().map(Channel::Room)
    }

    /// One of the names for probes, which only this replica uses.
    pub(super) fn probe(&self, number: u32) -> String {
        format!("{}{number}", self.probe)
    }
}

/// A message with its sender.
pub(super) fn seal(from: &ReplicaId, payload: &[u8]) -> Vec<u8> {
    let id = from.as_str().as_bytes();
    debug_assert!(id.len() <= MAX_REPLICA, "checked at the start");
    let mut message = Vec::with_capacity(HEAD + id.len() + payload.len());
    message.extend([FORMAT, id.len() as u8]);
    message.extend_from_slice(id);
    message.extend_from_slice(payload);
    message
}

/// Sender and payload of a message; none of one that is not ours.
pub(super) fn open(message: Vec<u8>) -> Option<(ReplicaId, Bytes)> {
    let &[FORMAT, length, ..] = message.as_slice() else { return None };
    let end = HEAD + usize::from(length);
    let from = std::str::from_utf8(message.get(HEAD..end)?).ok().map(ReplicaId::from_wire)?;
    Some((from, Bytes::from(message).slice(end..)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ids::ProjectId;

    #[test]
    fn names_and_messages_read_back_as_they_were_written() {
        let replica = ReplicaId::new("a");
        let names = Names::new("tieout", &replica);
        for channel in
            [Channel::All, Channel::One(0), Channel::One(replica.mark()), Channel::Room(ProjectId::generate())]
        {
            assert_eq!(names.channel(names.of(channel).as_bytes()), Some(channel));
        }
        for name in ["tieout:room:x", "tieout:one:x", "tieout:", "other:all", &names.probe(0)] {
            assert_eq!(names.channel(name.as_bytes()), None, "{name}");
        }
        for payload in [&b""[..], b"hello", &[0; 70_000]] {
            assert_eq!(open(seal(&replica, payload)), Some((replica.clone(), Bytes::copy_from_slice(payload))));
        }
    }

    #[test]
    fn a_message_of_nobody_we_know_is_not_read() {
        for message in [&b""[..], b"\x01", b"\x02\x01a", b"\x01\x05a", b"\x01\x01\xff", b"{\"json\":1}"] {
            assert_eq!(open(message.to_vec()), None, "{message:?}");
        }
    }
}
