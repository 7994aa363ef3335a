//! WebSocket frames as the server writes them: final, unmasked, complete bytes that every member may share.
//!
//! Reading frames is left to tungstenite. Easy to get wrong: the header's length depends on the payload's, so a
//! payload is written after [`HEADROOM`] spare bytes and the header is filled in from the right.
use bytes::Bytes;

/// Spare bytes in front of a payload, enough for the longest server header.
pub const HEADROOM: usize = 10;

const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

/// A text frame from a buffer whose first [`HEADROOM`] bytes are spare and whose rest is the payload.
///
/// # Panics
/// If the buffer is shorter than the headroom.
pub fn text_in_place(buffer: Vec<u8>) -> Bytes {
    finish(TEXT, buffer)
}

/// A text frame of `payload`, copied.
pub fn text(payload: &[u8]) -> Bytes {
    copied(TEXT, payload)
}

/// A binary frame of `payload`, copied.
pub fn binary(payload: &[u8]) -> Bytes {
    copied(BINARY, payload)
}

/// A ping with an empty payload.
pub fn ping() -> Bytes {
    Bytes::from_static(&[PING, 0])
}

/// A close frame; the reason is cut at 123 bytes.
pub fn close(code: u16, reason: &str) -> Bytes {
    let mut cut = reason.len().min(123);
    while !reason.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut payload = Vec::with_capacity(2 + cut);
    payload.extend_from_slice(&code.to_be_bytes());
    payload.extend_from_slice(&reason.as_bytes()[..cut]);
    copied(CLOSE, &payload)
}

/// Whether a frame built here is a text frame.
pub fn is_text(frame: &[u8]) -> bool {
    frame.first() == Some(&TEXT)
}

/// Whether this is one text frame as it is built here, all of it and nothing more. Its payload is not looked at.
pub fn is_whole_text(frame: &[u8]) -> bool {
    let length = match (frame.get(1), frame.get(2..)) {
        (Some(126), Some(rest)) => rest.first_chunk().map(|length| u64::from(u16::from_be_bytes(*length))),
        (Some(127), Some(rest)) => rest.first_chunk().map(|length| u64::from_be_bytes(*length)),
        (Some(short), _) => Some(u64::from(*short)),
        (None, _) => None,
    };
    is_text(frame) && length == Some(payload(frame).len() as u64)
}

/// Whether a frame built here is a close frame.
pub fn is_close(frame: &[u8]) -> bool {
    frame.first() == Some(&CLOSE)
}

/// Code and reason of a close frame built here; none for any other, or one without a code.
pub fn closing(frame: &[u8]) -> Option<(u16, &str)> {
    if !is_close(frame) {
        return None;
    }
    let (code, reason) = payload(frame).split_first_chunk::<2>()?;
    Some((u16::from_be_bytes(*code), std::str::from_utf8(reason).unwrap_or_default()))
}

/// The payload of a frame built here.
pub fn payload(frame: &[u8]) -> &[u8] {
    let start = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(start..).unwrap_or_default()
}

fn copied(first: u8, payload: &[u8]) -> Bytes {
    let mut buffer = Vec::with_capacity(HEADROOM + payload.len());
    buffer.resize(HEADROOM, 0);
    buffer.extend_from_slice(payload);
    finish(first, buffer)
}

fn finish(first: u8, mut buffer: Vec<u8>) -> Bytes {
    assert!(buffer.len() >= HEADROOM, "a frame buffer starts with its headroom");
    let length = buffer.len() - HEADROOM;
    let start = match length {
        0..=125 => {
            buffer[HEADROOM - 1] = length as u8;
            HEADROOM - 2
        }
        126..=65535 => {
            buffer[HEADROOM - 3] = 126;
            buffer[HEADROOM - 2..HEADROOM].copy_from_slice(&(length as u16).to_be_bytes());
            HEADROOM - 4
        }
        _ => {
            buffer[1] = 127;
            buffer[2..HEADROOM].copy_from_slice(&(length as u64).to_be_bytes());
            0
        }
    };
    buffer[start] = first;
    Bytes::from(buffer).slice(start..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_length_carries_its_payload() {
        for length in [0usize, 1, 125, 126, 65535, 65536] {
            let body = vec![b'x'; length];
            let frame = text(&body);
            assert_eq!(frame[0], TEXT);
            assert_eq!(payload(&frame), body, "length {length}");
            assert!(is_whole_text(&frame), "length {length}");
            assert!(!is_whole_text(&frame[..frame.len() - 1]), "length {length}, cut short");
            assert!(!is_whole_text(&[&frame[..], b"x"].concat()), "length {length}, and more");
        }
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let frame = close(4503, &"é".repeat(100));
        assert!(frame.len() <= 127);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }
}
