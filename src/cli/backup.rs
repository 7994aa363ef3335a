//! `tieout backup`: the database and the uploads as of one point in time, beside a running server.
//!
//! The database comes first: files are never changed once they have their name, and one that is deleted meanwhile is found in
//! the trash, so that every source of the copy has its file. Easy to get wrong: a file that was damaged before must not keep
//! the others from being saved.
pub(super) mod archive;

use super::opened::{self, Sharing};
use super::output::{complain, say};
use crate::app::store_options;
use crate::config::{Config, Overrides};
use crate::db::sources::{self, SourceFile};
use crate::db::{Place, snapshot};
use crate::protocol::ids::SourceId;
use crate::uploads::{Folder, Name, Opened, UPLOADS};
use archive::{Contents, DATABASE, Target};
use clap::Args;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

const PLACES: &str = "\
With SQLite the backup is whole: `tieout restore BACKUP --data-dir DIR` makes a data directory of it. With PostgreSQL it has
the uploads alone: run pg_dump first and this second; to restore run pg_restore first and `tieout restore` second.

Exit code: 0 when all is saved; 1 when nothing is, or when the backup was made and lacks files that were damaged before.";

/// `tieout backup …`.
#[derive(Args, Debug)]
#[command(after_help = PLACES)]
pub struct BackupArgs {
    /// What to make: a folder, or one file when the name ends in .tar; nothing may be there
    #[arg(value_name = "DIR|FILE.tar")]
    place: PathBuf,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; 0 when everything is saved, else 1.
pub fn run(arguments: &BackupArgs) -> ExitCode {
    match carry_out(arguments) {
        Ok(contents) => {
            for (name, reason) in &contents.damaged {
                complain(&format!("tieout: not saved, for it was damaged before: {name}: {reason}"));
            }
            let code = if contents.damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            say(&shown(&arguments.place, &contents), code)
        }
        Err(error) => {
            complain(&format!("tieout: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn shown(place: &Path, contents: &Contents) -> String {
    let bytes: u64 = contents.files.values().map(|content| content.bytes).sum();
    let what = match contents.store.as_str() {
        "postgres" => "the uploads; the database is what pg_dump saved before",
        _ => "the database and its uploads",
    };
    format!("saved in {}: {what}; {} files, {bytes} bytes\n", place.display(), contents.files.len())
}

fn carry_out(arguments: &BackupArgs) -> Result<Contents, String> {
    let config = opened::settings(&arguments.settings)?;
    let now = jiff::Timestamp::try_from(SystemTime::now()).map_err(|error| error.to_string())?.as_millisecond();
    let target = Target::begin(&arguments.place)?;
    match store_options(&config).map_err(|error| error.to_string())?.place {
        Place::Sqlite(database) => of_sqlite(target, Contents::new("sqlite", now), &config, &database),
        Place::Postgres(_) => of_postgres(target, Contents::new("postgres", now), &config),
    }
}

fn of_sqlite(target: Target, contents: Contents, config: &Config, database: &Path) -> Result<Contents, String> {
    let failed = |error: io::Error| format!("cannot write a copy of the database: {error}");
    let folder = target.beside().map_err(failed)?;
    let copy = folder.path().join(DATABASE);
    snapshot::copy(database, &copy)?;
    let files = snapshot::files(&copy)?.into_iter().map(|file| (file.id, Some(file))).collect();
    let mut saving = Saving::new(target, contents, &config.data_dir)?;
    let file = File::open(&copy).map_err(failed)?;
    saving.add(DATABASE, &file).map_err(failed)?;
    saving.files(&files)?;
    saving.finish()
}

/// All files that there are, for a dump that was made before may know more than the database does now.
fn of_postgres(target: Target, contents: Contents, config: &Config) -> Result<Contents, String> {
    let mut saving = Saving::new(target, contents, &config.data_dir)?;
    let mut files: BTreeMap<SourceId, Option<SourceFile>> = saving.there()?.into_iter().map(|id| (id, None)).collect();
    let known = opened::block_on(opened::with_store(config, Sharing::Beside, async |store| {
        let mut known: Vec<SourceFile> = Vec::new();
        loop {
            let page = sources::files(store, known.last().map(|file| file.id)).await;
            let page = page.map_err(|error| error.to_string())?;
            if page.is_empty() {
                return Ok(known);
            }
            known.extend(page);
        }
    }))?;
    files.extend(known.into_iter().map(|file| (file.id, Some(file))));
    saving.files(&files)?;
    saving.finish()
}

/// A backup that is being made.
struct Saving {
    target: Target,
    contents: Contents,
    uploads: Option<Opened>,
}

impl Saving {
    fn new(target: Target, contents: Contents, data_dir: &Path) -> Result<Self, String> {
        let folder = Folder::of(data_dir);
        // The folder may be a link to another disk, which is nobody's business here.
        let uploads = match folder.path().canonicalize() {
            Ok(path) => Some(Opened::at(&path).map_err(|error| error.to_string())?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("cannot read {}: {error}", folder.path().display())),
        };
        Ok(Self { target, contents, uploads })
    }

    /// Every source's file in the folder and in its trash.
    fn there(&self) -> Result<Vec<SourceId>, String> {
        let Some(uploads) = &self.uploads else { return Ok(Vec::new()) };
        let listed = || -> io::Result<Vec<Name>> {
            let mut names = uploads.trashed()?.into_iter().map(|trashed| trashed.name).collect::<Vec<_>>();
            for entry in uploads.files()? {
                names.push(entry?.name);
            }
            Ok(names)
        };
        let names = listed().map_err(|error| format!("cannot list the uploads: {error}"))?;
        let id = |name| if let Name::Whole(id) = name { Some(id) } else { None };
        Ok(names.into_iter().filter_map(id).collect())
    }

    fn files(&mut self, files: &BTreeMap<SourceId, Option<SourceFile>>) -> Result<(), String> {
        for (id, known) in files {
            let name = format!("{UPLOADS}/{id}");
            let called = known.as_ref().map_or(String::new(), |file| format!(" ({})", file.filename));
            match self.find(*id) {
                Err(error) => self.damaged(&name, format!("it cannot be read{called}: {error}")),
                Ok(file) => {
                    let failed = |error: io::Error| format!("cannot save {name}: {error}");
                    let saved = self.add(&name, &file).map_err(failed)?;
                    let changed = known.as_ref().filter(|known| (known.bytes, &known.sha256) != (saved.0, &saved.1));
                    if changed.is_some() {
                        self.contents.files.remove(&name);
                        self.target.take_back(&name).map_err(failed)?;
                        self.damaged(&name, format!("it is no longer the file that was uploaded{called}"));
                    }
                }
            }
        }
        Ok(())
    }

    fn find(&self, id: SourceId) -> io::Result<File> {
        let uploads = self.uploads.as_ref().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        uploads.find(id)
    }

    /// Adds a file; returns its length and hash.
    fn add(&mut self, name: &str, file: &File) -> io::Result<(u64, String)> {
        let content = self.target.add(name, file, file.metadata()?.len())?;
        let seen = (content.bytes, content.sha256.clone());
        self.contents.files.insert(name.into(), content);
        Ok(seen)
    }

    fn damaged(&mut self, name: &str, reason: String) {
        self.contents.damaged.insert(name.into(), reason);
    }

    fn finish(self) -> Result<Contents, String> {
        self.target.finish(&self.contents)?;
        Ok(self.contents)
    }
}
