//! Reads an upload's body, raw or multipart, into a file, under the limits of size and standstill.
//!
//! Leaves the file to `file`. Easy to get wrong: a refusal before the body has ended; a client that still sends sees a
//! reset connection instead of the answer, so what it sends is read and thrown away for a while.
use super::{
    file::{StoredFile, Writer},
    form::{Form, MULTIPART_OVERHEAD},
};
use crate::{
    http::{
        error::{ApiError, ApiResult},
        state::AppState,
        transfers::{Pace, Place},
    },
    protocol::names::{self, MAX_NAME_CHARS},
    reconcile::{ReadLimits, ReadOptions},
};
use axum::{
    body::{BodyDataStream, Bytes, HttpBody},
    extract::{Request, multipart::Field},
};
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode, header};
use std::{
    future::Future,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long a refused upload is still read.
const LINGER: Duration = Duration::from_secs(10);
/// Longest text field of a multipart body.
const MAX_TEXT_FIELD: usize = 4096;

/// An upload that is whole.
pub(in crate::http) struct Received {
    pub file: StoredFile,
    pub filename: String,
    pub name: Option<String>,
}

/// Reads the whole body. `filename` is what a raw body is called; `place` is held for as long as the client is read.
pub(in crate::http) async fn receive(
    app: &AppState,
    request: Request,
    filename: Option<String>,
    place: Place,
) -> ApiResult<Received> {
    let max = app.config.limits.max_upload_bytes;
    let multipart = is_multipart(request.headers());
    let allowed = if multipart { max + MULTIPART_OVERHEAD } else { max };
    if request.body().size_hint().lower() > allowed {
        // A client that waits for `100 Continue` has sent nothing yet and must not be told to.
        if !request.headers().contains_key(header::EXPECT) {
            app.linger(request.into_body().into_data_stream(), place);
        }
        return Err(too_large(max));
    }
    let mut intake = Intake::of(app);
    let (received, rest) = if multipart {
        let mut form = Form::of(request, allowed).await?;
        (intake.fields(&mut form).await, form.rest())
    } else {
        let mut chunks = request.into_body().into_data_stream();
        (intake.raw(&mut chunks, filename).await, Some(chunks))
    };
    if let (Err(_), Some(rest)) = (&received, rest) {
        app.linger(rest, place);
    }
    received
}

/// One upload on its way in.
struct Intake<'a> {
    app: &'a AppState,
    pace: Pace,
}

impl<'a> Intake<'a> {
    fn of(app: &'a AppState) -> Self {
        Self { app, pace: app.pace() }
    }

    async fn raw(&mut self, chunks: &mut BodyDataStream, filename: Option<String>) -> ApiResult<Received> {
        let filename = clean(filename.as_deref().unwrap_or("upload.csv"));
        let mut file = Incoming::start(self.app);
        let bytes = |chunk: &Result<Option<Bytes>, _>| chunk.as_ref().map_or(0, length);
        while let Some(chunk) = self.moving(chunks.try_next(), bytes).await?.map_err(broken)? {
            file.take(chunk).await?;
        }
        Ok(Received { file: file.finish(&filename).await?, filename, name: None })
    }

    async fn fields(&mut self, form: &mut Form) -> ApiResult<Received> {
        let (mut file, mut name) = (None, None);
        while let Some(mut field) = self.moving(form.next(), |_| 0).await?? {
            match field.name().unwrap_or_default() {
                "file" if file.is_none() => {
                    let filename = clean(field.file_name().unwrap_or("upload.csv"));
                    let mut incoming = Incoming::start(self.app);
                    while let Some(chunk) = self.chunk(&mut field).await? {
                        incoming.take(chunk).await?;
                    }
                    file = Some((incoming, filename));
                }
                "name" if name.is_none() => name = Some(self.text(&mut field).await?),
                twice @ ("file" | "name") => {
                    return Err(ApiError::bad_request(format!(
                        "one file per upload; this form has two fields `{twice}`"
                    )));
                }
                other => return Err(ApiError::bad_request(format!("unknown form field {other:?}; known: file, name"))),
            }
        }
        let (file, filename) = file.ok_or_else(|| ApiError::bad_request("the form has no field `file`"))?;
        Ok(Received { file: file.finish(&filename).await?, filename, name })
    }

