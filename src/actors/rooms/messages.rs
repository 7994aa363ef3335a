//! What the hub is told and asked.
//!
//! Everything that can be encoded is encoded by the sender. Easy to get wrong: connections report through their shard,
//! except for requests, which carry connection and shard so that the answer takes the shard's queue too.
use super::claims::{Claim, ClaimRefused};
use super::room::Event;
use crate::actors::replicas::wire;
use crate::actors::sockets::commands::{Attached, Cursor};
use crate::actors::sockets::outbox::RoomFrame;
use crate::actors::sockets::peer::Pending;
use crate::cluster::ReplicaId;
use crate::db::claims;
use crate::protocol::client::Position;
use crate::protocol::ids::{ConnId, JobId, ProjectId};
use actix::Message;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};
use tokio::sync::oneshot;

/// A connection and where its answers go.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The connection.
    pub conn: ConnId,
    /// Its shard.
    pub shard: usize,
    /// Its user.
    pub user: Arc<str>,
    /// The request to answer.
    pub re: Option<u64>,
    /// Counts as unanswered until this is dropped.
    pub pending: Pending,
}

/// What a connection asks of the hub.
#[derive(Clone, Debug)]
pub enum Request {
    /// To be let into a room.
    Join(Join),
    /// To be taken out of one.
    Leave(Leave),
    /// To tell the room something.
    Say(Say),
    /// To claim or release.
    Claim(ClaimByFrame),
}

impl Request {
    /// Who asks.
    pub fn asker(&self) -> &Asker {
        match self {
            Self::Join(join) => &join.asker,
            Self::Leave(leave) => &leave.asker,
            Self::Say(say) => &say.asker,
            Self::Claim(claim) => &claim.asker,
        }
    }
}

impl Request {
    /// In which room.
    pub fn project(&self) -> ProjectId {
        match self {
            Self::Join(join) => join.project,
            Self::Leave(leave) => leave.project,
            Self::Say(say) => say.project,
            Self::Claim(claim) => claim.project,
        }
    }

    /// What it takes to keep it.
    pub fn bytes(&self) -> usize {
        let said = match self {
            Self::Say(say) => say.frame.bytes.len() + say.ack.as_ref().map_or(0, Bytes::len),
            Self::Join(_) | Self::Leave(_) | Self::Claim(_) => 0,
        };
        size_of::<Self>() + said
    }
}

/// Requests of a shard's connections wait in its queue.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Serve {
    /// Which shard's.
    pub shard: usize,
}

/// Let a connection into a room.
#[derive(Clone, Debug)]
pub struct Join {
    /// Who.
    pub asker: Asker,
    /// Which room.
    pub project: ProjectId,
    /// What it already has.
    pub since: Option<Position>,
}

/// Take a connection out of a room.
#[derive(Clone, Debug)]
pub struct Leave {
    /// Who.
    pub asker: Asker,
    /// Which room.
    pub project: ProjectId,
}

/// A connection is gone. Comes from its shard.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Disconnect {
    /// Who.
    pub conn: ConnId,
    /// Its user.
    pub user: Arc<str>,
    /// Where it was.
    pub rooms: Vec<ProjectId>,
    /// Its client closed it in order: it gives back what it has claimed.
    pub farewell: bool,
}

/// A shard tells a new hub whom it serves.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Attach {
    /// The hub it answers to.
    pub generation: u64,
    /// Which shard.
    pub shard: usize,
    /// Its rooms.
    pub rooms: Vec<Attached>,
}

/// A durable event, encoded.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Publish {
    /// The room.
    pub project: ProjectId,
    /// Epoch.
    pub ep: Arc<str>,
    /// Offset, time of the commit, frame.
    pub event: Event,
}

/// A member says something to the room.
#[derive(Clone, Debug)]
pub struct Say {
    /// Who.
    pub asker: Asker,
    /// Where.
    pub project: ProjectId,
    /// What, encoded for all.
    pub frame: RoomFrame,
    /// The reply to the sender, encoded, when it asked for one.
    pub ack: Option<Bytes>,
}

/// The server says something to a room, ephemerally.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Announce {
    /// Where.
    pub project: ProjectId,
    /// What, encoded for all.
    pub frame: RoomFrame,
}

/// Progress of a job.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Progress {
    /// The room.
    pub project: ProjectId,
    /// The job.
    pub job: JobId,
    /// The frame.
    pub bytes: Bytes,
    /// The message's body, for those who join later.
    pub json: Arc<RawValue>,
}

/// Claim or release over a connection; the answer is a frame.
#[derive(Clone, Debug)]
pub struct ClaimByFrame {
    /// Who.
    pub asker: Asker,
    /// Where.
    pub project: ProjectId,
    /// What.
    pub entity_id: String,
    /// Let go instead.
    pub release: bool,
}

/// Claim something.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Claim, ClaimRefused>")]
pub struct ClaimEntity {
    /// Where.
    pub project: ProjectId,
    /// What.
    pub entity_id: String,
    /// For whom.
    pub user: Arc<str>,
}

/// Let it go.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), ClaimRefused>")]
pub struct ReleaseEntity {
    /// Where.
    pub project: ProjectId,
    /// What.
    pub entity_id: String,
    /// Whose.
    pub user: Arc<str>,
}

/// Take a user out at once: it may no longer be there. The answer is how many members that were.
#[derive(Clone, Debug, Message)]
#[rtype(result = "usize")]
pub struct Revoke {
    /// Of which room; none is all of them.
    pub project: Option<ProjectId>,
    /// Whom.
    pub user: Arc<str>,
}

/// What is live in a room.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<RoomView>")]
pub struct View(pub ProjectId);

