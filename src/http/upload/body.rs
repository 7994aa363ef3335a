//! Reads an upload's body, raw or multipart, into a file, under the limits of size and standstill.
//!
//! Leaves the file to `file`. Easy to get wrong: a refusal before the body has ended; a client that still sends sees a
//! reset connection instead of the answer, so what it sends is read and thrown away for a while.
use super::file::{StoredFile, Writer};
use crate::{
    http::{
        error::{ApiError, ApiResult},
        state::AppState,
    },
    protocol::names::{self, MAX_NAME_CHARS},
    reconcile::{ReadLimits, ReadOptions},
};
use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, Multipart, Request, multipart::Field},
};
use futures_util::StreamExt;
use http::{HeaderMap, StatusCode, header};
use std::{future::Future, time::Duration};
use tokio::time::timeout;

/// How long a refused upload is still read.
const LINGER: Duration = Duration::from_secs(10);
/// What multipart adds around its fields, at most, for the check of the declared length.
const MULTIPART_OVERHEAD: u64 = 64 * 1024;
/// Longest text field of a multipart body.
const MAX_TEXT_FIELD: usize = 4096;

/// An upload that is whole.
pub(in crate::http) struct Received {
    pub file: StoredFile,
    pub filename: String,
    pub name: Option<String>,
}

/// Reads the whole body. `filename` is what a raw body is called.
pub(in crate::http) async fn receive(
    app: &AppState,
    request: Request,
    filename: Option<String>,
) -> ApiResult<Received> {
    let max = app.config.limits.max_upload_bytes;
    let multipart = is_multipart(request.headers());
    let allowed = if multipart { max + MULTIPART_OVERHEAD } else { max };
    let declared = request.body().size_hint().lower();
    let (expects, body) = (request.headers().contains_key(header::EXPECT), request);
    if declared > allowed {
        // A client that waits for `100 Continue` has sent nothing yet and must not be told to.
        if !expects {
            let mut chunks = body.into_body().into_data_stream();
            app.linger(async move { while let Some(Ok(_)) = chunks.next().await {} });
        }
        return Err(too_large(max));
    }
    if multipart { receive_multipart(app, body).await } else { receive_raw(app, body, filename).await }
}

async fn receive_raw(app: &AppState, request: Request, filename: Option<String>) -> ApiResult<Received> {
    let filename = clean(filename.as_deref().unwrap_or("upload.csv"));
    let mut intake = Intake::start(app);
    let mut chunks = request.into_body().into_data_stream();
    loop {
        let taken = match app.moving(chunks.next()).await {
            Ok(None) => return Ok(Received { file: intake.finish(&filename).await?, filename, name: None }),
            Ok(Some(Ok(chunk))) => intake.take(chunk).await,
            Ok(Some(Err(error))) => Err(broken(error)),
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            app.linger(async move { while let Some(Ok(_)) = chunks.next().await {} });
            return Err(error);
        }
    }
}

async fn receive_multipart(app: &AppState, request: Request) -> ApiResult<Received> {
    let mut form = Multipart::from_request(request, app).await.map_err(broken)?;
    match fields(app, &mut form).await {
        Ok(received) => Ok(received),
        Err(error) => {
            app.linger(async move { while let Ok(Some(_)) = form.next_field().await {} });
            Err(error)
        }
    }
}

async fn fields(app: &AppState, form: &mut Multipart) -> ApiResult<Received> {
    let (mut file, mut name) = (None, None);
    while let Some(mut field) = app.moving(form.next_field()).await?.map_err(broken)? {
        match field.name().unwrap_or_default() {
            "file" if file.is_none() => {
                let filename = clean(field.file_name().unwrap_or("upload.csv"));
                let mut intake = Intake::start(app);
                while let Some(chunk) = app.moving(field.chunk()).await?.map_err(broken)? {
                    intake.take(chunk).await?;
                }
                file = Some((intake, filename));
            }
            "file" => return Err(ApiError::bad_request("one file per upload; this form has two fields `file`")),
            "name" => name = Some(text(app, &mut field).await?),
            other => return Err(ApiError::bad_request(format!("unknown form field {other:?}; known: file, name"))),
        }
    }
    let (intake, filename) = file.ok_or_else(|| ApiError::bad_request("the form has no field `file`"))?;
    Ok(Received { file: intake.finish(&filename).await?, filename, name })
}

async fn text(app: &AppState, field: &mut Field<'_>) -> ApiResult<String> {
    let mut bytes = Vec::new();
    while let Some(chunk) = app.moving(field.chunk()).await?.map_err(broken)? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_TEXT_FIELD {
            return Err(ApiError::bad_request(format!("the field `name` is longer than {MAX_TEXT_FIELD} bytes")));
        }
    }
    let name = String::from_utf8(bytes).map_err(|_| ApiError::bad_request("the field `name` is not UTF-8"))?;
    names::check(&name, MAX_NAME_CHARS).map_err(|error| ApiError::invalid(format!("the field `name` {error}")))?;
    Ok(name)
}

/// A file being written, with the bytes it may still get.
struct Intake {
    writer: Writer,
    left: u64,
    max: u64,
    limits: ReadLimits,
}

impl Intake {
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
    /// Reads on for a refused client, for a while, and not while the process stops.
    fn linger(&self, reading: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tracker.spawn(async move { shutdown.run_until_cancelled(timeout(LINGER, reading)).await });
    }

    /// Waits for the next part of a body, but not for ever.
    async fn moving<T>(&self, next: impl Future<Output = T>) -> ApiResult<T> {
        let limit = self.config.limits.transfer_idle_timeout;
        timeout(limit, next).await.map_err(|_| {
            let detail = format!("nothing arrived for {} ms", limit.as_millis());
            ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail).with("limit", "transfer_idle_timeout")
        })
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

fn broken(error: impl std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!("the upload's body is broken: {error}"))
}
