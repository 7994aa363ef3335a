//! One server per data directory: an advisory lock on a file beside the database.
//!
//! The kernel drops the lock with the process, however it ends, so a stale file never blocks a start. It leaves
//! what to do about a held lock to the supervisor. The one thing easy to get wrong: never delete the file, or two
//! processes hold locks on two files of the same name.
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The lock; it lasts as long as the value.
#[derive(Debug)]
pub(crate) struct LockFile {
    _held: File,
}

impl LockFile {
    /// Takes the lock or says who has it. Never waits.
    pub(crate) fn take(database: &Path) -> Result<Self, String> {
        let path = beside(database);
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|error| format!("cannot open the lock file {}: {error}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The text is a courtesy; a lock without a readable holder is still a held lock.
                if file.read_to_string(&mut holder).is_err() || holder.trim().is_empty() {
                    holder = "unknown".into();
                }
                return Err(format!(
                    "another tieout process (pid {}) is running on {}; one data directory serves one process",
                    holder.trim(),
                    database.display()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(format!("cannot lock {}: {error}", path.display())),
        }
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| writeln!(file, "{}", std::process::id()))
            .map_err(|error| format!("cannot write the lock file {}: {error}", path.display()))?;
        Ok(Self { _held: file })
    }
}

fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}
