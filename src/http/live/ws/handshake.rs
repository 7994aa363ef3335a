//! From an HTTP request to a connection: checks, the 101 answer, the take-over of the socket.
//!
//! Host, origin and bearer header were checked before. Easy to get wrong: hyper may have read bytes past the request;
//! they belong to the first frames.
use super::dialogue::{Dialogue, welcome};
use super::socket::Socket;
use crate::actors::hub::{Admission, Place, Realtime, RealtimeError};
use crate::actors::sockets::users::Seat;
use crate::http::connection::wire::Wire;
use crate::protocol::principal::{BadToken, Grant};
use crate::protocol::server;
use crate::protocol::server::Head;
use axum::{body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper_util::rt::TokioIo;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::task::TaskTracker;

/// The subprotocol with siblings around messages.
pub const SUBPROTOCOL: &str = "tieout.v1+json";

/// Turns a token into what it proves.
pub type Verify = Arc<dyn Fn(&str) -> Result<Grant, BadToken> + Send + Sync>;

/// What the upgrade needs from the server.
#[derive(Clone)]
pub struct Door {
    /// The realtime layer.
    pub realtime: Realtime,
    /// Who owns the connections' tasks.
    pub tracker: TaskTracker,
    /// Turns the token of an `Auth` message into what it proves.
    pub verify: Verify,
}

/// Why there is no WebSocket.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The answer's status.
    pub status: StatusCode,
    /// Machine-readable.
    pub code: &'static str,
    /// One sentence.
    pub detail: String,
    /// The limit that was reached, by name.
    pub limit: Option<&'static str>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refused {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), limit: None, retry_after: None }
    }
}

impl From<RealtimeError> for Refused {
    fn from(error: RealtimeError) -> Self {
        let (code, limit, retry) = match &error {
            RealtimeError::Off => ("realtime_off", None, None),
            RealtimeError::Draining => ("draining", None, Some(2)),
            RealtimeError::Limit(name) => ("limit_exceeded", Some(*name), Some(5)),
            RealtimeError::Start(_) | RealtimeError::Threads(_) | RealtimeError::Unanswered { .. } => {
                ("realtime_unavailable", None, Some(1))
            }
        };
        let detail = error.to_string();
        let retry_after = retry.map(Duration::from_secs);
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code, detail, limit, retry_after }
    }
}

/// What is left to do once an upgrade's answer is on its way; an extension of that answer. Whoever serves the HTTP
/// connection runs it when that has ended, so that taking over the socket needs no task of its own.
#[derive(Clone)]
pub struct Upgrading(Arc<Mutex<Option<BoxFuture<'static, ()>>>>);

impl Upgrading {
    pub(super) fn new(rest: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Some(rest.boxed()))))
    }

    /// Take over the socket; nothing, the second time.
    pub async fn run(self) {
        let rest = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rest) = rest {
            rest.await;
        }
    }
}

/// Answer an upgrade; the answer carries [`Upgrading`]. `grant` is none when the client must send `Auth` first.
///
/// # Errors
/// [`Refused`] says what to answer instead.
pub async fn upgrade(request: &mut Request, grant: Option<Grant>, door: Door) -> Result<Response, Refused> {
    let accept = check(request)?;
    let admission = door.realtime.admit().await?;
    let known = match grant {
        Some(grant) => {
            let seat = door.realtime.seat(&grant.principal)?;
            Some((grant, seat))
        }
        None => None,
    };
    let subprotocol = offers(request.headers());
    let upgrading = hyper::upgrade::on(&mut *request);
    let upgrading = Upgrading::new(async move {
        match upgrading.await {
            Ok(upgraded) => match take_over(upgraded) {
                Some((stream, first)) => hand_over(stream, first, (known, admission), !subprotocol, door),
                None => log::error!("an upgraded connection is not plain TCP; it was dropped"),
            },
            Err(error) => log::debug!("an upgrade was not completed: {error}"),
        }
    });
    Ok(accepted(request.headers(), &accept, upgrading))
}

/// The 101 answer. A browser fails a connection whose subprotocol was not chosen.
pub(super) fn accepted(offered: &HeaderMap, accept: &str, upgrading: Upgrading) -> Response {
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .extension(upgrading)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    if offers(offered) {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL);
    }
    response.body(Body::empty()).expect("these headers are valid")
}

