//! What a client says and what it gets for it: the protocol of one connection, whatever carries it.
//!
//! Reading and writing sockets is left to `socket` and the peer. Easy to get wrong: a request that the hub has taken
//! is answered through the shard, in its order; only what nobody else knows about is answered here.
use super::{handshake::Verify, rate::Bucket, socket::Listener};
use crate::{
    actors::hub::{
        Hub, Peer,
        messages::{Asker, ClaimByFrame, Join, Leave, Say},
        outbox::{Kind, RoomFrame},
    },
    protocol::{
        ClientMessage, CloseCode, ErrorCode, Head, ServerMessage,
        client::{self, Auth, Collaboration, JoinProject},
        ids::ProjectId,
        principal::{Action, Resource, authorise},
        server::{self, AuthSuccess, ErrorBody},
    },
    runtime::{Addr, SendError},
};
use std::{sync::Arc, time::Instant};

/// Malformed messages, less the good ones since, after which the connection is closed.
const MAX_OFFENCES: u8 = 10;
/// Messages refused for their rate, in a row, after which the connection is closed.
const MAX_REFUSED: u16 = 500;

/// One connection's side of the protocol.
pub struct Dialogue {
    peer: Arc<Peer>,
    hub: Addr<Hub>,
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
    /// The dialogue of `peer` with `hub`.
    pub fn new(peer: Arc<Peer>, hub: Addr<Hub>, verify: Verify) -> Self {
        let limits = &peer.shared().limits;
        let bucket = Bucket::new(limits.inbound_rate, limits.inbound_burst, Instant::now());
        let user = peer.principal().map_or_else(|| "".into(), |principal| principal.user_id.as_str().into());
        Self { peer, hub, verify, user, bucket, offences: 0, refused: 0 }
    }

    /// One message of the client. Answers go to the peer.
    pub fn obey(&mut self, text: &str) {
        if self.peer.is_closed() {
            return;
        }
        if let Err(wait) = self.bucket.take(Instant::now) {
            return self.too_fast(wait.as_millis() as u64 + 1);
        }
        self.refused = 0;
        let frame = match client::parse(text) {
            Ok(frame) => frame,
            Err(bad) => {
                self.error(bad.id, bad.code, &bad.text);
                return self.offend();
            }
        };
        self.offences = self.offences.saturating_sub(1);
        let id = frame.id;
        match frame.message {
            ClientMessage::Ping { bare: true } => self.peer.control(server::bare_pong()),
            ClientMessage::Ping { bare: false } => self.say(id, &ServerMessage::Pong {}),
            ClientMessage::Auth(auth) => self.authenticate(id, &auth),
            _ if self.peer.principal().is_none() => {
                self.error(id, ErrorCode::AuthError, "send Auth with a token first");
                self.offend();
            }
            ClientMessage::JoinProject(join) => self.join(id, join),
            ClientMessage::LeaveProject(leave) => {
                let asker = self.asker(id);
                self.asked(id, self.hub.try_tell(Leave { asker, project: leave.project_id }));
            }
            ClientMessage::Collaboration(said) => self.collaborate(id, &said),
        }
    }

    fn authenticate(&mut self, id: Option<u64>, auth: &Auth) {
        let verified = (self.verify)(&auth.token).filter(|principal| self.peer.authenticate(principal.clone()));
        let Some(principal) = verified else {
            metrics::counter!("tieout_rt_auth_total", "result" => "refused").increment(1);
            self.error(id, ErrorCode::AuthError, "this token is not valid here");
            return self.peer.close(CloseCode::Token, None);
        };
        metrics::counter!("tieout_rt_auth_total", "result" => "accepted").increment(1);
        self.user = principal.user_id.as_str().into();
        let conn = self.peer.id.to_string();
        self.say(id, &ServerMessage::AuthSuccess(AuthSuccess { user_id: &principal.user_id, role: "owner", conn }));
    }

    fn join(&mut self, id: Option<u64>, join: JoinProject) {
        if !self.may(id, Action::Read, join.project_id) {
            return;
        }
        let asker = self.asker(id);
        let join = Join { asker, project: join.project_id, since: join.since };
        self.asked(id, self.hub.try_tell(join));
    }

    fn collaborate(&mut self, id: Option<u64>, said: &Collaboration<'_>) {
        let project = said.project_id;
        if !self.may(id, Action::Write, project) {
            return;
        }
        let asker = self.asker(id);
        match (said.action.as_str(), &said.entity_id) {
            ("claim" | "release", None) => {
                self.error(id, ErrorCode::BadRequest, "Collaboration.entity_id: a claim needs one");
            }
            (action @ ("claim" | "release"), Some(entity)) => {
                let release = action == "release";
                let claim = ClaimByFrame { asker, project, entity_id: entity.clone(), release };
                self.asked(id, self.hub.try_tell(claim));
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
                    data: said.data,
                };
                let by = Some(self.peer.id);
                let bytes = server::encode(Head { by, ..Head::default() }, &ServerMessage::Collaboration(body.clone()));
                let ack = id.map(|_| {
                    body.data = None;
                    server::encode(Head { re: id, by, ts: None }, &ServerMessage::Collaboration(body))
                });
                metrics::counter!("tieout_rt_publish_total", "kind" => "collaboration").increment(1);
                let frame = RoomFrame { bytes, kind: Kind::Ephemeral };
                self.asked(id, self.hub.try_tell(Say { asker, project, frame, ack }));
            }
        }
    }

    fn may(&self, id: Option<u64>, action: Action, project: ProjectId) -> bool {
        let allowed = match self.peer.principal() {
            Some(principal) => authorise(principal, action, Resource::Project(project)),
            None => return false,
        };
        if let Err(forbidden) = &allowed {
            self.error(id, ErrorCode::Forbidden, &forbidden.to_string());
        }
        allowed.is_ok()
    }

    fn asker(&self, re: Option<u64>) -> Asker {
        Asker { conn: self.peer.id, shard: self.peer.shard, user: self.user.clone(), re }
    }

    /// Whether the hub took a request; its answer comes through the shard.
    fn asked<M>(&self, id: Option<u64>, sent: Result<(), SendError<M>>) {
        if sent.is_err() {
            self.error(id, ErrorCode::Unavailable, "the hub is busy or restarting, try again");
        }
    }

    fn too_fast(&mut self, retry_after_ms: u64) {
        metrics::counter!("tieout_rt_rate_limited_total").increment(1);
        self.refused += 1;
        if self.refused >= MAX_REFUSED {
            return self.peer.close(CloseCode::RateLimited, Some(retry_after_ms.max(1_000)));
        }
        let limits = &self.peer.shared().limits;
        let text = format!("{} messages a second, {} at once", limits.inbound_rate, limits.inbound_burst);
        let mut body = ErrorBody::new(ErrorCode::RateLimited, &text);
        body.retry_after_ms = Some(retry_after_ms);
        body.limit = Some("max_message_rate");
        self.say(None, &ServerMessage::Error(body));
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
