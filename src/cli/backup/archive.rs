//! What a backup looks like: a folder or a tar file with a list of contents, the database (of SQLite), and the uploads.
//!
//! Easy to get wrong: names in an archive come from outside; only those that a backup has are taken, and only files.
use crate::uploads::{Digest, Hashing, Name, UPLOADS, open_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The list of contents; it is written last, so that what broke off has none.
pub(in crate::cli) const CONTENTS: &str = "tieout-backup.json";
/// The database of a SQLite installation.
pub(in crate::cli) const DATABASE: &str = "tieout.sqlite";
/// The form of a backup; a reader refuses a higher one.
const FORMAT: u32 = 1;
/// How a backup that is one file is called.
const TAR: &str = "tar";
/// Longest list of contents that is read.
const MAX_CONTENTS: u64 = 1 << 30;

/// The list of contents.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::cli) struct Contents {
    /// The form of the backup.
    pub format: u32,
    /// The version that made it.
    pub version: String,
    /// Unix milliseconds.
    pub made_at_ms: i64,
    /// `sqlite`, with the database, or `postgres`, without.
    pub store: String,
    /// By name: `tieout.sqlite`, `uploads/ID`.
    pub files: BTreeMap<String, Content>,
    /// Files that were missing or changed when the backup was made, and why they are not in it.
    pub damaged: BTreeMap<String, String>,
}

/// One file of a backup.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Content {
    pub bytes: u64,
    pub sha256: String,
}

impl From<Digest> for Content {
    fn from(digest: Digest) -> Self {
        Self { bytes: digest.bytes, sha256: digest.sha256 }
    }
}

impl Contents {
    pub(in crate::cli) fn new(store: &str, made_at_ms: i64) -> Self {
        Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            made_at_ms,
            store: store.into(),
            files: BTreeMap::new(),
            damaged: BTreeMap::new(),
        }
    }
}

/// A backup being written, under another name until it is whole.
pub(in crate::cli) struct Target {
    place: PathBuf,
    part: PathBuf,
    form: Form,
}

enum Form {
    Folder,
    Tar(Box<tar::Builder<File>>),
}

impl Target {
    /// Begins a backup at a place where nothing is yet: a file when it ends in `.tar`, else a folder.
    pub(in crate::cli) fn begin(place: &Path) -> Result<Self, String> {
        let ending = place.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ["gz", "tgz", "zip", "zst", "xz", "bz2"].contains(&ending) {
            return Err(format!("{}: a backup is a folder or a file that ends in .tar", place.display()));
        }
        if place.symlink_metadata().is_ok() {
            return Err(format!("{} is there already, and is not overwritten", place.display()));
        }
        let name = place.file_name().ok_or_else(|| format!("{} is no name of a backup", place.display()))?;
        let part = place.with_file_name(format!(".{}.part-{:08x}", name.to_string_lossy(), rand::random::<u32>()));
        let failed = |error: io::Error| format!("cannot write {}: {error}", place.display());
        let form = if ending == TAR {
            let mut tar = tar::Builder::new(File::create_new(&part).map_err(failed)?);
            tar.mode(tar::HeaderMode::Deterministic);
            Form::Tar(Box::new(tar))
        } else {
            folder(&part.join(UPLOADS)).map_err(failed)?;
            Form::Folder
        };
        Ok(Self { place: place.to_owned(), part, form })
    }

    /// A folder on the same disk for what is made on the way.
    pub(in crate::cli) fn beside(&self) -> io::Result<tempfile::TempDir> {
        tempfile::Builder::new().prefix(".tieout-backup-").tempdir_in(self.place.parent().map_or(Path::new("."), here))
    }

    /// Adds a file of this length, and says what it was.
    pub(in crate::cli) fn add(&mut self, name: &str, from: impl Read, bytes: u64) -> io::Result<Content> {
        let mut from = Hashing::new(from.take(bytes));
        match &mut self.form {
            Form::Folder => write_file(&self.part.join(name), &mut from)?,
            Form::Tar(tar) => {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes);
                header.set_mode(0o600);
                tar.append_data(&mut header, name, &mut from)?;
            }
        }
        Ok(from.finish()?.into())
    }

    /// Takes a file back that turned out to be another one. In a tar file it stays, and is not in the list.
    pub(in crate::cli) fn take_back(&self, name: &str) -> io::Result<()> {
        match self.form {
            Form::Folder => fs::remove_file(self.part.join(name)),
            Form::Tar(_) => Ok(()),
        }
    }

    /// Writes the list and gives the backup its name.
    pub(in crate::cli) fn finish(mut self, contents: &Contents) -> Result<(), String> {
        let shown = self.place.display().to_string();
        let failed = |error: io::Error| format!("cannot write {shown}: {error}");
        let list = serde_json::to_vec_pretty(contents).map_err(|error| failed(error.into()))?;
        self.add(CONTENTS, &list[..], list.len() as u64).map_err(failed)?;
        match &mut self.form {
            Form::Folder => sync(&self.part.join(UPLOADS)).and_then(|()| sync(&self.part)).map_err(failed)?,
            Form::Tar(tar) => {
                tar.finish().map_err(failed)?;
                tar.get_mut().sync_all().map_err(failed)?;
            }
        }
        rename_new(&self.part, &self.place).map_err(failed)?;
        self.place.parent().map_or(Ok(()), |parent| sync(here(parent))).map_err(failed)
    }
}

