//! Messages the server sends, and their one encoding into complete, shareable frames.
//!
//! Who receives them is left to the hub. Easy to get wrong: durable events come from the store with their body
//! already written as JSON; [`durable`] wraps it, it does not parse it.
use super::{
    error::ErrorCode,
    frame,
    ids::{ConnId, JobId, ProjectId},
    trace::Trace,
};
use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::io::Write;

/// The optional siblings of a message.
#[derive(Clone, Copy, Default, Debug)]
pub struct Head {
    /// Request that this answers.
    pub re: Option<u64>,
    /// Server time, unix milliseconds.
    pub ts: Option<i64>,
    /// Connection that caused it.
    pub by: Option<ConnId>,
    /// Trace that caused it.
    pub tr: Option<Trace>,
}

impl Head {
    /// The head of a reply to request `re`.
    pub fn reply(re: Option<u64>) -> Self {
        Self { re, ..Self::default() }
    }
}

/// What the server says.
#[derive(Debug, Serialize, JsonSchema)]
pub enum ServerMessage<'a> {
    /// The token is good.
    AuthSuccess(AuthSuccess<'a>),
    /// The token is about to lapse: send `Auth` with a newer one.
    AuthExpiring(AuthExpiring),
    /// You are in; what you missed follows.
    ProjectJoined(ProjectJoined<'a>),
    /// You are out.
    ProjectLeft(ProjectLeft<'a>),
    /// Something of a project changed.
    DataUpdate(DataUpdate<'a>),
    /// What members tell each other.
    Collaboration(Collaboration<'a>),
    /// A message for people.
    Notification(Notification<'a>),
    /// How far a job is.
    JobProgressUpdate(&'a JobProgressUpdate),
    /// Who came and went.
    PresenceDiff(PresenceDiff),
    /// You missed something: join again with `since`.
    ResyncRequired(ResyncRequired<'a>),
    /// The server is about to go away.
    Draining {
        /// Connections are closed at random moments within this.
        window_ms: u64,
    },
    /// How the server is, when that changes.
    Status {
        /// The other replicas can't be heard: what happens there comes late, and who is there is not known.
        degraded: bool,
    },
    /// The answer to `Ping`.
    Pong {},
    /// What went wrong.
    Error(ErrorBody<'a>),
}

/// Body of `AuthSuccess`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuthSuccess<'a> {
    /// The user the token stands for.
    pub user_id: &'a str,
    /// Role in the installation: `owner`, `reviewer` or `viewer`.
    pub role: &'a str,
    /// This connection, as it shows in `by`.
    pub conn: String,
    /// When the token lapses, unix milliseconds; absent when it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
    /// On an event stream: the secret that lets `POST /api/realtime/send` talk for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
}

/// Body of `AuthExpiring`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AuthExpiring {
    /// When the token lapses, unix milliseconds. From then on only `Auth` and `Ping` are obeyed.
    pub expires_at_ms: i64,
    /// When the connection is closed with 4401 unless it was authenticated anew.
    pub close_at_ms: i64,
}

/// Body of `ProjectJoined`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProjectJoined<'a> {
    /// The project.
    pub project_id: ProjectId,
    /// Epoch of its history.
    pub ep: &'a str,
    /// Offset the client is at once it has applied what follows; until then it keeps its own.
    pub off: u64,
    /// Whether everything after `since` follows. False without `since`, or when it is gone: read the snapshot again.
    pub recovered: bool,
    /// What the user may do there.
    pub role: &'a str,
    /// Who is there.
    pub presence: &'a Presence,
    /// Latest progress of each running job.
    #[schemars(with = "Vec<JobProgressUpdate>")]
    pub jobs: Vec<&'a RawValue>,
    /// Who works on what.
    pub claims: &'a [ClaimView],
    /// As in `Status`; absent when the server is as it should be.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degraded: bool,
}

/// Who is in a room.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct Presence {
    /// Grows by one with each `PresenceDiff`.
    pub rev: u64,
    /// Connections in the room.
    pub count: usize,
    /// Users in the room, by name; one may have several connections.
    pub users: Vec<String>,
    /// The list is a sample: too many are there to name them all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// A claim as the room sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct ClaimView {
    /// What is claimed.
    pub entity_id: String,
    /// Who holds it.
    pub user_id: String,
    /// Grows each time it changes hands.
    pub fence: u64,
    /// When it lapses unless renewed, unix milliseconds.
    pub expires_at_ms: i64,
}

/// Body of `ProjectLeft`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProjectLeft<'a> {
    /// The project.
    pub project_id: ProjectId,
    /// `left`, `deleted` or `revoked`.
    pub reason: &'a str,
}

/// Body of `DataUpdate`. Stored as text in the event's row by whoever commits the change: [`DataUpdate::body`].
#[derive(Debug, Serialize, JsonSchema)]
pub struct DataUpdate<'a> {
    /// The project.
    pub project_id: ProjectId,
    /// `project`, `source`, `job` or `match`.
    pub entity: &'a str,
    /// Its id.
    pub entity_id: String,
    /// `created`, `updated`, `deleted` or `completed`.
    pub action: &'a str,
    /// The entity after the change; as its publisher wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
    /// Where to fetch the entity, in place of `data` that is too large for a frame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Body of `Collaboration` as the room sees it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Collaboration<'a> {
    /// The project.
    pub project_id: ProjectId,
    /// `claimed`, `released`, or the clients' own word.
    pub action: &'a str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<&'a str>,
    /// Who did it; the server's word.
    pub user_id: &'a str,
    /// When a claim lapses, unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
    /// Of a claim: grows each time it changes hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fence: Option<u64>,
    /// As the sender wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<&'a RawValue>,
}

/// Body of `Notification`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Notification<'a> {
    /// The project.
    pub project_id: ProjectId,
    /// `info`, `warning` or `error`.
    pub level: &'a str,
    /// One sentence for people.
    pub message: &'a str,
}

/// Body of `JobProgressUpdate`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct JobProgressUpdate {
    /// The project.
    pub project_id: ProjectId,
    /// The job.
    pub job_id: JobId,
    /// State of the job.
    pub state: String,
    /// What the runner is doing.
    pub phase: String,
    /// Units of the phase done.
    pub done: u64,
    /// Units of the phase in all.
    pub total: u64,
    /// Matches so far.
    pub matches: u64,
    /// Speed of the phase.
    pub rows_per_second: f64,
    /// Time left, when it can be told.
    pub eta_seconds: Option<f64>,
    /// The job has ended; this message is durable.
    pub terminal: bool,
}

