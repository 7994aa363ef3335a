//! The folder of uploads by its handle: listing, opening and moving what is in it.
//!
//! Easy to get wrong: a path is looked up anew at each call, and a link may stand in it by then. Everything here starts at
//! the handle of the folder and follows no link.
use super::folder::regular;
use crate::protocol::ids::SourceId;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Why the folder cannot be used by its handle.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing was uploaded yet.
    #[error("there is no folder {0}")]
    Missing(String),
    /// It stands for a folder elsewhere.
    #[error("{0} is a symbolic link")]
    Link(String),
    /// The system refused.
    #[error("{0}: {1}")]
    Failed(String, io::Error),
}

/// What a file of ours may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// The file of a source.
    Whole(SourceId),
    /// An upload that is under way, or that broke off.
    Part(SourceId),
}

impl Name {
    /// Of a file's name in exactly the form in which we write it.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, part) = match text.strip_suffix(".part") {
            Some(id) => (id, true),
            None => (text, false),
        };
        let parsed: SourceId = id.parse().ok()?;
        // A UUID has other forms too; none of them is a name of ours.
        let same = parsed.to_string() == id;
        same.then_some(if part { Self::Part(parsed) } else { Self::Whole(parsed) })
    }

    /// When its upload began, by its id; the epoch when the id does not say.
    pub fn begun(self) -> SystemTime {
        let (Self::Whole(id) | Self::Part(id)) = self;
        let at = id.0.get_timestamp().map(|timestamp| {
            let (seconds, nanos) = timestamp.to_unix();
            SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)
        });
        at.unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(id) => id.fmt(f),
            Self::Part(id) => write!(f, "{id}.part"),
        }
    }
}

/// A file of ours.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// When its bytes were last changed.
    pub modified: SystemTime,
    /// When it was last changed or moved, where the file system says so.
    pub changed: SystemTime,
}

/// The folder, held open.
#[derive(Debug)]
pub struct Opened {
    pub(super) dir: OwnedFd,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Opened {
    /// The folder at this path.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn at(path: &Path) -> Result<Self, OpenError> {
        let shown = path.display().to_string();
        match rustix::fs::open(path, FOLDER, Mode::empty()) {
            Ok(dir) => Ok(Self { dir }),
            Err(Errno::NOENT) => Err(OpenError::Missing(shown)),
            // NOTDIR is what Linux says of a link that must not be followed to a folder.
            Err(Errno::LOOP | Errno::NOTDIR) if path.is_symlink() => Err(OpenError::Link(shown)),
            Err(error) => Err(OpenError::Failed(shown, error.into())),
        }
    }

    /// A folder inside this one; `None` when there is none. A link is an error.
    pub(super) fn inner(&self, name: &str) -> io::Result<Option<Self>> {
        match rustix::fs::openat(&self.dir, name, FOLDER, Mode::empty()) {
            Ok(dir) => Ok(Some(Self { dir })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io::Error::from(error)),
        }
    }

    /// As [`Opened::inner`], made when it is missing.
    pub(super) fn made(&self, name: &str) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.dir, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        self.inner(name)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name} was taken away")))
    }

    /// Every name in it but `.` and `..`, in no order.
    pub(super) fn names(&self) -> io::Result<impl Iterator<Item = io::Result<String>> + use<>> {
        let listing = Dir::read_from(&self.dir)?;
        Ok(listing.filter_map(|entry| match entry {
            // A name that is no UTF-8 is none of ours.
            Ok(entry) => {
                entry.file_name().to_str().ok().filter(|name| ![".", ".."].contains(name)).map(|n| Ok(n.into()))
            }
            Err(error) => Some(Err(error.into())),
        }))
    }

    /// Every file in it that is called as we call files and is a file itself. One that vanishes meanwhile is left out.
    ///
    /// # Errors
    /// The system's.
    pub fn files(&self) -> io::Result<impl Iterator<Item = io::Result<Entry>> + '_> {
        Ok(self.names()?.filter_map(|name| match name {
            Ok(name) => self.entry(Name::parse(&name)?).transpose(),
            Err(error) => Some(Err(error)),
        }))
    }

    fn entry(&self, name: Name) -> io::Result<Option<Entry>> {
        let found = match rustix::fs::statat(&self.dir, name.to_string(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let (modified, changed) = (since_epoch(found.st_mtime), since_epoch(found.st_ctime));
        Ok(Some(Entry { name, modified, changed }))
    }

    /// Opens one of its files for reading.
    ///
    /// # Errors
    /// As [`super::Folder::open`].
    pub fn open(&self, name: Name) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        regular(rustix::fs::openat(&self.dir, name.to_string(), flags, Mode::empty()).map(File::from))
    }

    /// Moves one of its files to another folder; `false` when it is gone.
    pub(super) fn move_to(&self, name: Name, to: &Self) -> io::Result<bool> {
        let name = name.to_string();
        match rustix::fs::renameat(&self.dir, &name, &to.dir, &name) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.dir, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts what was moved or made on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.dir)?)
    }
}

fn since_epoch(seconds: impl TryInto<u64>) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_as_we_write_them_are_ours() {
        let id = SourceId::generate();
        assert_eq!(Name::parse(&id.to_string()), Some(Name::Whole(id)));
        assert_eq!(Name::parse(&format!("{id}.part")), Some(Name::Part(id)));
        let upper = id.to_string().to_uppercase();
        for other in ["", "notes.txt", ".part", &upper, &id.0.simple().to_string(), &format!("{{{id}}}")] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        for other in [format!("{id}.part.part"), format!("{id}.bak"), format!(" {id}")] {
            assert_eq!(Name::parse(&other), None, "{other}");
        }
    }

    #[test]
    fn an_id_says_when_its_upload_began() {
        let ago = SystemTime::now().duration_since(Name::Whole(SourceId::generate()).begun()).unwrap_or_default();
        assert!(ago < Duration::from_secs(60), "{ago:?}");
    }
}