impl Drop for Target {
    /// What did not become whole leaves nothing behind.
    fn drop(&mut self) {
        let removed = match self.form {
            Form::Folder => fs::remove_dir_all(&self.part),
            Form::Tar(_) => fs::remove_file(&self.part),
        };
        if let Err(error) = removed
            && error.kind() != io::ErrorKind::NotFound
        {
            log::warn!("a half-written backup could not be removed path={} error={error}", self.part.display());
        }
    }
}

/// Unpacks a backup into a folder, and holds every file in it to the list of contents.
pub(in crate::cli) fn unpack(backup: &Path, into: &Path) -> Result<Contents, String> {
    let failed = |error: io::Error| format!("cannot read the backup {}: {error}", backup.display());
    folder(&into.join(UPLOADS)).map_err(|error| format!("cannot write {}: {error}", into.display()))?;
    let is_folder = fs::metadata(backup).map_err(failed)?.is_dir();
    let found = if is_folder { copy_folder(backup, into) } else { unpack_tar(backup, into) }.map_err(failed)?;
    let listed = fs::read(into.join(CONTENTS))
        .map_err(|_| format!("{} is no backup: it has no {CONTENTS}; or its making broke off", backup.display()))?;
    let contents: Contents =
        serde_json::from_slice(&listed).map_err(|error| format!("{}: {CONTENTS}: {error}", backup.display()))?;
    if contents.format > FORMAT {
        return Err(format!("{} was made by a newer tieout ({}); use that one", backup.display(), contents.version));
    }
    for (name, content) in &contents.files {
        match found.get(name) {
            None => return Err(format!("the backup {} lacks {name}", backup.display())),
            Some(digest) if digest != content => {
                return Err(format!(
                    "the backup {} is damaged: {name} has {} bytes and SHA-256 {}, and should have {} bytes and {}",
                    backup.display(),
                    digest.bytes,
                    digest.sha256,
                    content.bytes,
                    content.sha256
                ));
            }
            Some(_) => {}
        }
    }
    for name in found.keys().filter(|name| !contents.files.contains_key(*name) && *name != CONTENTS) {
        fs::remove_file(into.join(name)).map_err(|error| format!("cannot remove {name}: {error}"))?;
    }
    Ok(contents)
}

fn copy_folder(backup: &Path, into: &Path) -> io::Result<BTreeMap<String, Content>> {
    let mut found = BTreeMap::new();
    let mut take = |name: String, path: PathBuf| -> io::Result<()> {
        if is_of_a_backup(&name) {
            found.insert(name.clone(), unpack_one(&name, open_file(&path)?, into)?);
        }
        Ok(())
    };
    for (folder, prefix) in [(backup.to_owned(), String::new()), (backup.join(UPLOADS), format!("{UPLOADS}/"))] {
        let listing = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            listing => listing?,
        };
        for entry in listing {
            let entry = entry?;
            take(format!("{prefix}{}", entry.file_name().to_string_lossy()), entry.path())?;
        }
    }
    Ok(found)
}

fn unpack_tar(backup: &Path, into: &Path) -> io::Result<BTreeMap<String, Content>> {
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(BufReader::new(File::open(backup)?));
    for entry in archive.entries()? {
        let entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        if entry.header().entry_type().is_file() && is_of_a_backup(&name) {
            // A name that stands twice is refused by the file that is there.
            found.insert(name.clone(), unpack_one(&name, entry, into)?);
        }
    }
    Ok(found)
}

fn unpack_one(name: &str, from: impl Read, into: &Path) -> io::Result<Content> {
    let most = if name == CONTENTS { MAX_CONTENTS } else { u64::MAX };
    let mut from = Hashing::new(from.take(most));
    write_file(&into.join(name), &mut from)?;
    Ok(from.finish()?.into())
}

fn is_of_a_backup(name: &str) -> bool {
    let upload = || Name::parse(name.strip_prefix(UPLOADS)?.strip_prefix('/')?);
    name == CONTENTS || name == DATABASE || matches!(upload(), Some(Name::Whole(_)))
}

fn write_file(path: &Path, from: &mut impl Read) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    io::copy(from, &mut file)?;
    file.flush()?;
    file.sync_all()
}

/// A folder for this user alone, with those above it.
pub(in crate::cli) fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Puts the names in a folder on the disk.
pub(in crate::cli) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder of a name without one is the present one.
fn here(parent: &Path) -> &Path {
    if parent.as_os_str().is_empty() { Path::new(".") } else { parent }
}

/// Gives a file or folder a name that nobody has.
pub(in crate::cli) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags};
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can; a look before is then the next best.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) if to.symlink_metadata().is_err() => {
            fs::rename(from, to)
        }
        done => Ok(done?),
    }
}
