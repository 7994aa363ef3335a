//! Files and folders that no other user of the machine may read.
//!
//! Easy to get wrong: a data directory may be a folder that was there before and holds other things; its rights are changed
//! only when it is this user's and nothing but ours is in it.
use rustix::fs::Mode;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// What may be in a data directory of ours.
const OURS: [&str; 3] = ["tieout.sqlite", "uploads", "token"];

/// From here on what this process makes is for its user alone.
pub fn only_for_this_user() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// Takes the rights of all others from a data directory that is there, and from what is ours in it.
///
/// # Errors
/// The system's, with the path.
pub fn close_to_others(data_dir: &Path) -> io::Result<()> {
    let named = |path: &Path| {
        let shown = path.display().to_string();
        move |error: io::Error| io::Error::new(error.kind(), format!("{shown}: {error}"))
    };
    let listing = match fs::read_dir(data_dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(named(data_dir)(error)),
    };
    let mut only_ours = true;
    for entry in listing {
        let entry = entry.map_err(named(data_dir))?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| OURS.iter().any(|ours| is_of(name, ours)));
        only_ours &= ours;
        if ours {
            close(&entry.path()).map_err(named(&entry.path()))?;
        }
    }
    if only_ours {
        close(data_dir).map_err(named(data_dir))?;
    } else if fs::metadata(data_dir).is_ok_and(|found| found.mode() & 0o077 != 0) {
        log::warn!(
            "other users may look into the data directory, and it holds other files path={}",
            data_dir.display()
        );
    }
    Ok(())
}

/// A file of ours, or one that SQLite makes beside it.
fn is_of(name: &str, ours: &str) -> bool {
    name.strip_prefix(ours)
        .is_some_and(|rest| rest.is_empty() || (ours.ends_with("sqlite") && rest.starts_with(['-', '.'])))
}

fn close(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        // SQLite removes some of its files when the last process leaves.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // What is another user's, or stands for something elsewhere, is not ours to change.
    let changeable = !found.is_symlink() && found.uid() == rustix::process::geteuid().as_raw();
    if !changeable || found.mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(found.mode() & 0o7700))
}

/// Whether every user of the machine may read this file.
pub(super) fn readable_by_others(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_closed_and_what_is_not_is_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
        let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for (folder, other) in [("ours", false), ("shared", true)] {
            let data = home.path().join(folder);
            fs::create_dir_all(data.join("uploads")).unwrap();
            for name in ["tieout.sqlite", "tieout.sqlite-wal", "token"] {
                fs::write(data.join(name), "x").unwrap();
                open(&data.join(name), 0o644);
            }
            if other {
                fs::write(data.join("notes.txt"), "x").unwrap();
                open(&data.join("notes.txt"), 0o644);
            }
            open(&data.join("uploads"), 0o755);
            open(&data, 0o755);
            close_to_others(&data).unwrap();
            for name in ["tieout.sqlite", "tieout.sqlite-wal", "token"] {
                assert_eq!(mode(&data.join(name)), 0o600, "{folder}/{name}");
            }
            assert_eq!(mode(&data.join("uploads")), 0o700);
            assert_eq!(mode(&data), if other { 0o755 } else { 0o700 });
            assert!(!other || mode(&data.join("notes.txt")) == 0o644);
        }
        close_to_others(&home.path().join("missing")).unwrap();
    }
}
