//! One event stream: the task that takes a connection's frames and feeds the response.
//!
//! Bounds, lanes and the steps against slow readers are the peer's outbox, as for a WebSocket: while the response takes
//! nothing, frames wait there. Easy to get wrong: hyper does not ask a body for more while the client reads nothing, so a
//! dead reader is never noticed from inside the body; this task sees it and cuts it off.
use super::registry::{Stream, Streams};
use super::text::Encoder;
use crate::actors::hub::Realtime;
use crate::actors::sockets::Peer;
use crate::actors::sockets::users::Seat;
use crate::http::connection::streams::Cut;
use crate::http::live::ws::{Dialogue, Verify, welcome};
use crate::protocol::client::JoinProject;
use crate::protocol::ids::ProjectId;
use crate::protocol::positions::Positions;
use crate::protocol::principal::Grant;
use crate::protocol::server;
use crate::protocol::server::Head;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{Arc, PoisonError},
};
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

/// Bytes of frames taken for one chunk of the response.
const CHUNK_BYTES: usize = 32 * 1024;
/// Chunks on their way to hyper; what more there is waits in the outbox, where it is bounded and conflated.
const QUEUE_CHUNKS: usize = 1;
/// The pause before a reconnect that nothing announced, drawn from this: a restart must not bring all back at once.
const RETRY_MS: std::ops::Range<u32> = 500..3_000;

/// What it takes to open a stream.
pub(in crate::http) struct Opening {
    /// Who.
    pub grant: Grant,
    /// The place taken for it.
    pub seat: Seat,
    /// Rooms to join at once.
    pub projects: Vec<ProjectId>,
    /// Where the client is.
    pub positions: Positions,
    /// Ends what the response goes out on: the stream of HTTP/2, or the connection.
    pub cut: Option<Cut>,
    /// Turns the token of an `Auth` message into what it proves.
    pub verify: Verify,
}

/// Opens a stream and gives the response's body. [`Realtime::admit`] was asked before.
pub(in crate::http) fn open(
    opening: Opening,
    realtime: &Realtime,
    streams: &Arc<Streams>,
    tracker: &TaskTracker,
) -> Body {
    let Opening { grant, seat, projects, positions, cut, verify } = opening;
    let user = grant.principal.user_id.clone();
    let peer = realtime.connect_queued(grant.clone(), seat);
    let longest = peer.shared().limits.inbound_bytes;
    let dialogue = Dialogue::new(peer.clone(), realtime.requests(&peer), verify);
    let (entry, key) = streams.enter(peer.id, &user, longest, dialogue, Encoder::new(positions.clone()));
    peer.control(server::encode(Head::default(), &welcome(&peer, &grant, Some(&key))));
    realtime.enlist(&peer);
    for project_id in projects {
        entry.join(JoinProject { project_id, since: positions.0.get(&project_id).cloned() });
    }
    let (sender, receiver) = mpsc::channel(QUEUE_CHUNKS);
    let feed = Feed { peer, entry, sender, realtime: realtime.clone(), streams: streams.clone() };
    tracker.spawn(async move {
        if let End::Stuck = feed.run().await {
            log::debug!("an event stream was cut off: its client reads nothing");
            if let Some(cut) = cut {
                cut.now();
            }
        }
    });
    Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk: Bytes| (Ok::<_, Infallible>(chunk), receiver))
    }))
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Told, or the client went away.
    Orderly,
    /// Its client reads nothing.
    Stuck,
}

struct Feed {
    peer: Arc<Peer>,
    entry: Arc<Stream>,
    sender: mpsc::Sender<Bytes>,
    realtime: Realtime,
    streams: Arc<Streams>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.streams.leave(self.peer.id);
        self.realtime.disconnect(&self.peer);
    }
}

impl Feed {
    async fn run(self) -> End {
        let mut first = Some(format!("retry: {}\n", rand::random_range(RETRY_MS)));
        loop {
            // A place first: what is taken out of the outbox is no longer bounded there.
            let place = tokio::select! {
                place = self.sender.reserve() => match place {
                    Ok(place) => place,
                    Err(_) => return End::Orderly,
                },
                () = poll_fn(|cx| self.peer.poll_dead(cx)) => return End::Stuck,
            };
            // The client took something, or has not been sent enough yet to tell; TCP tells the rest.
            self.peer.heard();
            let frames = tokio::select! {
                frames = poll_fn(|cx| self.peer.poll_frames(cx, CHUNK_BYTES)) => frames,
                () = self.sender.closed() => return End::Orderly,
            };
            let Some(frames) = frames else { return End::Orderly };
            let mut text = first.take().unwrap_or_default().into_bytes();
            let closed = {
                let mut encoder = self.entry.encoder.lock().unwrap_or_else(PoisonError::into_inner);
                frames.iter().any(|frame| encoder.encode(frame, &mut text))
            };
            place.send(text.into());
            if closed {
                return End::Orderly;
            }
        }
    }
}
