//! `tieout restore`: a data directory from a backup, or the uploads that belong to a restored PostgreSQL.
//!
//! Everything is unpacked and checked beside its place, and takes its place at the end. Easy to get wrong: clients know
//! positions of the old history, and the original may still run; so a restored installation has new epochs and a new id.
use super::backup::archive::{Contents, DATABASE, folder, rename_new, sync, unpack};
use super::opened::{self, Sharing};
use super::output::{complain, say};
use crate::app::store_options;
use crate::config::{Config, Overrides};
use crate::db::{DataLock, Options, Place, Store, installation, snapshot, sources};
use crate::uploads::{Folder, Opened, UPLOADS};
use clap::Args;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `tieout restore …`.
#[derive(Args, Debug)]
pub struct RestoreArgs {
    /// What `tieout backup` made: a folder or a file
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; 0 when everything of the backup is in its place, else 1 and nothing is.
pub fn run(arguments: &RestoreArgs) -> ExitCode {
    match carry_out(arguments) {
        Ok(text) => say(&text, ExitCode::SUCCESS),
        Err(error) => {
            complain(&format!("tieout: nothing was restored: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn carry_out(arguments: &RestoreArgs) -> Result<String, String> {
    let config = opened::settings(&arguments.settings)?;
    let options = store_options(&config).map_err(|error| error.to_string())?;
    let data = &config.data_dir;
    let failed = |error: io::Error| format!("cannot write {}: {error}", data.display());
    folder(data).map_err(failed)?;
    // Held until all is in its place: no server starts on the half of it.
    let _lock = match &options.place {
        Place::Sqlite(database) => Some(DataLock::take(database)?),
        Place::Postgres(_) => None,
    };
    refuse_what_is_there(&options.place, data)?;
    let staging = Staging::make(data).map_err(failed)?;
    let contents = unpack(&arguments.backup, &staging.0)?;
    let restored = match (&options.place, contents.store.as_str()) {
        (Place::Sqlite(database), "sqlite") => of_sqlite(&staging.0, &contents, database)?,
        (Place::Postgres(_), "postgres") => of_postgres(&staging.0, &contents, &config)?,
        (_, store) => return Err(format!("the backup is one of {store}, and the settings name another store")),
    };
    sync(data).map_err(failed)?;
    Ok(shown(&restored, &contents))
}

/// What a restore did.
struct Restored {
    files: usize,
    left_out: usize,
    projects: usize,
}

fn shown(restored: &Restored, contents: &Contents) -> String {
    let Restored { files, left_out, projects } = restored;
    let mut text =
        format!("restored: {files} uploads, all as they were uploaded; projects with a new epoch: {projects}\n");
    if *left_out > 0 {
        text += &format!("left out: {left_out} uploads that no source of the database has\n");
    }
    for (name, reason) in &contents.damaged {
        text += &format!("missing already in the backup: {name}: {reason}\n");
    }
    text
}

fn refuse_what_is_there(place: &Place, data: &Path) -> Result<(), String> {
    let uploads = Folder::of(data);
    let mut there = Vec::new();
    if let Place::Sqlite(database) = place
        && database.symlink_metadata().is_ok()
    {
        there.push(database.display().to_string());
    }
    let is_empty = match fs::read_dir(uploads.path()) {
        Ok(mut listing) => listing.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_empty {
        there.push(uploads.path().display().to_string());
    }
    if there.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{} is there already and is not overwritten; move it away, or choose another --data-dir",
        there.join(" and ")
    ))
}

fn of_sqlite(staging: &Path, contents: &Contents, database: &Path) -> Result<Restored, String> {
    let staged = staging.join(DATABASE);
    if !contents.files.contains_key(DATABASE) {
        return Err(format!("the backup has no {DATABASE}"));
    }
    let prepared =
        opened::with_store_of(Options::sqlite(&staged), async |store| prepare(store, staging, contents).await);
    let restored = opened::block_on(prepared)?;
    snapshot::seal(&staged)?;
    put_uploads(staging, database.parent().unwrap_or(Path::new(".")))?;
    // Last: with it the installation is there.
    rename_new(&staged, database)
        .map_err(|error| format!("cannot put {} in its place: {error}", database.display()))?;
    Ok(restored)
}

fn of_postgres(staging: &Path, contents: &Contents, config: &Config) -> Result<Restored, String> {
    let prepared = opened::with_store(config, Sharing::Alone, async |store| prepare(store, staging, contents).await);
    let restored = opened::block_on(prepared)?;
    put_uploads(staging, &config.data_dir)?;
    Ok(restored)
}

/// Holds the unpacked files to the database's sources, and makes of both an installation of its own.
async fn prepare(store: &Store, staging: &Path, contents: &Contents) -> Result<Restored, String> {
    let said = |error: crate::db::StoreError| error.to_string();
    let (mut wanted, mut last) = (BTreeSet::new(), None);
    loop {
        let page = sources::files(store, last).await.map_err(said)?;
        last = page.last().map(|file| file.id);
        if last.is_none() {
            break;
        }
        for file in page {
            let name = format!("{UPLOADS}/{}", file.id);
            match contents.files.get(&name) {
                Some(content) if (content.bytes, &content.sha256) == (file.bytes, &file.sha256) => {
                    wanted.insert(name);
                }
                Some(_) => return Err(format!("{name} is not the file that the database knows as {}", file.filename)),
                None if contents.damaged.contains_key(&name) => {}
                None => return Err(format!("the backup lacks {name}, which the database knows as {}", file.filename)),
            }
        }
    }
    let others: Vec<&String> =
        contents.files.keys().filter(|name| name.as_str() != DATABASE && !wanted.contains(*name)).collect();
    if wanted.is_empty() && !others.is_empty() && contents.store == "postgres" {
        return Err(format!("the database knows none of the {} uploads: restore its dump first", others.len()));
    }
    for name in &others {
        fs::remove_file(staging.join(name)).map_err(|error| format!("cannot remove {name}: {error}"))?;
    }
    let renewed = installation::begin_anew(store).await.map_err(said)?;
    let marked = Opened::at(&staging.join(UPLOADS)).map_err(|error| error.to_string())?;
    marked.mark(&renewed.id).map_err(|error| format!("cannot mark the folder of uploads: {error}"))?;
    Ok(Restored { files: wanted.len(), left_out: others.len(), projects: renewed.projects })
}

fn put_uploads(staging: &Path, data: &Path) -> Result<(), String> {
    let (from, to) = (staging.join(UPLOADS), Folder::of(data));
    let failed = |error: io::Error| format!("cannot put {} in its place: {error}", to.path().display());
    sync(&from).map_err(failed)?;
    // Over an empty folder, but never over one with something in it.
    fs::rename(&from, to.path()).map_err(failed)?;
    sync(data).map_err(failed)
}

/// A folder inside the data directory, gone with the value.
struct Staging(PathBuf);

impl Staging {
    fn make(data: &Path) -> io::Result<Self> {
        let path = data.join(format!(".restore-{:08x}", rand::random::<u32>()));
        folder(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            log::warn!("the folder of a restore could not be removed path={} error={error}", self.0.display());
        }
    }
}