/// Who it is, when that is known, and its place among the connections.
type Came = (Option<(Grant, Seat)>, Admission);

fn hand_over(stream: TcpStream, first: Bytes, came: Came, bare: bool, door: Door) {
    let place = door.realtime.place();
    let stream = match stream.into_std() {
        Ok(stream) => stream,
        Err(error) => return log::error!("an upgraded connection was lost: {error}"),
    };
    // On its shard's thread, where it is read and written from now on.
    let (realtime, tracker) = (door.realtime.clone(), door.tracker.clone());
    realtime.run(
        place,
        tracker.track_future(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream, place, first, came, bare, &door).await,
                Err(error) => log::error!("an upgraded connection was lost: {error}"),
            }
        }),
    );
}

async fn serve(stream: TcpStream, place: Place, first: Bytes, came: Came, bare: bool, door: &Door) {
    let (reading, writing) = stream.into_split();
    let (known, admission) = came;
    let grant = known.as_ref().map(|(grant, _)| grant.clone());
    let peer = door.realtime.connect(place, writing, known, bare);
    drop(admission);
    if let Some(grant) = grant {
        // Unasked, and first of all: its `conn`, its role, and until when.
        peer.control(server::encode(Head::default(), &welcome(&peer, &grant, None)));
    }
    door.realtime.enlist(&peer);
    let dialogue = Dialogue::new(peer.clone(), door.realtime.requests(&peer), door.verify.clone());
    let session = Socket::new(peer.clone(), reading, &first, dialogue);
    // Even empty it keeps hyper's whole read buffer alive, 8 KiB for each connection.
    drop(first);
    session.await;
    door.realtime.disconnect(&peer);
}

/// The socket under hyper's layers, and what was read of it already. Whoever embeds [`upgrade`] may serve plain sockets.
pub(super) fn take_over(upgraded: hyper::upgrade::Upgraded) -> Option<(TcpStream, Bytes)> {
    let of_wire = unwrap::<Wire>(upgraded).map(|(wire, read)| (wire.into_inner(), read));
    of_wire.or_else(unwrap::<TcpStream>).ok()
}

/// As the connection was served: by either protocol, or by HTTP/1.1 alone.
fn unwrap<S>(upgraded: hyper::upgrade::Upgraded) -> Result<(S, Bytes), hyper::upgrade::Upgraded>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match hyper_util::server::conn::auto::upgrade::downcast::<TokioIo<S>>(upgraded) {
        Ok(parts) => Ok((parts.io.into_inner(), parts.read_buf)),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<S>>()?;
            Ok((parts.io.into_inner(), parts.read_buf))
        }
    }
}

/// Whether this is a WebSocket's opening handshake (RFC 6455, 4.2.1); gives `Sec-WebSocket-Accept`.
///
/// # Errors
/// [`Refused`] says what is wrong.
pub fn check(request: &Request) -> Result<String, Refused> {
    let headers = request.headers();
    let refuse = |detail: &str| Refused::new(StatusCode::BAD_REQUEST, "bad_request", detail);
    if request.version() != Version::HTTP_11 || request.method() != Method::GET {
        return Err(refuse("a WebSocket begins with GET over HTTP/1.1"));
    }
    if !has_token(headers, header::CONNECTION, "upgrade") || !has_token(headers, header::UPGRADE, "websocket") {
        let detail = "this is a WebSocket: ask with Connection: Upgrade and Upgrade: websocket";
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
        return Err(Refused::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", "only WebSocket version 13"));
    }
    match only(headers, &header::SEC_WEBSOCKET_KEY).filter(|key| is_16_bytes(key)) {
        Some(key) => Ok(derive_accept_key(key)),
        None => Err(refuse("Sec-WebSocket-Key must be there once, and be 16 bytes in base64")),
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
}

/// Whether this is base64 of 16 bytes: 22 letters of six bits, of which the last has four too many, and the filling.
fn is_16_bytes(key: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22].iter().all(letter)
        && matches!(key[21], b'A' | b'Q' | b'g' | b'w')
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let values = headers.get_all(name);
    let mut words = values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case(token))
}

fn offers(headers: &HeaderMap) -> bool {
    has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
}
