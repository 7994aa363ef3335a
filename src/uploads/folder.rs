//! The folder of uploads by its path: for whoever writes a new file or reads one.
//!
//! Easy to get wrong: a file may have been replaced by a link to `/etc/passwd`, whose text then shows in an error; a file
//! is opened only when it is a file itself.
use crate::protocol::ids::SourceId;
use rustix::fs::{Mode, OFlags};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The folder's name inside the data directory.
pub const UPLOADS: &str = "uploads";

/// Where uploads lie.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Of this data directory.
    pub fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(UPLOADS))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The file of a source.
    pub fn file(&self, source: SourceId) -> PathBuf {
        self.0.join(source.to_string())
    }

    /// Makes the folder, for this user alone, when it is missing.
    ///
    /// # Errors
    /// The system's.
    pub fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// Opens the file of a source for reading.
    ///
    /// # Errors
    /// The system's; [`io::ErrorKind::InvalidInput`] when what is there is a link, a folder or a device.
    pub fn open(&self, source: SourceId) -> io::Result<File> {
        open_file(&self.file(source))
    }
}

/// Opens a file that is one itself, for reading.
///
/// # Errors
/// As [`Folder::open`].
pub fn open_file(path: &Path) -> io::Result<File> {
    // Without NONBLOCK a pipe in the file's place would be waited for.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    regular(rustix::fs::open(path, flags, Mode::empty()).map(File::from))
}

/// Whether a file that was opened without following links is a file.
pub(super) fn regular(opened: rustix::io::Result<File>) -> io::Result<File> {
    let no_file = |what: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a file"));
    let file = match opened {
        Err(rustix::io::Errno::LOOP) => return Err(no_file("a symbolic link")),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file("a folder, a pipe or a device")) }
}
