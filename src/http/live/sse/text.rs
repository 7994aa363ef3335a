//! A frame as a server-sent event: its payload as `data`, the client's positions as `id`.
//!
//! Pings become comments; the close frame becomes `retry` and an event of the type `close`. Easy to get wrong: a client
//! that comes back with an id gets what follows it, so an id may only ever name what was sent before it; `ProjectJoined`
//! tells where the client will be once it has what it missed, and is not believed for that reason.
use crate::protocol::{client::Position, frame, ids::ProjectId, positions::Positions};
use serde::Deserialize;
use std::{borrow::Cow, io::Write};

/// Writes events and keeps the positions.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    positions: Positions,
}

#[derive(Deserialize)]
struct Probe<'a> {
    #[serde(borrow)]
    ep: Option<Cow<'a, str>>,
    off: Option<u64>,
    #[serde(rename = "ProjectJoined")]
    joined: Option<Joined>,
    #[serde(rename = "ProjectLeft")]
    left: Option<Of>,
    #[serde(rename = "DataUpdate", alias = "Notification", alias = "JobProgressUpdate")]
    durable: Option<Of>,
}

#[derive(Deserialize)]
struct Joined {
    project_id: ProjectId,
    ep: String,
    off: u64,
    recovered: bool,
}

#[derive(Deserialize)]
struct Of {
    project_id: ProjectId,
}

impl Encoder {
    /// An encoder for a client that is here already.
    pub(super) fn new(positions: Positions) -> Self {
        Self { positions }
    }

    /// The client asks to join `project` from there.
    pub(super) fn since(&mut self, project: ProjectId, position: Position) {
        self.positions.0.insert(project, position);
    }

    /// Appends the frame as an event. True when it was the close frame, after which there is nothing.
    pub(super) fn encode(&mut self, whole: &[u8], out: &mut Vec<u8>) -> bool {
        let payload = frame::payload(whole);
        if frame::is_text(whole) {
            if self.moved(payload) {
                writeln!(out, "id: {}", self.positions).expect(TO_MEMORY);
            }
            // A client's own JSON goes through untouched, line ends included.
            for line in payload.split(|byte| matches!(byte, b'\n' | b'\r')) {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(line);
                out.push(b'\n');
            }
            out.push(b'\n');
            return false;
        }
        let Some((code, reason)) = frame::closing(whole) else {
            out.extend_from_slice(b":\n\n");
            return false;
        };
        if let Some(ms) = retry_ms(reason) {
            writeln!(out, "retry: {ms}").expect(TO_MEMORY);
        }
        let reason = if reason.is_empty() { "null" } else { reason };
        write!(out, "event: close\ndata: {{\"code\":{code},\"reason\":{reason}}}\n\n").expect(TO_MEMORY);
        true
    }

    /// Takes over what the frame says of a position; whether it said something.
    fn moved(&mut self, payload: &[u8]) -> bool {
        // Most frames have neither; they are not parsed.
        let head = &payload[..payload.len().min(64)];
        let durable = head.starts_with(br#"{"ep":"#);
        if !durable && memchr::memmem::find(head, b"\"Project").is_none() {
            return false;
        }
        let Ok(probe) = serde_json::from_slice::<Probe<'_>>(payload) else { return false };
        let positions = &mut self.positions.0;
        match probe {
            Probe { joined: Some(Joined { project_id, ep, off, recovered }), .. } => {
                // A known position of this history stays: what follows it comes next, each event with its own. Without
                // one the client begins here.
                let follows = recovered && positions.get(&project_id).is_some_and(|known| known.ep == ep);
                if !follows {
                    positions.insert(project_id, Position { ep, off });
                }
                true
            }
            Probe { left: Some(Of { project_id }), .. } => positions.remove(&project_id).is_some(),
            Probe { ep: Some(ep), off: Some(off), durable: Some(Of { project_id }), .. } => {
                positions.insert(project_id, Position { ep: ep.into_owned(), off });
                true
            }
            _ => false,
        }
    }
}

const TO_MEMORY: &str = "writing to memory cannot fail";

fn retry_ms(reason: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Reason {
        retry_ms: Option<u64>,
    }
    serde_json::from_str::<Reason>(reason).ok()?.retry_ms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{
        CloseCode, Head, ServerMessage,
        server::{self, Notification, Presence, ProjectJoined, ProjectLeft},
    };

    fn event(encoder: &mut Encoder, frame: &[u8]) -> String {
        let mut out = Vec::new();
        encoder.encode(frame, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn joined(project_id: ProjectId, off: u64, recovered: bool) -> bytes::Bytes {
        let body = ProjectJoined {
            project_id,
            ep: "k3",
            off,
            recovered,
            role: "viewer",
            presence: &Presence::default(),
            jobs: Vec::new(),
            claims: &[],
            degraded: false,
        };
        server::encode(Head::reply(Some(1)), &ServerMessage::ProjectJoined(body))
    }

    #[test]
    fn an_id_never_runs_ahead_of_what_was_sent() {
        let project = ProjectId::generate();
        let plain = project.0.simple();
        let mut encoder = Encoder::default();
        let at = |off: u64| format!("id: {plain}~k3~{off}\n");
        assert!(event(&mut encoder, &joined(project, 9, false)).starts_with(&at(9)), "a snapshot is read at 9");
        encoder.since(project, Position { ep: "k3".into(), off: 5 });
        assert!(event(&mut encoder, &joined(project, 9, true)).starts_with(&at(5)), "6 to 9 are still to come");
        let body = Notification { project_id: project, level: "info", message: "m" }.body();
        let told = event(&mut encoder, &server::durable(("k3", 6), 77, &body));
        assert!(told.starts_with(&at(6)) && told.contains("data: {\"ep\":\"k3\",\"off\":6"), "{told}");
        let other = ProjectId::generate();
        let both = event(&mut encoder, &joined(other, 2, false));
        assert_eq!(both.lines().next().unwrap().matches('~').count(), 4, "{both}");
        let left = server::encode(
            Head::default(),
            &ServerMessage::ProjectLeft(ProjectLeft { project_id: other, reason: "left" }),
        );
        assert!(event(&mut encoder, &left).starts_with(&at(6)));
        let pong = event(&mut encoder, &server::encode(Head::default(), &ServerMessage::Pong {}));
        assert_eq!(pong, "data: {\"Pong\":{}}\n\n", "no position, no id");
    }

    #[test]
    fn line_ends_pings_and_the_close_frame_are_told_as_events() {
        let mut encoder = Encoder::default();
        assert_eq!(event(&mut encoder, &frame::text(b"{\"A\":\n1}")), "data: {\"A\":\ndata: 1}\n\n");
        assert_eq!(event(&mut encoder, &frame::ping()), ":\n\n");
        let mut out = Vec::new();
        let close = frame::close(CloseCode::Draining.number(), &CloseCode::Draining.reason(Some(7_312)));
        assert!(encoder.encode(&close, &mut out));
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "retry: 7312\nevent: close\ndata: {\"code\":4503,\"reason\":{\"c\":\"DRAIN\",\"retry_ms\":7312}}\n\n"
        );
    }
}
