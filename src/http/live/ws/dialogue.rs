//! What a client says and what it gets for it: the protocol of one connection, whatever carries it.
//!
//! Reading and writing sockets is left to `socket` and the peer. Easy to get wrong: a request that the hub has taken
//! is answered through the shard, in its order; only what nobody else knows about is answered here.
use super::handshake::Verify;
use super::rate::Bucket;
use super::socket::Listener;
use crate::actors::rooms::messages::{Asker, ClaimByFrame, Join, Leave, Request, Say};
use crate::actors::sockets::Peer;
use crate::actors::sockets::outbox::{Kind, RoomFrame};
use crate::actors::sockets::queue::Queue;
use crate::protocol::client::{Auth, Collaboration, JoinProject};
use crate::protocol::ids::ProjectId;
use crate::protocol::principal::{Action, BadToken, Grant, Principal, Resource};
use crate::protocol::server::{AuthSuccess, ErrorBody};
use crate::protocol::{ClientMessage, CloseCode, ErrorCode, Head, ServerMessage, Trace, client, server};
use std::{
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Malformed messages, less the good ones since, after which the connection is closed.
const MAX_OFFENCES: u8 = 10;
/// Messages refused for their rate, in a row, after which the connection is closed.
const MAX_REFUSED: u16 = 500;

/// A client that sends `id` waits for `re`, which it would never get.
const ONLY_BARE: &str = "id, tr: without the subprotocol tieout.v1+json a frame is a bare message";

/// One connection's side of the protocol.
pub struct Dialogue {
    peer: Arc<Peer>,
    requests: Arc<Queue>,
    verify: Verify,
    user: Arc<str>,
    bucket: Bucket,
    offences: u8,
    refused: u16,
}

impl Listener for Dialogue {
    fn text(&mut self, text: &str) {
        self.obey(text);
    }

    fn binary(&mut self, _: &[u8]) {
        self.error(None, ErrorCode::InvalidFormat, "binary: this protocol has text frames only");
        self.offend();
    }

    fn longest(&self) -> usize {
        let limits = &self.peer.shared().limits;
        if self.peer.principal().is_some() { limits.inbound_bytes } else { limits.unauthenticated_bytes }
    }
}

impl Dialogue {
    /// The dialogue of `peer`, whose requests to the hub go to `requests`.
    pub fn new(peer: Arc<Peer>, requests: Arc<Queue>, verify: Verify) -> Self {
        let limits = &peer.shared().limits;
        let bucket = Bucket::new(limits.inbound_rate, limits.inbound_burst, Instant::now());
        let user = peer.principal().map_or_else(|| "".into(), |principal| principal.user_id.as_str().into());
        Self { peer, requests, verify, user, bucket, offences: 0, refused: 0 }
    }

    /// One message of the client. Answers go to the peer.
    pub fn obey(&mut self, text: &str) {
        if self.peer.is_closed() {
            return;
        }
        if let Err(wait) = self.bucket.take(Instant::now()) {
            return self.too_fast(client::request_number(text), wait.as_millis() as u64 + 1);
        }
        self.refused = 0;
        let frame = match client::parse(text) {
            Ok(frame) => frame,
            Err(bad) => {
                self.error(bad.id, bad.code, &bad.text);
                return self.offend();
            }
        };
        let id = frame.id;
        if self.peer.is_bare() && (id.is_some() || frame.trace.is_some()) {
            self.error(None, ErrorCode::InvalidFormat, ONLY_BARE);
            return self.offend();
        }
        self.offences = self.offences.saturating_sub(1);
        if let Some(trace) = frame.trace {
            log::debug!("message conn={} user={} trace={trace}", self.peer.id, self.user);
        }
        match frame.message {
            ClientMessage::Ping { bare: true } => self.peer.control(server::bare_pong()),
            ClientMessage::Ping { bare: false } => self.say(id, &ServerMessage::Pong {}),
            ClientMessage::Auth(auth) => self.authenticate(id, &auth),
            _ if self.peer.principal().is_none() => {
                self.error(id, ErrorCode::AuthError, "send Auth with a token first");
                self.offend();
            }
            // What was joined goes on until the grace ends; nothing new is done for a lapsed proof.
            _ if self.lapsed() => {
                self.error(
                    id,
                    ErrorCode::TokenExpired,
                    "the token of this connection has expired: send Auth with a new one",
                );
            }
            ClientMessage::JoinProject(join) => self.join(id, join),
            ClientMessage::LeaveProject(leave) => {
                let Some(asker) = self.asker(id) else { return };
                self.ask(Request::Leave(Leave { asker, project: leave.project_id }));
            }
            ClientMessage::Collaboration(said) => self.collaborate(id, frame.trace, &said),
        }
    }

    /// The first proof of who this is, or a newer one of the same user. Another user's ends the connection: what was
    /// joined and queued is not theirs. A bad one ends it only when there is no good one yet.
    fn authenticate(&mut self, id: Option<u64>, auth: &Auth) {
        let (code, text, close) = match (self.verify)(&auth.token) {
            Ok(grant) if self.peer.authenticate(&grant) => {
                if !self.sit(id, &grant.principal) {
                    return count_auth("refused");
                }
                count_auth("accepted");
                self.user = grant.principal.user_id.as_str().into();
                return self.peer.control(server::encode(Head::reply(id), &welcome(&self.peer, &grant, None)));
            }
            Ok(_) => {
                let text = "this connection is another user's: open a new one".to_owned();
                (ErrorCode::AuthError, text, Some(CloseCode::Forbidden))
            }
            Err(bad) => {
                let code = match bad {
                    BadToken::Expired { .. } => ErrorCode::TokenExpired,
                    BadToken::Invalid(_) => ErrorCode::AuthError,
                };
                (code, bad.to_string(), self.peer.principal().is_none().then_some(CloseCode::Token))
            }
        };
        count_auth("refused");
        self.error(id, code, &text);
        match close {
            Some(close) => self.peer.close(close, None),
            None => self.offend(),
        }
    }

    /// This connection counts among its user's from the first proof on. False, and it is closed, when there are too many.
    fn sit(&self, id: Option<u64>, principal: &Principal) -> bool {
        let shared = self.peer.shared();
        if self.peer.is_seated() {
            return true;
        }
        match shared.users.seat(principal, shared.limits.connections_per_user) {
            Some(seat) => {
                self.peer.sit(seat);
                true
            }
            None => {
                self.limit(id, "connections_per_user", "this user has as many connections as it may");
                self.peer.close(CloseCode::ConnectionLimit, None);
                false
            }
        }
    }

    fn lapsed(&self) -> bool {
        self.peer.expires_at_ms().is_some_and(|at| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
            now >= at
        })
    }

    /// Joins a room, as `JoinProject` does.
    pub fn join(&mut self, id: Option<u64>, join: JoinProject) {
        if !self.may(id, Action::Read, join.project_id) {
            return;
        }
        let Some(asker) = self.asker(id) else { return };
        self.ask(Request::Join(Join { asker, project: join.project_id, since: join.since }));
    }

    fn collaborate(&mut self, id: Option<u64>, tr: Option<Trace>, said: &Collaboration<'_>) {
        let project = said.project_id;
        if !self.may(id, Action::Review, project) {
            return;
        }
        let Some(asker) = self.asker(id) else { return };
        match (said.action.as_str(), &said.entity_id) {
            ("claim" | "release", None) => {
                self.error(id, ErrorCode::BadRequest, "Collaboration.entity_id: a claim needs one");
            }
            (action @ ("claim" | "release"), Some(entity)) => {
                let release = action == "release";
                let claim = ClaimByFrame { asker, project, entity_id: entity.clone(), release };
                self.ask(Request::Claim(claim));
            }
            ("claimed" | "released", _) => {
                self.error(id, ErrorCode::BadRequest, "Collaboration.action: only the server says that");
            }
            (action, entity) => {
                let mut body = server::Collaboration {
                    project_id: project,
                    action,
                    entity_id: entity.as_deref(),
                    user_id: &self.user,
                    expires_at_ms: None,
                    fence: None,
                    data: said.data,
                };
                let by = Some(self.peer.id);
                let bytes =
                    server::encode(Head { by, tr, ..Head::default() }, &ServerMessage::Collaboration(body.clone()));
                let ack = id.map(|_| {
                    body.data = None;
                    server::encode(Head { re: id, by, ..Head::default() }, &ServerMessage::Collaboration(body))
                });
                self.peer.shared().meters.said.increment(1);
                let frame = RoomFrame { bytes, kind: Kind::Ephemeral };
                self.ask(Request::Say(Say { asker, project, frame, ack }));
            }
        }
    }

    fn may(&self, id: Option<u64>, action: Action, project: ProjectId) -> bool {
        let allowed = self.peer.may(action, Resource::Project(project));
        if let Err(forbidden) = &allowed {
            self.error(id, ErrorCode::Forbidden, &forbidden.to_string());
        }
        allowed.is_ok()
    }

    /// This connection as it asks the hub; none when too many of its requests are unanswered, which it is told.
    fn asker(&self, re: Option<u64>) -> Option<Asker> {
        let Some(pending) = self.peer.ask() else {
            self.limit(re, "pending_requests", "too many requests are unanswered, wait for some");
            return None;
        };
        Some(Asker { conn: self.peer.id, shard: self.peer.shard, user: self.user.clone(), re, pending })
    }

    fn limit(&self, id: Option<u64>, limit: &'static str, text: &str) {
        let mut body = ErrorBody::new(ErrorCode::LimitExceeded, text);
        body.limit = Some(limit);
        body.retryable = true;
        self.say(id, &ServerMessage::Error(body));
    }

    /// Ask the hub; its answer comes through the shard.
    fn ask(&self, request: Request) {
        let id = request.asker().re;
        if !self.requests.request(request) {
            self.error(id, ErrorCode::Unavailable, "the hub is busy or restarting, try again");
        }
    }

    fn too_fast(&mut self, id: Option<u64>, retry_after_ms: u64) {
        self.peer.shared().meters.rate_limited.increment(1);
        self.refused += 1;
        if self.refused >= MAX_REFUSED {
            return self.peer.close(CloseCode::RateLimited, Some(retry_after_ms.max(1_000)));
        }
        let limits = &self.peer.shared().limits;
        let text = format!("{} messages a second, {} at once", limits.inbound_rate, limits.inbound_burst);
        let mut body = ErrorBody::new(ErrorCode::RateLimited, &text);
        body.retry_after_ms = Some(retry_after_ms);
        body.limit = Some("max_message_rate");
        self.say(id, &ServerMessage::Error(body));
    }

    fn offend(&mut self) {
        self.offences += 1;
        if self.offences >= MAX_OFFENCES {
            self.peer.close(CloseCode::BadRequests, None);
        }
    }

    fn error(&self, id: Option<u64>, code: ErrorCode, text: &str) {
        self.say(id, &ServerMessage::Error(ErrorBody::new(code, text)));
    }

    fn say(&self, id: Option<u64>, message: &ServerMessage<'_>) {
        self.peer.control(server::encode(Head::reply(id), message));
    }
}

/// Who the connection is and what it may, as the server sees it; `key` is an event stream's.
pub(in crate::http) fn welcome<'a>(peer: &Peer, grant: &'a Grant, key: Option<&'a str>) -> ServerMessage<'a> {
    ServerMessage::AuthSuccess(AuthSuccess {
        user_id: &grant.principal.user_id,
        role: grant.principal.role.name(),
        conn: peer.id.to_string(),
        expires_at_ms: grant.expires_at_ms,
        key,
    })
}

fn count_auth(result: &'static str) {
    metrics::counter!("tieout_rt_auth_total", "result" => result).increment(1);
}
