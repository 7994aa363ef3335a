//! The task that hears the others and hands to the hub, or does, what they say.
//!
//! Deciding is the hub's. Easy to get wrong: an event that the hub can't take now is noted, and read from the store
//! later; anything else is dropped and counted, for it comes again or is not missed.
use super::asking::Said;
use super::comparing::crashed;
use super::wire::Message;
use crate::actors::hub::Hub;
use crate::actors::hub::actor::Base;
use crate::actors::rooms::messages::{Announce, Beat, FromReplica, Progress, Publish, Revoke};
use crate::actors::rooms::room::Event;
use crate::actors::sockets::outbox::{Kind, RoomFrame};
use crate::cluster::{Channel, Incoming};
use crate::protocol::ids::{JobId, ProjectId};
use crate::protocol::{CloseCode, frame};
use bytes::Bytes;
use serde_json::value::RawValue;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};
use tokio_util::sync::CancellationToken;

/// Messages handled before the task lets others run.
const SLICE: usize = 64;

/// Hear the others until `stop`.
pub(in crate::actors) async fn receive(base: Arc<Base>, stop: CancellationToken) {
    let Some(mut incoming) = base.mesh.relay.incoming() else {
        return log::error!("somebody else listens to the relay: this replica hears nothing");
    };
    let mut some = Vec::with_capacity(SLICE);
    while let Some(many) = stop.run_until_cancelled(incoming.recv_many(&mut some, SLICE)).await
        && many > 0
    {
        for message in some.drain(..) {
            // What clients say elsewhere is obeyed in here: one word that makes it panic costs that word only.
            let heard = catch_unwind(AssertUnwindSafe(|| hear(&base, &message)));
            let (kind, result) = heard.unwrap_or_else(|panic| {
                crashed("hearing another replica", &*panic);
                ("panicked", DROPPED)
            });
            metrics::counter!("tieout_rt_remote_total", "kind" => kind, "result" => result).increment(1);
        }
        tokio::task::yield_now().await;
    }
}

const TAKEN: &str = "taken";
const DROPPED: &str = "dropped";

/// What it was and what became of it.
fn hear(base: &Arc<Base>, incoming: &Incoming) -> (&'static str, &'static str) {
    let Some((message, frame)) = Message::decode(&incoming.payload) else {
        log::debug!("from={} bytes={} a message could not be read", incoming.from, incoming.payload.len());
        return ("unreadable", DROPPED);
    };
    let kind = message.kind();
    let taken = match (incoming.channel, message) {
        (Channel::Room(project), message @ (Message::Event { .. } | Message::Said {} | Message::Progress { .. })) => {
            about_room(base, project, message, frame)
        }
        (Channel::All | Channel::One(_), Message::Expel { project, user_id, id }) => {
            let (expels, from) = (&base.mesh.expels, &incoming.from);
            let taken = !expels.is_new(from, id) || expel(base, project, &user_id);
            if taken {
                expels.done(from, id);
                base.mesh.tell(Channel::One(from.mark()), &Message::Expelled { id }, &[]);
            }
            taken
        }
        (Channel::One(_), Message::Expelled { id }) => {
            base.mesh.expels.confirm(&incoming.from, id);
            true
        }
        (Channel::All, Message::Missed {}) => {
            base.mesh.note_missed();
            true
        }
        (Channel::One(_), Message::Ask { id, question }) => {
            let answer = match base.mesh.asks.answer(&question) {
                Said::Answer(answer) => Some(answer),
                Said::NotMine => None,
                // Its asker will not know, which is the truth.
                Said::Nothing => return (kind, DROPPED),
            };
            base.mesh.tell(Channel::One(incoming.from.mark()), &Message::Answer { id, answer }, &[]);
            true
        }
        (Channel::One(_), Message::Answer { id, answer }) => {
            base.mesh.asks.answered(&incoming.from, id, answer);
            true
        }
        (channel, message) => {
            note_life(base, incoming, &message);
            let project = match channel {
                Channel::Room(project) => Some(project),
                Channel::All | Channel::One(_) => None,
            };
            tell(base, FromReplica { from: incoming.from.clone(), project, message })
        }
    };
    (kind, if taken { TAKEN } else { DROPPED })
}

/// Who lives is waited for when something is asked. A new one is shown at once that this replica lives.
fn note_life(base: &Base, incoming: &Incoming, message: &Message) {
    if let Message::Goodbye {} = message {
        base.mesh.asks.gone(&incoming.from);
        base.mesh.expels.gone(&incoming.from);
    }
    let is_new = matches!(message, Message::Beat { .. }) && base.mesh.asks.lives(&incoming.from, &base.mesh.limits);
    if !is_new {
        return;
    }
    base.mesh.expel_again();
    if base.mesh.may_greet() && !tell(base, Beat) {
        base.mesh.tell(Channel::All, &Message::Beat { part: 0, rooms: Vec::new() }, &[]);
    }
}

fn about_room(base: &Base, project: ProjectId, message: Message, frame: Bytes) -> bool {
    match message {
        Message::Event { ep, off, ts_ms, ends, deletes } => {
            let event = Event { off, ts_ms, bytes: frame, ends, deletes };
            let taken = tell(base, Publish { project, ep: ep.into(), event });
            if !taken {
                base.note_missed(project);
            }
            taken
        }
        Message::Said {} => tell(base, Announce { project, frame: RoomFrame { bytes: frame, kind: Kind::Ephemeral } }),
        Message::Progress { job } => match progress(project, job, frame) {
            Some(progress) => tell(base, progress),
            None => false,
        },
        _ => false,
    }
}

fn tell<M>(base: &Base, message: M) -> bool
where
    Hub: actix::Handler<M>,
    M: actix::Message<Result: Send> + Send + 'static,
    <Hub as actix::Handler<M>>::Result: 'static,
{
    base.addr.get().is_some_and(|hub| hub.try_tell(message).is_ok())
}

/// The message's body stands in its frame.
fn progress(project: ProjectId, job: JobId, bytes: Bytes) -> Option<Progress> {
    const KEY: &[u8] = br#""JobProgressUpdate":"#;
    let payload = frame::payload(&bytes);
    let from = memchr::memmem::find(payload, KEY)? + KEY.len();
    let json = payload.get(from..payload.len().checked_sub(1)?)?;
    let json: Box<RawValue> = serde_json::from_slice(json).ok()?;
    Some(Progress { project, job, json: json.into(), bytes })
}

/// As `Realtime::revoke` and `Realtime::disconnect_user` do it here.
fn expel(base: &Base, project: Option<ProjectId>, user: &str) -> bool {
    if project.is_none() {
        base.shared.users.peers(user).iter().for_each(|peer| peer.close(CloseCode::Forbidden, None));
    }
    base.addr.get().is_none() || tell(base, Revoke { project, user: user.into() })
}
