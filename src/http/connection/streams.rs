//! The streams of one HTTP/2 connection: each is a task of ours, so that one whose client takes nothing can be ended alone.
//!
//! Leaves frames to hyper, which tells nobody that a stream's window is shut. Easy to get wrong: a stream is ended by
//! dropping its task, which resets it; and what hyper was given it keeps until the client takes it, so it is given little
//! at a time.
use super::wire::count_cut;
use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

/// Bytes of an answer given to hyper at once.
const PIECE: usize = 16 * 1024;
/// Streams in a row whose client took nothing, after which the connection is ended with them.
const MAX_STALLED: u32 = 4;

tokio::task_local! {
    /// The stream that a request came on; none on HTTP/1.
    static STREAM: Arc<Stream>;
}

/// Ends what a request came on, for answers whose client reads nothing: its stream, or on HTTP/1 the connection. In the
/// request's extensions.
#[derive(Clone, Default)]
pub(in crate::http) struct Cut(CancellationToken);

impl Cut {
    /// Ends it where it is.
    pub(crate) fn now(&self) {
        self.0.cancel();
    }

    /// Waits until it is ended.
    pub(crate) async fn ended(&self) {
        self.0.cancelled().await;
    }

    /// Ends it when the guard is dropped.
    pub(crate) fn drop_guard(self) -> DropGuard {
        self.0.drop_guard()
    }
}

/// Runs the streams of a connection.
#[derive(Clone)]
pub(in crate::http) struct Streams(Arc<Shared>);

struct Shared {
    connection: Cut,
    tasks: TaskTracker,
    patience: Duration,
    running: watch::Sender<usize>,
    /// Stalled streams since the client last took something of any.
    stalled: AtomicU32,
}

/// One stream.
struct Stream {
    cut: Cut,
    connection: Arc<Shared>,
    opened: Instant,
    /// When hyper was given a piece that the client has not taken yet, in milliseconds since `opened`, plus one; 0 when
    /// nothing waits for the client.
    given: AtomicU64,
}

impl Streams {
    /// Those of the connection that `connection` ends, as tasks of `tasks`. An answer may stand still for `patience`.
    pub(crate) fn new(connection: Cut, tasks: TaskTracker, patience: Duration) -> Self {
        let (running, _) = watch::channel(0);
        Self(Arc::new(Shared { connection, tasks, patience, running, stalled: AtomicU32::new(0) }))
    }

    /// What ends the stream that this task answers, or the connection.
    pub(crate) fn cut(&self) -> Cut {
        STREAM.try_with(|stream| stream.cut.clone()).unwrap_or_else(|_| self.0.connection.clone())
    }

    /// An answer's body as the stream of this task gives it to hyper.
    pub(crate) fn watched(&self, body: Body) -> Body {
        match STREAM.try_with(Arc::clone) {
            Ok(stream) => Body::new(Watched { body, rest: Bytes::new(), stream }),
            Err(_) => body,
        }
    }

    /// Ends when no stream has run for as long as one may stand still.
    pub(crate) async fn idle(&self) {
        let mut running = self.0.running.subscribe();
        loop {
            // The sender is ours: it can't be gone. What is waited for is let go at once, for it holds the channel's lock.
            drop(running.wait_for(|running| *running == 0).await);
            if timeout(self.0.patience, running.wait_for(|running| *running > 0)).await.is_err() {
                return;
            }
        }
    }

    /// As [`Streams::idle`], after there was a stream; so never on HTTP/1.
    pub(crate) async fn idle_again(&self) {
        let mut running = self.0.running.subscribe();
        drop(running.wait_for(|running| *running > 0).await);
        self.idle().await;
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, answering: F) {
        let shared = self.0.clone();
        let cut = Cut(shared.connection.0.child_token());
        let stream = Arc::new(Stream { cut, connection: shared, opened: Instant::now(), given: AtomicU64::new(0) });
        let running = Running::count(&self.0);
        self.0.tasks.spawn(STREAM.scope(stream.clone(), async move {
            let _running = running;
            tokio::select! {
                () = answering => {}
                () = stream.cut.ended() => {}
                () = stream.stalled() => stream.give_up(),
            }
        }));
    }
}

/// Counts a stream for as long as it runs.
struct Running(Arc<Shared>);

impl Running {
    fn count(shared: &Arc<Shared>) -> Self {
        shared.running.send_modify(|running| *running += 1);
        Self(shared.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

impl Stream {
    fn now(&self) -> u64 {
        self.opened.elapsed().as_millis() as u64 + 1
    }

    /// Ends when the client has not taken what it was given for as long as that may last, half as long later at most.
    async fn stalled(&self) {
        let patience = self.connection.patience;
        loop {
            sleep(patience / 2).await;
            let given = self.given.load(Ordering::Relaxed);
            if given > 0 && self.now() - given >= patience.as_millis() as u64 {
                return;
            }
        }
    }

    fn give_up(&self) {
        count_cut("stalled");
        let stalled = self.connection.stalled.fetch_add(1, Ordering::Relaxed) + 1;
        log::debug!("a stream was reset: its client takes nothing in_a_row={stalled}");
        if stalled >= MAX_STALLED {
            self.connection.connection.now();
        }
    }
}

/// An answer's body in small pieces, which notes when the client has taken one.
struct Watched {
    body: Body,
    /// What is left of the last chunk.
    rest: Bytes,
    stream: Arc<Stream>,
}

impl Watched {
    /// The next piece of `rest`. The last one is copied: it would keep the whole chunk for as long as it is not sent.
    fn piece(&mut self) -> Bytes {
        if self.rest.len() > PIECE {
            self.rest.split_to(PIECE)
        } else {
            Bytes::copy_from_slice(&std::mem::take(&mut self.rest))
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // hyper asks for more when the client has taken what it was given.
        if self.stream.given.swap(0, Ordering::Relaxed) > 0 {
            self.stream.connection.stalled.store(0, Ordering::Relaxed);
        }
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        self.stream.given.store(self.stream.now(), Ordering::Relaxed);
        let piece = self.piece();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let (inner, mut hint) = (self.body.size_hint(), SizeHint::new());
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
