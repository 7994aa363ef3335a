//! The file of an upload: a part file that is written, hashed, synced, profiled and only then given its name.
//!
//! Runs on the blocking pool, fed by a short queue, so that a slow disk slows its own client only. Easy to get wrong:
//! an upload may end at any byte; unless the body was declared whole, the part file is removed.
use crate::{
    http::error::ApiError,
    protocol::ids::SourceId,
    reconcile::{Profile, ReadOptions, check_bounds, profile},
    uploads::{Folder, Name, hex, open_file},
};
use axum::body::Bytes;
use http::StatusCode;
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::task::TaskTracker;

/// Chunks on their way to the disk; past it the client is read no further.
const QUEUE_CHUNKS: usize = 16;

/// A file that is whole and on the disk.
pub(in crate::http) struct StoredFile {
    pub id: SourceId,
    pub bytes: u64,
    pub sha256: String,
    pub profile: Profile,
}

enum Input {
    Chunk(Bytes),
    /// The body is whole; the file is called this in errors.
    End(Box<ReadOptions>),
}

/// The writing end of an upload. Dropped before [`finish`](Self::finish), it leaves nothing behind.
pub(super) struct Writer {
    input: mpsc::Sender<Input>,
    task: JoinHandle<Result<StoredFile, ApiError>>,
}

impl Writer {
    /// Makes the part file, in a blocking task of `tracker`.
    pub(super) fn start(data_dir: &Path, tracker: &TaskTracker) -> Self {
        let (input, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let folder = Folder::of(data_dir);
        let task = tracker.spawn_blocking(move || write(&folder, chunks));
        Self { input, task }
    }

    /// Takes the next bytes; waits while the disk is behind.
    pub(super) async fn push(&mut self, chunk: Bytes) -> Result<(), ApiError> {
        match self.input.send(Input::Chunk(chunk)).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// Declares the body whole; the file is synced, profiled and named.
    pub(super) async fn finish(self, options: ReadOptions) -> Result<StoredFile, ApiError> {
        // When the writer is gone already, its task says why.
        let _gone = self.input.send(Input::End(Box::new(options))).await;
        self.task.await.unwrap_or_else(|lost| Err(ApiError::internal(format!("an upload's writer was lost: {lost}"))))
    }

    async fn failure(&mut self) -> ApiError {
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => ApiError::internal("an upload's writer ended before its body"),
            Err(lost) => ApiError::internal(format!("an upload's writer was lost: {lost}")),
        }
    }
}

/// Puts a second copy of what a source has already in the place of the first: that one may have been lost, or changed on
/// the disk, since it was uploaded. Whoever reads the first one reads on.
pub(in crate::http) async fn give_to(data_dir: &Path, id: SourceId, source: SourceId) {
    let folder = Folder::of(data_dir);
    let (copy, place) = (folder.file(id), folder.file(source));
    if let Err(error) = tokio::fs::rename(&copy, &place).await {
        log::error!("cannot put a source's file in its place path={} error={error}", place.display());
        remove(data_dir, id).await;
    }
}

/// Removes the file of a source that did not come to be.
pub(in crate::http) async fn remove(data_dir: &Path, id: SourceId) {
    let path = Folder::of(data_dir).file(id);
    if let Err(error) = tokio::fs::remove_file(&path).await {
        log::warn!("an upload's file is left to the janitor path={} error={error}", path.display());
    }
}

fn write(folder: &Folder, mut chunks: mpsc::Receiver<Input>) -> Result<StoredFile, ApiError> {
    let id = SourceId::generate();
    let mut part = PartFile::create(folder, id).map_err(disk)?;
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let options = loop {
        match chunks.blocking_recv() {
            Some(Input::Chunk(chunk)) => {
                part.file.write_all(&chunk).map_err(disk)?;
                hash.update(&chunk);
                bytes += chunk.len() as u64;
            }
            Some(Input::End(options)) => break options,
            None => return Err(ApiError::bad_request("the upload ended before its body did")),
        }
    };
    part.file.sync_all().map_err(disk)?;
    // First the bounds: only then is a record known to be short enough to be held.
    check_bounds(open_file(&part.path).map_err(disk)?, &options)?;
    let profile = profile(io::BufReader::new(open_file(&part.path).map_err(disk)?), &options)?;
    part.keep(folder, id).map_err(disk)?;
    Ok(StoredFile { id, bytes, sha256: hex(&hash.finalize()), profile })
}

/// Removes itself unless it was kept.
struct PartFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl PartFile {
    fn create(folder: &Folder, id: SourceId) -> io::Result<Self> {
        folder.make()?;
        let path = folder.path().join(Name::Part(id).to_string());
        Ok(Self { file: File::create_new(&path)?, path, kept: false })
    }

    fn keep(mut self, folder: &Folder, id: SourceId) -> io::Result<()> {
        std::fs::rename(&self.path, folder.file(id))?;
        self.kept = true;
        // The name is on the disk only when the folder is.
        File::open(folder.path())?.sync_all()
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::warn!("a part file could not be removed path={} error={error}", self.path.display());
        }
    }
}

fn disk(error: io::Error) -> ApiError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => ApiError::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "storage_full",
            format!("the data directory has no room for the upload: {error}"),
        ),
        _ => ApiError::unavailable(format!("the data directory can't take the upload: {error}")),
    }
}