/// Body of `PresenceDiff`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PresenceDiff {
    /// The project.
    pub project_id: ProjectId,
    /// One more than the last; a jump means a diff was missed: join again.
    pub rev: u64,
    /// Users who came.
    pub joins: Vec<String>,
    /// Users who went.
    pub leaves: Vec<String>,
    /// Connections in the room now.
    pub count: usize,
    /// The lists are a sample. The first diff without it after one with it names everybody in `joins`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}

/// Body of `ResyncRequired`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ResyncRequired<'a> {
    /// The project.
    pub project_id: ProjectId,
    /// `slow`, `restarted` or `history_replaced`.
    pub reason: &'a str,
}

/// Body of `Error`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErrorBody<'a> {
    /// What went wrong.
    pub code: ErrorCode,
    /// One sentence that names the place.
    pub message: &'a str,
    /// Whether the same message may succeed later.
    pub retryable: bool,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The limit that was reached, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<&'a str>,
    /// Who holds the claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<&'a str>,
}

impl<'a> ErrorBody<'a> {
    /// An error with nothing but its code and text.
    pub fn new(code: ErrorCode, message: &'a str) -> Self {
        Self { code, message, retryable: code.retryable(), retry_after_ms: None, limit: None, holder: None }
    }
}

impl DataUpdate<'_> {
    /// The message as the JSON member text that the store keeps: `"DataUpdate":{…}`.
    pub fn body(&self) -> String {
        member("DataUpdate", self)
    }
}

impl Notification<'_> {
    /// The message as the JSON member text that the store keeps: `"Notification":{…}`.
    pub fn body(&self) -> String {
        member("Notification", self)
    }
}

impl JobProgressUpdate {
    /// The message as the JSON member text that the store keeps: `"JobProgressUpdate":{…}`.
    pub fn body(&self) -> String {
        member("JobProgressUpdate", self)
    }
}

/// A complete frame with `message`.
pub fn encode(head: Head, message: &ServerMessage<'_>) -> Bytes {
    let mut out = start(head, None);
    // The message is an object with one member: its opening brace becomes the comma after the siblings, or the
    // frame's own brace when there are none.
    let joint = out.pop().expect("a frame starts with its brace");
    let at = out.len();
    serde_json::to_writer(&mut out, message).expect("these types have string keys and write to memory");
    out[at] = joint;
    frame::text_in_place(out)
}

/// The bare `"Pong"` that answers a bare `"Ping"`.
pub fn bare_pong() -> Bytes {
    frame::text(br#""Pong""#)
}

/// A complete frame with a durable event, `body` being its JSON member text.
pub fn durable(position: (&str, u64), ts_ms: i64, body: &str) -> Bytes {
    let mut out = start(Head { ts: Some(ts_ms), ..Head::default() }, Some(position));
    out.extend_from_slice(body.as_bytes());
    out.push(b'}');
    frame::text_in_place(out)
}

fn start(head: Head, position: Option<(&str, u64)>) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame::HEADROOM + 320);
    out.resize(frame::HEADROOM, 0);
    out.push(b'{');
    const TO_MEMORY: &str = "writing to memory cannot fail";
    if let Some((ep, off)) = position {
        out.extend_from_slice(br#""ep":"#);
        serde_json::to_writer(&mut out, ep).expect(TO_MEMORY);
        write!(out, r#","off":{off},"#).expect(TO_MEMORY);
    }
    if let Some(re) = head.re {
        write!(out, r#""re":{re},"#).expect(TO_MEMORY);
    }
    if let Some(ts) = head.ts {
        write!(out, r#""ts":{ts},"#).expect(TO_MEMORY);
    }
    if let Some(by) = head.by {
        write!(out, r#""by":"{by}","#).expect(TO_MEMORY);
    }
    if let Some(tr) = head.tr {
        write!(out, r#""tr":"{tr}","#).expect(TO_MEMORY);
    }
    out
}

fn member<T: Serialize>(name: &str, body: &T) -> String {
    let json = serde_json::to_string(body).expect("these types have string keys and write to memory");
    format!(r#""{name}":{json}"#)
}
