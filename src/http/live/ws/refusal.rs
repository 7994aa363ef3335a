//! An upgrade that is refused so that a browser learns why: the socket is opened, told an `Error` and a close code, and
//! gone.
//!
//! A browser shows a page nothing of an HTTP answer to an upgrade, only 1006. Easy to get wrong: whoever is refused has
//! proven nothing, so these sockets are counted, read a little and kept for a moment only.
use super::handshake::{Upgrading, accepted, take_over};
use crate::actors::hub::RefusalPlace;
use crate::protocol::server::{ErrorBody, Head};
use crate::protocol::{CloseCode, ErrorCode, ServerMessage, frame, server};
use axum::{extract::Request, response::Response};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// For the client's answer to the close frame.
const LINGER: Duration = Duration::from_secs(2);
/// Read of what the client has sent meanwhile; closing with more unread could cost it the close frame.
const MAX_READ: usize = 16 * 1024;

/// Why a socket is closed as soon as it is open.
#[derive(Clone, Copy, Debug)]
pub struct Closing {
    /// The code.
    pub code: CloseCode,
    /// When to come back, if unchanged.
    pub retry_ms: Option<u64>,
    /// The limit that was reached, by name.
    pub limit: Option<&'static str>,
}

/// Opens the socket that [`super::check`] has found sound, to close it with that reason; `text` is for people.
pub fn close_at_once(
    request: &mut Request,
    accept: &str,
    closing: Closing,
    text: &str,
    place: RefusalPlace,
) -> Response {
    let last_words = last_words(closing, text);
    metrics::counter!("tieout_rt_close_total", "code" => closing.code.name()).increment(1);
    let upgrading = hyper::upgrade::on(&mut *request);
    let rest = Upgrading::new(async move {
        let _place = place;
        let Some((stream, _)) = upgrading.await.ok().and_then(take_over) else { return };
        if timeout(LINGER, tell(stream, &last_words)).await.is_err() {
            log::debug!("a refused socket did not answer its close frame");
        }
    });
    accepted(request.headers(), accept, rest)
}

/// An `Error` with what the code can't say, and the close frame.
fn last_words(Closing { code, retry_ms, limit }: Closing, text: &str) -> Vec<u8> {
    let error = match code {
        CloseCode::Token => ErrorCode::AuthError,
        CloseCode::ConnectionLimit => ErrorCode::LimitExceeded,
        _ => ErrorCode::Unavailable,
    };
    let mut body = ErrorBody::new(error, text);
    (body.retryable, body.retry_after_ms, body.limit) = (retry_ms.is_some(), retry_ms, limit);
    let error = server::encode(Head::default(), &ServerMessage::Error(body));
    [&error[..], &frame::close(code.number(), &code.reason(retry_ms))].concat()
}

async fn tell(mut stream: TcpStream, last_words: &[u8]) {
    if stream.write_all(last_words).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let (mut buffer, mut read) = ([0; 1024], 0);
    while let Ok(some) = stream.read(&mut buffer).await {
        read += some;
        if some == 0 || read > MAX_READ {
            return;
        }
    }
}
