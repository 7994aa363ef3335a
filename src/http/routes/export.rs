//! `/api/v1/jobs/{id}/export`: a whole result as a download, page by page from the store to the client.
//!
//! Leaves the text to `http::export`. Easy to get wrong: once the first byte is sent there is no status left to change;
//! a failure in mid-download must break the body, so that a client never takes half a result for a whole one.
use super::jobs::find;
use crate::db::results::ResultStatus;
use crate::db::{Store, results};
use crate::http::auth::Caller;
use crate::http::connection::shares::Peer;
use crate::http::error::{ApiError, ApiResult};
use crate::http::export::{Encoder, Format, Safe};
use crate::http::extract::{Id, Query};
use crate::http::state::AppState;
use crate::http::transfers::{Kind, Pace};
use crate::protocol::ids::JobId;
use crate::protocol::principal::Action;
use axum::{
    body::{Body, Bytes},
    extract::{Extension, State},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::header;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    io,
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, time::timeout};

/// Results read at a time, and bytes of them.
const PAGE: usize = 500;
const PAGE_BYTES: u64 = 1 << 20;
/// Bytes of a page that are sent at once: what a slow client takes is noticed by so much.
const PIECE: usize = 32 * 1024;
/// Pieces on their way to the client; past it the store is read no further.
const QUEUE_PIECES: usize = 2;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Selection {
    format: Option<Format>,
    status: Option<ResultStatus>,
    /// `spreadsheet`: what would be taken for a formula gets a `'` before it; CSV only.
    safe: Option<Safe>,
}

pub(in crate::http) async fn export(
    State(app): State<AppState>,
    Caller(caller): Caller,
    Extension(peer): Extension<Peer>,
    Id(id): Id<JobId>,
    Query(query): Query<Selection>,
) -> ApiResult<Response> {
    let job = find(&app, &caller, Action::Read, id).await?;
    if job.counts.is_none() {
        return Err(ApiError::conflict(format!("job {id} is {}: it has no results yet", job.state.as_str())));
    }
    if query.safe.is_some() && query.format == Some(Format::Jsonl) {
        return Err(ApiError::invalid(
            "`safe` is for spreadsheets, which read CSV; JSON Lines have their cells as they are",
        ));
    }
    let place = app.transfer(&caller, peer, Kind::Download)?;
    let (format, status) = (query.format.unwrap_or(Format::Csv), query.status.unwrap_or(ResultStatus::All));
    let columns = match status {
        ResultStatus::UnmatchedLeft => super::sources::column_names(&app, job.left_source_id).await?,
        ResultStatus::UnmatchedRight => super::sources::column_names(&app, job.right_source_id).await?,
        _ => Vec::new(),
    };
    let mut download = Download {
        store: app.store.clone(),
        id,
        status,
        encoder: Encoder::new(format, query.safe, status, columns, &job.rules),
        patience: app.config.limits.transfer_idle_timeout,
        pace: app.pace(),
    };
    let (sender, receiver) = mpsc::channel(QUEUE_PIECES);
    // The first page decides the status of the answer; the rest is sent by a task that ends with the client,
    // also when a stopping server cuts the connection.
    let (first, next) = download.page(None).await?;
    app.tracker.spawn(async move {
        let _place = place;
        if let Some(error) = download.send(first, next, &sender).await {
            log::warn!("a download broke off job={id} error={error}");
            // Nobody may be there to hear it; then the body is gone as well.
            let _heard = sender.try_send(Err(error));
        }
    });
    let body = Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk: io::Result<Bytes>| (chunk, receiver))
    }));
    let name = format!("attachment; filename=\"{}-{id}.{}\"", status.as_str(), format.extension());
    Ok(([(header::CONTENT_TYPE, format.media_type()), (header::CONTENT_DISPOSITION, name.as_str())], body)
        .into_response())
}

struct Download {
    store: Store,
    id: JobId,
    status: ResultStatus,
    encoder: Encoder,
    patience: Duration,
    pace: Pace,
}

impl Download {
    async fn page(&mut self, after: Option<&str>) -> ApiResult<(Bytes, Option<String>)> {
        let page = results::page_within(&self.store, self.id, self.status, after, PAGE, PAGE_BYTES).await?;
        Ok((self.encoder.encode(&page.items)?.into(), page.next))
    }

    /// Sends all pages. `None` when all were taken or the client went away, else what broke the download.
    async fn send(
        &mut self,
        first: Bytes,
        mut next: Option<String>,
        to: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Option<io::Error> {
        let mut page = first;
        loop {
            while !page.is_empty() {
                let piece = page.split_to(page.len().min(PIECE));
                match self.send_piece(piece, to).await {
                    Ok(true) => {}
                    Ok(false) => return None,
                    Err(detail) => return Some(io::Error::new(io::ErrorKind::TimedOut, detail)),
                }
            }
            let after = next.take()?;
            match self.page(Some(&after)).await {
                Ok(read) => (page, next) = read,
                Err(error) => return Some(io::Error::other(error.to_string())),
            }
        }
    }

    /// Whether the client is still there; what is wrong when it takes too little.
    async fn send_piece(&mut self, piece: Bytes, to: &mpsc::Sender<io::Result<Bytes>>) -> Result<bool, String> {
        let (bytes, offered) = (piece.len() as u64, Instant::now());
        let sent =
            timeout(self.patience, to.send(Ok(piece))).await.map_err(|_| "the client took nothing".to_owned())?;
        self.pace.keep(offered.elapsed(), bytes)?;
        Ok(sent.is_ok())
    }
}
