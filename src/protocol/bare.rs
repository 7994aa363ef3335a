//! The bare form of a frame: the message alone, without the siblings that came with the subprotocol.
//!
//! Clients of the original protocol get these. A room's frame is encoded once with its siblings; the bare copy is cut out
//! of it, once per shard and only where somebody needs it. Easy to get wrong: this reads only frames that `server`
//! encoded, whose siblings are strings and numbers in front of the one message; anything else is left as it is.
use super::frame;
use bytes::Bytes;

/// The frame without siblings; the same bytes when it has none.
pub fn bare(whole: &Bytes) -> Bytes {
    let payload = frame::payload(whole);
    match message_at(payload) {
        Some(at) if frame::is_text(whole) && at > 1 => {
            let mut buffer = Vec::with_capacity(frame::HEADROOM + 1 + payload.len() - at);
            buffer.resize(frame::HEADROOM, 0);
            buffer.push(b'{');
            buffer.extend_from_slice(&payload[at..]);
            frame::text_in_place(buffer)
        }
        _ => whole.clone(),
    }
}

/// Where the first member whose name is a message begins.
fn message_at(payload: &[u8]) -> Option<usize> {
    let mut at = 1;
    if payload.first() != Some(&b'{') {
        return None;
    }
    loop {
        if payload.get(at) != Some(&b'"') {
            return None;
        }
        if payload.get(at + 1)?.is_ascii_uppercase() {
            return Some(at);
        }
        let colon = string_end(payload, at)?;
        let value = colon + 1;
        at = match payload.get(value)? {
            b'"' => string_end(payload, value)?,
            _ => value + payload[value..].iter().position(|byte| *byte == b',')?,
        };
        // On the comma.
        at += 1;
    }
}

/// The place after the string that begins at `start`.
fn string_end(payload: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match payload.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{ConnId, ProjectId},
        server::{self, Head, ServerMessage},
    };

    fn text(frame: &Bytes) -> &str {
        std::str::from_utf8(frame::payload(frame)).unwrap()
    }

    #[test]
    fn every_sibling_is_cut_and_the_message_stays_as_it_was() {
        let body = server::Notification {
            project_id: ProjectId::generate(),
            level: "info",
            message: "{\"off\":1,\"Evil\":{}} \\ \"",
        };
        let frame = server::durable(("k\"3\\,Fake", 1851), 1_767_225_600_123, &body.body());
        assert!(text(&frame).contains("1851"));
        assert_eq!(text(&bare(&frame)), format!("{{{}}}", body.body()));
        let head = Head {
            re: Some(7),
            ts: Some(5),
            by: Some(ConnId(91)),
            tr: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().ok(),
        };
        let frame = server::encode(head, &ServerMessage::Pong {});
        assert_eq!(text(&bare(&frame)), r#"{"Pong":{}}"#);
    }

    #[test]
    fn what_has_no_siblings_is_shared() {
        for frame in [
            server::encode(Head::default(), &ServerMessage::Pong {}),
            server::bare_pong(),
            frame::ping(),
            frame::close(4503, r#"{"c":"DRAIN","Retry":1}"#),
        ] {
            let same = bare(&frame);
            assert_eq!((same.as_ptr(), same.len()), (frame.as_ptr(), frame.len()));
        }
    }
}