/// The answer to [`View`].
#[derive(Clone, Debug)]
pub struct RoomView {
    /// Epoch; empty while the room is still reading its position.
    pub ep: String,
    /// Newest durable offset handed out.
    pub off: u64,
    /// Connections.
    pub connections: usize,
    /// Users.
    pub users: Vec<String>,
    /// Jobs with progress.
    pub running_jobs: usize,
}

/// How the hub is.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Counts")]
pub struct Count;

/// The answer to [`Count`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Rooms.
    pub rooms: usize,
    /// Memberships.
    pub subscriptions: usize,
    /// Users seen, room by room.
    pub presence_entries: usize,
    /// Incarnation.
    pub generation: u64,
}

/// Where the rooms are whose position is known.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "RoomPositions")]
pub struct Positions;

/// The answer to [`Positions`].
#[derive(Clone, Debug, Default)]
pub struct RoomPositions {
    /// Incarnation.
    pub generation: u64,
    /// Each room's position.
    pub rooms: Vec<(ProjectId, Cursor)>,
}

/// Another replica says something.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct FromReplica {
    /// Which.
    pub from: ReplicaId,
    /// About which room, if about one.
    pub project: Option<ProjectId>,
    /// What.
    pub message: wire::Message,
}

/// The claims of these rooms are about to be read from the store; answered with those that are to be, for which
/// [`ClaimsTold`] must follow.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Vec<ProjectId>")]
pub struct BeginClaims {
    /// The incarnation that named them; another one has nothing read.
    pub generation: u64,
    /// The rooms.
    pub rooms: Vec<ProjectId>,
}

/// The claims in force of some rooms; none where they could not be read.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct ClaimsTold {
    /// The incarnation that asked.
    pub generation: u64,
    /// Room by room.
    pub rooms: Vec<(ProjectId, Option<Vec<claims::Claim>>)>,
}

/// A sign of life for the other replicas is due.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Beat;

/// Make the hub panic, for tests of what happens then. Only sent when test hooks are enabled.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct PanicNow;

/// Make the hub block its thread for this long, for tests of what happens then. Only sent when test hooks are enabled.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StallNow(pub Duration);

/// What a read of the store found.
#[derive(Clone, Debug)]
pub enum History {
    /// What a room begins with.
    Opened {
        /// Epoch.
        ep: Arc<str>,
        /// Offset.
        off: u64,
        /// The claims in force.
        claims: Vec<claims::Claim>,
    },
    /// The claims in force.
    Claims(Vec<claims::Claim>),
    /// The newest position.
    Head {
        /// Epoch.
        ep: Arc<str>,
        /// Offset.
        off: u64,
    },
    /// Events right after the asked offset, encoded.
    Events {
        /// In order, without a hole.
        events: Vec<Event>,
        /// The newest offset.
        head: u64,
    },
    /// They are gone; the position is now this.
    Gone {
        /// Epoch.
        ep: Arc<str>,
        /// Offset.
        off: u64,
    },
    /// No such project.
    NotFound,
    /// The store can't answer now.
    Unavailable,
}

/// Why history was read.
#[derive(Clone, Debug)]
pub enum Purpose {
    /// To open the room.
    Open,
    /// To see whether something was missed.
    Check,
    /// To see who has claimed what.
    Claims,
    /// To fill a hole.
    Hole,
    /// To let a connection in.
    Join(Box<Join>),
    /// To bring a shard's members up to date after a restart.
    Catchup(usize),
}

/// A read's result, back in the hub's mailbox.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Told {
    /// The incarnation that asked.
    pub generation: u64,
    /// The room.
    pub project: ProjectId,
    /// Why.
    pub purpose: Purpose,
    /// What was found.
    pub history: History,
}

/// Who waits for a claim to be settled.
#[derive(Debug)]
pub enum Waiter {
    /// A connection, for a frame.
    Conn(Asker),
    /// A caller in this process, for a claim.
    Claim(oneshot::Sender<Result<Claim, ClaimRefused>>),
    /// A caller in this process, for a release.
    Release(oneshot::Sender<Result<(), ClaimRefused>>),
    /// Nobody: the connection has left.
    Nobody,
}

/// What is to become of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The asker's.
    Take,
    /// Free, whatever connection of the user has it.
    Release,
    /// Free, if this holder has it.
    ReleaseOwn,
    /// Its user's to take over, for this holder is gone.
    Abandon,
}

/// A change of a claim, for the store to decide.
#[derive(Debug)]
pub struct ClaimAsk {
    /// Where.
    pub project: ProjectId,
    /// What.
    pub entity_id: String,
    /// Whose.
    pub user: Arc<str>,
    /// On which connection, or a name of its own.
    pub holder: String,
    /// What is asked for.
    pub change: Change,
    /// Who waits.
    pub waiter: Waiter,
}

/// What the store decided.
#[derive(Clone, Debug)]
pub enum ClaimOutcome {
    /// Taken, renewed, or held by another.
    Taken(claims::Taken),
    /// Whether there was something to release.
    Released(bool),
    /// Whether the holder had it still.
    Abandoned(bool),
    /// It could not be done.
    Failed(ClaimRefused),
}

/// A claim settled, back in the hub's mailbox.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ClaimTold {
    /// The incarnation that asked.
    pub generation: u64,
    /// What was asked.
    pub ask: ClaimAsk,
    /// The answer.
    pub outcome: ClaimOutcome,
}

/// Leases that the store has made longer.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct RenewTold {
    /// Where.
    pub project: ProjectId,
    /// What was asked for: entity and holder.
    pub asked: Vec<(String, String)>,
    /// Those still in force.
    pub renewed: Vec<claims::Claim>,
}
