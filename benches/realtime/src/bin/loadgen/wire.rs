//! What is sent and looked for: handshake, frames, events with a time, a number and a room in them.
//!
//! Easy to get wrong: the marker must survive whatever envelope a server puts around an event.
pub const MARK: &[u8] = b"@T";
/// Hex digits after the mark: 16 of time, 8 of number, 4 of room.
pub const DIGITS: usize = 28;

/// Which server is spoken to.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Proto {
    /// The floor: the room is the path, a message is the event.
    Raw,
    /// Request and reply with the floor.
    RawAsk,
    /// Tieout.
    Tieout,
    /// Request and reply with Tieout's hub: claim and release.
    TieoutAsk,
    /// Tieout, and no room is joined.
    TieoutUpgrade,
    /// `POST` over plain HTTP: `/inc` of `examples/post_ask.rs`.
    PostInc,
}

impl Proto {
    /// Requests and responses, not WebSocket frames.
    pub fn is_http(self) -> bool {
        matches!(self, Self::PostInc)
    }
}

/// A masked client frame; the key is zero, so the payload stays readable and can be changed in place.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
    out
}

pub fn put_hex(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

pub fn get_hex(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |value, digit| {
        let nibble = if *digit <= b'9' { digit & 15 } else { (digit & 15) + 9 };
        value << 4 | u64::from(nibble)
    })
}

/// An event of `size` bytes for room number `room`, as a frame, and where its digits are.
pub fn event(proto: Proto, project: &str, room: usize, size: usize) -> (Vec<u8>, usize) {
    let mut event = b"{\"t\":\"@T".to_vec();
    event.extend_from_slice(&[b'0'; DIGITS]);
    let end = event.len();
    put_hex(&mut event[end - 4..], room as u64);
    event.extend_from_slice(b"\",\"p\":\"");
    event.resize(size.max(event.len() + 2) - 2, b'x');
    event.extend_from_slice(b"\"}");
    let payload = match proto {
        Proto::Raw | Proto::RawAsk | Proto::PostInc => event,
        Proto::Tieout | Proto::TieoutAsk | Proto::TieoutUpgrade => {
            let event = String::from_utf8_lossy(&event);
            format!("{{\"Collaboration\":{{\"project_id\":\"{project}\",\"action\":\"e\",\"data\":{event}}}}}")
                .into_bytes()
        }
    };
    let out = frame(1, &payload);
    let at = memchr::memmem::find(&out, MARK).map_or(0, |at| at + MARK.len());
    (out, at)
}

/// A request that keeps its connection.
fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Length of the response at the head of `bytes` once it is whole; an error unless it is a success.
pub fn response(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let whole = end + 4 + length.unwrap_or(0);
    if !head.starts_with("http/1.1 2") {
        return Err(head);
    }
    Ok((bytes.len() >= whole).then_some(whole))
}

/// Large frames that fill the queue of whoever does not read; nothing in them is looked for.
pub fn stuffing(project: &str) -> Vec<u8> {
    let data = "s".repeat(30_000);
    frame(
        1,
        format!("{{\"Collaboration\":{{\"project_id\":\"{project}\",\"action\":\"s\",\"data\":\"{data}\"}}}}")
            .as_bytes(),
    )
}

/// A request whose reply is awaited.
pub fn ask(proto: Proto, project: &str, index: usize, number: u64) -> Vec<u8> {
    match proto {
        Proto::Raw | Proto::RawAsk => frame(1, b"inc"),
        Proto::PostInc => post("/inc", ""),
        Proto::Tieout | Proto::TieoutAsk | Proto::TieoutUpgrade => {
            let body = format!("{{\"project_id\":\"{project}\",\"action\":\"claim\",\"entity_id\":\"e{index}\"}}");
            frame(1, format!("{{\"id\":{number},\"Collaboration\":{body}}}").as_bytes())
        }
    }
}

/// The upgrade request.
pub fn handshake(proto: Proto, port: u16, room: usize) -> Vec<u8> {
    let path = match proto {
        Proto::Raw => format!("/ws/r{room:04x}"),
        Proto::RawAsk => "/ask".to_owned(),
        _ => "/ws".to_owned(),
    };
    let subprotocol = match proto {
        Proto::Raw | Proto::RawAsk | Proto::PostInc => "",
        Proto::Tieout | Proto::TieoutAsk | Proto::TieoutUpgrade => "Sec-WebSocket-Protocol: tieout.v1+json\r\n",
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{subprotocol}\r\n"
    )
    .into_bytes()
}

/// What joins the room after the upgrade; nothing where the path does.
pub fn join(proto: Proto, project: &str) -> Option<Vec<u8>> {
    match proto {
        Proto::Raw | Proto::RawAsk | Proto::TieoutUpgrade | Proto::PostInc => None,
        Proto::Tieout | Proto::TieoutAsk => {
            Some(frame(1, format!("{{\"id\":1,\"JoinProject\":{{\"project_id\":\"{project}\"}}}}").as_bytes()))
        }
    }
}