    async fn text(&mut self, field: &mut Field<'_>) -> ApiResult<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk(field).await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_TEXT_FIELD {
                return Err(ApiError::bad_request(format!("the field `name` is longer than {MAX_TEXT_FIELD} bytes")));
            }
        }
        let name = String::from_utf8(bytes).map_err(|_| ApiError::bad_request("the field `name` is not UTF-8"))?;
        names::check(&name, MAX_NAME_CHARS).map_err(|error| ApiError::invalid(format!("the field `name` {error}")))?;
        Ok(name)
    }

    async fn chunk(&mut self, field: &mut Field<'_>) -> ApiResult<Option<Bytes>> {
        let bytes = |chunk: &Result<Option<Bytes>, _>| chunk.as_ref().map_or(0, length);
        self.moving(field.chunk(), bytes).await?.map_err(broken)
    }

    /// Waits for the next part of a body, but not for ever, and not for one that comes by drops. `bytes` says how much it is.
    async fn moving<T>(&mut self, next: impl Future<Output = T>, bytes: impl Fn(&T) -> u64) -> ApiResult<T> {
        let too_slow = |limit: &str, detail: String| {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).with("limit", limit)
        };
        let limit = self.app.config.limits.transfer_idle_timeout;
        let asked = Instant::now();
        let next = timeout(limit, next)
            .await
            .map_err(|_| too_slow("transfer_idle_timeout", format!("nothing arrived for {} ms", limit.as_millis())))?;
        let kept = self.pace.keep(asked.elapsed(), bytes(&next));
        kept.map_err(|detail| too_slow("transfer_least_bytes", detail))?;
        Ok(next)
    }
}

fn length(chunk: &Option<Bytes>) -> u64 {
    chunk.as_ref().map_or(0, |chunk| chunk.len() as u64)
}

/// A file being written, with the bytes it may still get.
struct Incoming {
    writer: Writer,
    left: u64,
    max: u64,
    limits: ReadLimits,
}

impl Incoming {
    fn start(app: &AppState) -> Self {
        let limits = &app.config.limits;
        Self {
            writer: Writer::start(&app.config.data_dir, &app.tracker),
            left: limits.max_upload_bytes,
            max: limits.max_upload_bytes,
            limits: ReadLimits {
                max_columns: limits.max_columns as usize,
                max_rows: limits.max_rows as usize,
                max_field_bytes: limits.max_field_bytes as usize,
            },
        }
    }

    async fn take(&mut self, chunk: Bytes) -> ApiResult<()> {
        self.left = self.left.checked_sub(chunk.len() as u64).ok_or_else(|| too_large(self.max))?;
        self.writer.push(chunk).await
    }

    async fn finish(self, filename: &str) -> ApiResult<StoredFile> {
        if self.left == self.max {
            return Err(ApiError::invalid(format!("{filename}: the file is empty")).code("invalid_file"));
        }
        let options = ReadOptions { name: filename.to_owned(), limits: self.limits, ..ReadOptions::default() };
        self.writer.finish(options).await
    }
}

impl AppState {
    /// Reads on for a refused client and throws away what comes, for a while, and not while the process stops. Its place
    /// is taken meanwhile.
    fn linger(&self, mut rest: BodyDataStream, place: Place) {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move {
            let _place = place;
            let reading = async { while let Some(Ok(_)) = rest.next().await {} };
            shutdown.run_until_cancelled(timeout(LINGER, reading)).await
        });
    }
}

fn is_multipart(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data")
}

/// The last part of what may be a path of the client's machine.
fn clean(filename: &str) -> String {
    let last = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    let last = names::shown(last, MAX_NAME_CHARS);
    if last.trim().is_empty() { "upload.csv".into() } else { last }
}

fn too_large(max: u64) -> ApiError {
    let detail = format!("the upload is larger than max_upload_bytes ({max})");
    ApiError::limit(StatusCode::PAYLOAD_TOO_LARGE, "max_upload_bytes", detail)
}

pub(super) fn broken(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("the upload's body is broken: {error}"))
}
