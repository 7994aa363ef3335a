//! What the hub hands to a shard.
//!
//! Frames that depend on no reader are encoded before they get here; the rest is encoded by the shard, never by the
//! actor. The way there is `queue`. Easy to get wrong: whatever answers a request must say which one.
use super::outbox::{Kind, RoomFrame};
use super::peer::{Peer, Pending};
use crate::actors::rooms::presence::Announced;
use crate::protocol::{
    ErrorCode, ServerMessage,
    ids::{ConnId, ProjectId},
    principal::Role,
    server::{self, ClaimView, ErrorBody, Head, Presence, PresenceDiff, ProjectJoined},
};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};

/// What every member of a shard has been handed of a room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor {
    /// Epoch.
    pub ep: Arc<str>,
    /// Offset.
    pub off: u64,
}

/// Work for a shard, in the order the hub decided.
#[derive(Debug)]
pub enum ShardCommand {
    /// A frame for all members of a room; `cursor` when it is durable.
    Frame {
        /// The room.
        room: ProjectId,
        /// What to send.
        frame: Outgoing,
        /// Where members are once they have it.
        cursor: Option<Cursor>,
    },
    /// A new connection.
    Add(Arc<Peer>),
    /// A connection has ended.
    Remove(ConnId),
    /// Let a connection into a room.
    Joined(Box<JoinedCommand>),
    /// Take it out.
    Left {
        /// Who.
        conn: ConnId,
        /// Of which room.
        room: ProjectId,
        /// The request this answers.
        re: Option<u64>,
        /// Why.
        reason: &'static str,
        /// The request is unanswered until this is dropped.
        pending: Pending,
    },
    /// Answer a request.
    Reply {
        /// Whose.
        conn: ConnId,
        /// Which.
        re: Option<u64>,
        /// With what.
        reply: Reply,
        /// The request is unanswered until this is dropped.
        pending: Pending,
    },
    /// Members of the room have missed something: tell them to join again.
    Break {
        /// The room.
        room: ProjectId,
        /// Why.
        reason: &'static str,
        /// Where the room is now.
        cursor: Option<Cursor>,
    },
    /// The hub was rebuilt.
    NewHub {
        /// Its number.
        generation: u64,
    },
    /// The other replicas can't be heard, or can be again.
    Status {
        /// They can't.
        degraded: bool,
    },
    /// Panic, for tests of what happens then. Only sent when test hooks are enabled.
    PanicNow,
    /// Close all connections at random moments within the window.
    Drain {
        /// The window.
        window: Duration,
    },
}

/// A frame, or what it takes to make it.
#[derive(Debug, Clone)]
pub enum Outgoing {
    /// Encoded.
    Ready(RoomFrame),
    /// Who came and went.
    Presence(Arc<PresenceDiff>),
    /// A claim was made or let go.
    Claim(Arc<ClaimNews>),
}

/// A claim's change, for the room.
#[derive(Debug)]
pub struct ClaimNews {
    /// The room.
    pub project: ProjectId,
    /// `claimed` or `released`.
    pub action: &'static str,
    /// What.
    pub entity_id: String,
    /// Who.
    pub user: Arc<str>,
    /// The connection, if it was one.
    pub by: Option<ConnId>,
    /// When it lapses.
    pub expires_at_ms: Option<i64>,
    /// Its fencing number.
    pub fence: Option<u64>,
}

impl Outgoing {
    /// The frame.
    pub fn encode(self) -> RoomFrame {
        match self {
            Self::Ready(frame) => frame,
            Self::Presence(diff) => {
                let bytes = server::encode(Head::default(), &ServerMessage::PresenceDiff((*diff).clone()));
                RoomFrame { bytes, kind: Kind::Ephemeral }
            }
            Self::Claim(news) => RoomFrame { bytes: news.encode(None), kind: Kind::Ephemeral },
        }
    }
}

impl ClaimNews {
    fn encode(&self, re: Option<u64>) -> Bytes {
        let body = server::Collaboration {
            project_id: self.project,
            action: self.action,
            entity_id: Some(&self.entity_id),
            user_id: &self.user,
            expires_at_ms: self.expires_at_ms,
            fence: self.fence,
            data: None,
        };
        server::encode(Head { re, by: self.by, ..Head::default() }, &ServerMessage::Collaboration(body))
    }
}

/// The answer to a request.
#[derive(Debug)]
pub enum Reply {
    /// The claim is yours, or let go.
    Claim(Arc<ClaimNews>),
    /// Encoded already.
    Ready(Bytes),
    /// It can't be done.
    Refused {
        /// Why, as a code.
        code: ErrorCode,
        /// Why, in words.
        text: String,
        /// Who holds what was asked for.
        holder: Option<String>,
        /// The limit that was reached.
        limit: Option<&'static str>,
    },
}

impl Reply {
    /// The frame.
    pub fn encode(&self, re: Option<u64>) -> Bytes {
        match self {
            Self::Claim(news) => news.encode(re),
            Self::Ready(bytes) => bytes.clone(),
            Self::Refused { code, text, holder, limit } => {
                let mut body = ErrorBody::new(*code, text);
                body.holder = holder.as_deref();
                body.limit = *limit;
                server::encode(Head::reply(re), &ServerMessage::Error(body))
            }
        }
    }
}

/// What is live in a room: shared by all who join until something changes.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Who was there as of the last `PresenceDiff`, so that the next one continues it.
    pub presence: Announced,
    /// Latest progress of running jobs, as JSON.
    pub jobs: Vec<Arc<RawValue>>,
    /// Claims.
    pub claims: Vec<ClaimView>,
}

/// A join, decided.
#[derive(Debug)]
pub struct JoinedCommand {
    /// Who.
    pub conn: ConnId,
    /// Its user.
    pub user: Arc<str>,
    /// Which room.
    pub room: ProjectId,
    /// The request this answers.
    pub re: Option<u64>,
    /// Where the connection is once it has what follows.
    pub cursor: Cursor,
    /// Whether everything after its position follows.
    pub recovered: bool,
    /// What follows.
    pub missed: Vec<RoomFrame>,
    /// What is live there.
    pub snapshot: Arc<Snapshot>,
    /// The request is unanswered until this is dropped.
    pub pending: Pending,
}

impl JoinedCommand {
    /// The reply; its user is in the room from now on, also before the next `PresenceDiff` says so.
    pub fn encode(&self, role: Role, degraded: bool) -> Bytes {
        let seen = &self.snapshot.presence;
        let mut users: Vec<String> = seen.users.iter().map(ToString::to_string).collect();
        if !users.iter().any(|known| **known == *self.user) {
            users.push(self.user.to_string());
        }
        let presence = Presence { rev: seen.rev, count: seen.count.max(1), users, partial: seen.partial };
        let body = ProjectJoined {
            project_id: self.room,
            ep: &self.cursor.ep,
            off: self.cursor.off,
            recovered: self.recovered,
            role: role.name(),
            presence: &presence,
            jobs: self.snapshot.jobs.iter().map(|job| &**job).collect(),
            claims: &self.snapshot.claims,
            degraded,
        };
        server::encode(Head::reply(self.re), &ServerMessage::ProjectJoined(body))
    }
}

/// One shard's share of a room, told to a new hub.
#[derive(Debug, Clone)]
pub struct Attached {
    /// The room.
    pub room: ProjectId,
    /// What its members have.
    pub cursor: Option<Cursor>,
    /// Who they are.
    pub members: Vec<(ConnId, Arc<str>)>,
}
