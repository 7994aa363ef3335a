//! What is told to rooms: committed events, words of the server, progress of jobs. Never waits, never fails its caller.
//!
//! Everything is encoded here, on the caller's thread. Easy to get wrong: an event that the hub can't take now is not lost
//! but noted, and read from the store later.
use super::{Realtime, encode};
use crate::actors::replicas::wire::Message;
use crate::actors::rooms::messages::{Announce, Progress, Publish};
use crate::actors::rooms::meters::Meters;
use crate::actors::rooms::room::Event;
use crate::actors::sockets::outbox::{Kind, RoomFrame};
use crate::cluster::Channel;
use crate::db::DurableEvent;
use crate::protocol::server::{Collaboration, Head, JobProgressUpdate};
use crate::protocol::{ServerMessage, Trace, server};
use std::time::{SystemTime, UNIX_EPOCH};

impl Realtime {
    fn meters(&self) -> &Meters {
        &self.0.base.shared.meters
    }

    /// Hand a committed event to the project's room. Never waits and never fails: when the hub can't take it now, it
    /// reads it from the store later. Encodes here, on the caller's thread.
    pub fn publish(&self, event: DurableEvent) {
        self.meters().published.increment(1);
        let mesh = &self.0.base.mesh;
        mesh.committed(event.project_id);
        let hub = self.running();
        if hub.is_none() && mesh.is_alone() {
            return;
        }
        let encoded = encode::encode(&event, self.limits().outbound_bytes);
        let DurableEvent { project_id: project, ep, .. } = event;
        if !mesh.is_alone() {
            let Event { off, ts_ms, ends, deletes, .. } = encoded;
            let message = Message::Event { ep: ep.clone(), off, ts_ms, ends, deletes };
            mesh.tell(Channel::Room(project), &message, &encoded.bytes);
        }
        let Some(hub) = hub else { return };
        let off = encoded.off;
        let publish = Publish { project, ep: ep.into(), event: encoded };
        if let Err(error) = hub.try_tell(publish) {
            log::warn!("project={project} off={off} left to the store: {}", error.code());
            self.meters().deferred.increment(1);
            self.0.base.note_missed(project);
        }
    }

    /// Says something to whoever is in the room now; nobody else ever hears of it.
    pub fn announce(&self, said: Collaboration<'_>, tr: Option<Trace>) {
        self.meters().said.increment(1);
        let (project, head) = (said.project_id, Head { tr, ..Head::default() });
        let bytes = server::encode(head, &ServerMessage::Collaboration(said));
        self.0.base.mesh.tell(Channel::Room(project), &Message::Said {}, &bytes);
        let Some(hub) = self.running() else { return };
        let announce = Announce { project, frame: RoomFrame { bytes, kind: Kind::Ephemeral } };
        if let Err(error) = hub.try_tell(announce) {
            log::warn!("project={project} an ephemeral publication was dropped: {}", error.code());
        }
    }

    /// Hand a job's progress to the project's room: at most four a second per job are sent, the newest is kept for
    /// those who join. A terminal update is durable and comes from the store through [`Realtime::publish`] instead.
    pub fn job_progress(&self, update: JobProgressUpdate) {
        let mesh = &self.0.base.mesh;
        let hub = self.running();
        if hub.is_none() && mesh.is_alone() {
            return;
        }
        let head = Head { ts: Some(unix_ms()), ..Head::default() };
        let bytes = server::encode(head, &ServerMessage::JobProgressUpdate(&update));
        let json = match serde_json::value::to_raw_value(&update) {
            Ok(json) => json.into(),
            Err(error) => return log::error!("job={} progress not encoded: {error}", update.job_id),
        };
        mesh.tell(Channel::Room(update.project_id), &Message::Progress { job: update.job_id }, &bytes);
        let Some(hub) = hub else { return };
        let progress = Progress { project: update.project_id, job: update.job_id, bytes, json };
        if hub.try_tell(progress).is_err() {
            self.meters().progress_dropped.increment(1);
        }
    }
}

fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
