//! What replicas say to each other, and how it is written: a version, a small JSON head, then a frame as clients get it.
//!
//! The frame goes through as it is, so the receiver encodes nothing anew. Easy to get wrong: a rolling deploy mixes
//! versions, so what can't be read is no error: it is counted, and the comparison with the store makes up for it.
use crate::protocol::{
    frame,
    ids::{JobId, ProjectId},
};
use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// First byte of every message; raised when older replicas can no longer make sense of newer messages.
const VERSION: u8 = 1;
/// Bytes before the head: version and length.
const PREFIX: usize = 5;

/// One user's seats in a room at one replica: connections, and those who have just left.
pub type Seats = (String, u32, u32);

/// What is said. About a room when it came on the room's channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Message {
    /// A durable event was committed; its frame follows.
    Event {
        /// Epoch.
        ep: String,
        /// Offset.
        off: u64,
        /// When it was committed, unix milliseconds.
        ts_ms: i64,
        /// The job that it ends.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ends: Option<JobId>,
        /// It says that the project was deleted.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deletes: bool,
    },
    /// Somebody said something to the room; its frame follows.
    Said {},
    /// A running job's progress; its frame follows.
    Progress {
        /// The job.
        job: JobId,
    },
    /// These users have other seats in the room at this replica.
    Moved {
        /// One more than the last.
        version: u64,
        /// Who, and how many there are now.
        users: Vec<Seats>,
    },
    /// All users in the room at this replica, in parts.
    Here {
        /// The version that this is the whole of.
        version: u64,
        /// Which part, from 0.
        part: u32,
        /// How many there are.
        parts: u32,
        /// Who, and how many there are now.
        users: Vec<Seats>,
    },
    /// Who is in the room at that replica, or at all of them?
    Who {
        /// Which replica is asked; none is all of them.
        of: Option<String>,
    },
    /// A claim was granted or lasts longer: the store's row.
    Claimed {
        /// What.
        entity_id: String,
        /// Whose.
        user_id: String,
        /// On which connection of which process, or by which call.
        holder: String,
        /// Its fencing number.
        fence: u64,
        /// When it lapses, unix milliseconds.
        expires_at_ms: i64,
        /// The connection that asked.
        by: Option<u64>,
    },
    /// A claim was let go.
    Released {
        /// What.
        entity_id: String,
        /// Whose.
        user_id: String,
        /// The fencing number it had, where that was known.
        fence: Option<u64>,
        /// The connection that asked.
        by: Option<u64>,
    },
    /// A sign of life.
    Beat {
        /// Which part of it, from 0.
        part: u32,
        /// Rooms with somebody in them, and the version of what was told of each.
        rooms: Vec<(ProjectId, u64)>,
    },
    /// This replica goes; its clients come to the others.
    Goodbye {},
    /// What this replica has said of late may not have got through.
    Missed {},
    /// A question to one.
    Ask {
        /// Its number.
        id: u64,
        /// What; the doors' business.
        question: String,
    },
    /// The answer to a question.
    Answer {
        /// Which question.
        id: u64,
        /// What; none when it is not this replica's to answer.
        answer: Option<String>,
    },
    /// A user may no longer be in a room, or anywhere.
    Expel {
        /// Which room; none is all of them.
        project: Option<ProjectId>,
        /// Whom.
        user_id: String,
        /// Its number, for the confirmation.
        id: u64,
    },
    /// That was done.
    Expelled {
        /// Its number.
        id: u64,
    },
}

impl Message {
    /// Its name in metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Event { .. } => "event",
            Self::Said {} => "said",
            Self::Progress { .. } => "progress",
            Self::Moved { .. } | Self::Here { .. } | Self::Who { .. } => "presence",
            Self::Claimed { .. } | Self::Released { .. } => "claim",
            Self::Beat { .. } | Self::Goodbye {} | Self::Missed {} => "beat",
            Self::Ask { .. } | Self::Answer { .. } => "question",
            Self::Expel { .. } | Self::Expelled { .. } => "expel",
        }
    }

    /// Whether a frame follows.
    fn has_frame(&self) -> bool {
        matches!(self, Self::Event { .. } | Self::Said {} | Self::Progress { .. })
    }

    /// As it crosses the relay.
    pub fn encode(&self, frame: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(PREFIX + 160 + frame.len());
        out.put_u8(VERSION);
        out.put_u32_le(0);
        let head = (&mut out).writer();
        serde_json::to_writer(head, self).expect("these types have string keys and write to memory");
        let length = (out.len() - PREFIX) as u32;
        out[1..PREFIX].copy_from_slice(&length.to_le_bytes());
        out.extend_from_slice(frame);
        out.freeze()
    }

    /// The message and its frame, empty when it has none; none when it can't be read: a newer replica's, or broken.
    pub fn decode(payload: &Bytes) -> Option<(Self, Bytes)> {
        if *payload.first()? != VERSION {
            return None;
        }
        let length = u32::from_le_bytes(payload.get(1..PREFIX)?.try_into().ok()?);
        let end = PREFIX.checked_add(length as usize)?;
        let message: Self = serde_json::from_slice(payload.get(PREFIX..end)?).ok()?;
        let frame = payload.slice(end..);
        // It goes to sockets as it is: half a frame would break every connection of the room.
        let whole = if message.has_frame() { frame::is_whole_text(&frame) } else { frame.is_empty() };
        whole.then_some((message, frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_what_is_broken_is_not() {
        let event = Message::Event { ep: "k3".into(), off: 7, ts_ms: 5, ends: Some(JobId::generate()), deletes: true };
        let frame = frame::text(br#"{"ep":"k3","off":7,"DataUpdate":{}}"#);
        let sent = event.encode(&frame);
        assert_eq!(Message::decode(&sent), Some((event, frame.clone())));
        let expel = Message::Expel { project: None, user_id: "ana".into(), id: 3 };
        assert_eq!(Message::decode(&expel.encode(&[])), Some((expel, Bytes::new())));
        for cut in 0..sent.len() {
            assert_eq!(Message::decode(&sent.slice(..cut)), None, "cut at {cut}");
        }
        let mut newer = sent.to_vec();
        newer[0] += 1;
        assert_eq!(Message::decode(&newer.into()), None, "of a newer version");
        let longer = [&sent[..], b"x"].concat();
        assert_eq!(Message::decode(&longer.into()), None, "with something behind the frame");
        let mut wild = sent.to_vec();
        wild[1..PREFIX].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(Message::decode(&wild.into()), None, "with a length beyond its end");
    }
}
