//! The multipart body of an upload, with a bound on what is no field's content.
//!
//! Leaves parsing to multer, which looks for the end of a part's head in a buffer without bound, from its start at every
//! chunk. Easy to get wrong: multer takes chunks for as long as there are any before it looks at one, so this gives it
//! one at a time; and after a refusal the rest of the body belongs to whoever discards it, not to the parser.
use crate::http::error::{ApiError, ApiResult};
use axum::{
    body::{Body, BodyDataStream, Bytes},
    extract::{FromRequest, Multipart, Request, multipart::Field},
};
use futures_util::{Stream, StreamExt};
use http::StatusCode;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

/// What multipart adds around its fields at most: before the first, between two, and in all.
pub(super) const MULTIPART_OVERHEAD: u64 = 64 * 1024;

/// A multipart body: its fields, and what is left of it when they are refused.
pub(super) struct Form {
    fields: Multipart,
    shared: Arc<Shared>,
}

/// Between the parser and [`Form`], which alone knows whether bytes are a field's.
struct Shared {
    body: Mutex<Option<BodyDataStream>>,
    /// Bytes that may still be read.
    left: AtomicU64,
    /// Bytes read since the last field ended; none are counted while one is read.
    between: AtomicU64,
    in_field: AtomicBool,
    passed: AtomicBool,
}

impl Form {
    /// The form of a request whose body may have `most` bytes.
    pub(super) async fn of(request: Request, most: u64) -> ApiResult<Self> {
        let (parts, body) = request.into_parts();
        let shared = Arc::new(Shared {
            body: Mutex::new(Some(body.into_data_stream())),
            left: AtomicU64::new(most),
            between: AtomicU64::new(0),
            in_field: AtomicBool::new(false),
            passed: AtomicBool::new(false),
        });
        let guarded = Body::from_stream(Guarded { shared: shared.clone(), gave: false });
        let fields =
            Multipart::from_request(Request::from_parts(parts, guarded), &()).await.map_err(super::body::broken)?;
        Ok(Self { fields, shared })
    }

    /// The next field; none at the end of the form.
    pub(super) async fn next(&mut self) -> ApiResult<Option<Field<'_>>> {
        self.shared.between.store(0, Ordering::Relaxed);
        self.shared.in_field.store(false, Ordering::Relaxed);
        let field = self.fields.next_field().await;
        self.shared.in_field.store(true, Ordering::Relaxed);
        match field {
            Ok(field) => Ok(field),
            Err(_) if self.shared.passed.load(Ordering::Relaxed) => Err(ApiError::limit(
                StatusCode::PAYLOAD_TOO_LARGE,
                "multipart_head_bytes",
                format!("the head of a form field is longer than {MULTIPART_OVERHEAD} bytes"),
            )),
            Err(error) => Err(super::body::broken(error)),
        }
    }

    /// What was not read of the body, to be thrown away.
    pub(super) fn rest(self) -> Option<BodyDataStream> {
        self.shared.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The body as the parser sees it.
struct Guarded {
    shared: Arc<Shared>,
    /// A chunk was given and not yet looked at.
    gave: bool,
}

impl Stream for Guarded {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.gave) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = {
            let mut body = self.shared.body.lock().unwrap_or_else(PoisonError::into_inner);
            match body.as_mut() {
                Some(body) => std::task::ready!(body.poll_next_unpin(cx)),
                None => None,
            }
        };
        self.gave = true;
        Poll::Ready(next.map(|chunk| chunk.map_err(io::Error::other).and_then(|chunk| self.shared.admit(chunk))))
    }
}

impl Shared {
    fn admit(&self, chunk: Bytes) -> io::Result<Bytes> {
        let bytes = chunk.len() as u64;
        let left = self.left.load(Ordering::Relaxed).checked_sub(bytes);
        self.left.store(left.unwrap_or(0), Ordering::Relaxed);
        if left.is_none() {
            return Err(io::Error::other("it is longer than an upload may be"));
        }
        if !self.in_field.load(Ordering::Relaxed) {
            let between = self.between.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if between > MULTIPART_OVERHEAD {
                self.passed.store(true, Ordering::Relaxed);
                return Err(io::Error::other("the head of a form field is too long"));
            }
        }
        Ok(chunk)
    }
}
