//! A SQLite database as of one point in time, in a file of its own, taken while others read and write it.
//!
//! Easy to get wrong: a copy in several steps begins anew at each write of another process, and never ends beside a busy
//! server. It is one step, in one read transaction; in WAL mode it keeps nobody from writing.
use super::sources::SourceFile;
use crate::protocol::ids::SourceId;
use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

/// Between tries while somebody has the database locked.
const PAUSE: Duration = Duration::from_millis(50);

/// Copies the database at `from`, which may be in use, to the new file `to`. Blocks.
///
/// # Errors
/// SQLite's, readable alone.
pub fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: rusqlite::Error| format!("cannot copy the database {}: {error}", from.display());
    if !from.exists() {
        return Err(format!("there is no database {}", from.display()));
    }
    let source = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    source.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
    let mut copy = Connection::open(to).map_err(failed)?;
    let backup = Backup::new(&source, &mut copy).map_err(failed)?;
    backup.run_to_completion(i32::MAX, PAUSE, None).map_err(failed)?;
    drop(backup);
    // One file, without a log beside it.
    copy.pragma_update(None, "journal_mode", "DELETE").map_err(failed)?;
    let sound: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if sound != "ok" {
        return Err(format!("the database {} is damaged: {sound}", from.display()));
    }
    copy.close().map_err(|(_, error)| failed(error))
}

/// Puts a database that nobody has open, and that was served from since, into its one file. Blocks.
///
/// # Errors
/// SQLite's, readable alone.
pub fn seal(path: &Path) -> Result<(), String> {
    let sealed = || -> rusqlite::Result<()> {
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        database.pragma_update(None, "journal_mode", "DELETE")?;
        database.close().map_err(|(_, error)| error)
    };
    sealed().map_err(|error| format!("cannot close the database {}: {error}", path.display()))
}

/// The files of visible sources in a copy, of whatever version. Blocks.
///
/// # Errors
/// SQLite's, readable alone.
pub fn files(copy: &Path) -> Result<Vec<SourceFile>, String> {
    let read = || -> rusqlite::Result<Vec<(String, String, i64, String)>> {
        let database = Connection::open_with_flags(copy, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let asked = "SELECT id, filename, bytes, sha256 FROM sources WHERE deleted_us IS NULL ORDER BY id";
        let mut rows = database.prepare(asked)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        rows.collect()
    };
    let failed = |error: String| format!("cannot read the sources of {}: {error}", copy.display());
    let rows = read().map_err(|error| failed(error.to_string()))?;
    let file = |(id, filename, bytes, sha256): (String, String, i64, String)| {
        let id: SourceId = id.parse().map_err(|_| failed(format!("{id:?} is no id")))?;
        Ok(SourceFile { id, filename, bytes: bytes.unsigned_abs(), sha256 })
    };
    rows.into_iter().map(file).collect()
}
