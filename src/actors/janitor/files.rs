//! Files without a source: which they are, whether they may go, and their way through the trash.
//!
//! It leaves moving files to `uploads`. The one thing easy to get wrong: that a database knows nothing of a file says that
//! the file is garbage or that it is the wrong database. So files go only where folder and database belong together, never
//! many at once, and first into the trash.
use super::{Options, SweepError};
use crate::db::{Store, installation, sources};
use crate::protocol::ids::SourceId;
use crate::uploads::{Entry, Folder, Name, OpenError, Opened, Owner, TRASH, Trashed, UNMARKED};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;

/// Files that may go at once without a question, if they are not more than the share below either.
const FEW: usize = 10;
/// One part in so many of all files may go without a question.
const SHARE: usize = 20;
/// Most names that are remembered of one look; the next one finds the rest.
const MAX_NAMES: usize = 10_000;
/// Names in one log line.
const SHOWN: usize = 20;
/// A file this young may belong to a request that is about to store its row.
const IN_FLIGHT: Duration = Duration::from_secs(300);
/// Chunks of a listing on their way to the store.
const CHUNKS: usize = 2;

/// Whether the folder of uploads is looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UploadsState {
    /// Nobody has looked yet.
    #[default]
    Unchecked,
    /// Folder and database belong together.
    Swept,
    /// Nothing is removed.
    Held {
        /// Why, and what to do about it, readable alone.
        reason: String,
    },
}

/// What a look found and did.
#[derive(Clone, Debug, Default)]
pub struct FileSweep {
    /// How it stands.
    pub state: UploadsState,
    /// Files of sources in the folder.
    pub total: usize,
    /// Files of sources without a row, but for those in flight.
    pub unknown: usize,
    /// Of them, those that are old enough to go; at most some thousand.
    pub strays: Vec<Name>,
    /// Uploads that broke off long ago.
    pub parts: Vec<Name>,
    /// Files that went into the trash.
    pub moved: usize,
    /// Files that were taken out of it, for their source is there again.
    pub put_back: usize,
    /// Files of the trash that were removed for good.
    pub removed: usize,
}

/// What may be done about files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Only to look.
    Look,
    /// To move a few.
    Few,
    /// To move as many as there are: somebody looked at the list.
    All,
}

/// The files in the folder as the database sees them.
#[derive(Default)]
struct Census {
    /// Files that are called like a source.
    total: usize,
    /// Of them, those with a row.
    known: usize,
    /// Of them, those without one, but for those in flight.
    unknown: usize,
    /// Of these, those that are old by their id or by their time: a copied file has the time of its copying.
    unknown_old: usize,
    /// Of these, those that may go.
    strays: Vec<Name>,
    /// Uploads that broke off long ago.
    parts: Vec<Name>,
}

/// One look at the files.
pub struct FileSweeper<'a> {
    store: &'a Store,
    folder: PathBuf,
    options: &'a Options,
    permission: Permission,
}

impl<'a> FileSweeper<'a> {
    /// Of the files of this data directory.
    pub fn new(store: &'a Store, data_dir: &Path, options: &'a Options, permission: Permission) -> Self {
        Self { store, folder: Folder::of(data_dir).path().to_owned(), options, permission }
    }

    /// Looks, and does what is permitted. Sources that were deleted up to `before`, a time of the store, give their files to
    /// the trash.
    ///
    /// # Errors
    /// [`SweepError`]; what was moved until then stays moved.
    pub async fn sweep(&self, before: i64) -> Result<FileSweep, SweepError> {
        let us = installation::id(self.store).await?;
        let opened = match self.open(&us).await? {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(FileSweep { state: UploadsState::Swept, ..FileSweep::default() }),
            Err(reason) => return Ok(held(reason, FileSweep::default())),
        };
        let now = self.now();
        let census = self.census(&opened, now).await?;
        let (total, unknown) = (census.total, census.unknown);
        let (strays, parts) = (census.strays.clone(), census.parts.clone());
        let mut done = FileSweep { total, unknown, strays, parts, ..FileSweep::default() };
        if let Some(reason) = self.foreign(&opened, &us, &census).await? {
            return Ok(held(reason, done));
        }
        let works = self.permission != Permission::Look && self.still_ours(&opened, &us).await?;
        if works {
            done.put_back = self.put_back(&opened).await?;
            done.moved = self.throw_deleted_away(&opened, before, now).await?;
        }
        if self.permission != Permission::All && unknown > FEW && unknown * SHARE > total {
            return Ok(held(too_many(unknown, total), done));
        }
        done.state = UploadsState::Swept;
        if !works {
            return Ok(done);
        }
        done.moved += self.throw_away(&opened, done.strays.iter().chain(&done.parts).copied().collect(), now).await?;
        done.removed = self.empty_trash(&opened, now).await?;
        Ok(done)
    }

    /// Whether the folder belongs to others, as far as its marks say. Reads no list of files and changes nothing.
    ///
    /// # Errors
    /// [`SweepError`].
    pub async fn look(&self) -> Result<UploadsState, SweepError> {
        let us = installation::id(self.store).await?;
        let reason = match self.open(&us).await? {
            Err(reason) => Some(reason),
            Ok(None) => None,
            Ok(Some(opened)) => match owner(&opened, &us).await? {
                Owner::Others(others) => Some(others_own_it(&self.folder, &others, &us)),
                Owner::Us | Owner::Nobody => None,
            },
        };
        Ok(reason.map_or(UploadsState::Unchecked, |reason| UploadsState::Held { reason }))
    }

    /// The folder is this installation's alone from now on; returns the marks that were taken away.
    ///
    /// # Errors
    /// [`SweepError`].
    pub async fn adopt(&self) -> Result<Vec<String>, SweepError> {
        let (us, folder) = (installation::id(self.store).await?, self.folder.clone());
        blocking(move || Opened::at(&folder).map_err(io::Error::other)?.adopt(&us)).await
    }

    /// The folder, unless there is none, or a reason to leave it alone.
    async fn open(&self, us: &str) -> Result<Result<Option<Arc<Opened>>, String>, SweepError> {
        let (folder, us) = (self.folder.clone(), us.to_owned());
        let opened = match tokio::task::spawn_blocking(move || Opened::at(&folder)).await.map_err(lost)? {
            Ok(opened) => Arc::new(opened),
            Err(OpenError::Missing(_)) => return Ok(Ok(None)),
            Err(error @ OpenError::Link(_)) => return Ok(Err(format!("{error}: nothing in it is removed"))),
            Err(error) => return Err(SweepError::Files(error.to_string())),
        };
        let owner = owner(&opened, &us).await?;
        let others = match owner {
            // Whose they are is for a look at the files to say.
            Owner::Others(others) if others != [UNMARKED] => others,
            _ => return Ok(Ok(Some(opened))),
        };
        // Whoever has files of its own in there says so, for the others' sake.
        if self.permission != Permission::Look && !sources::files(self.store, None).await?.is_empty() {
            let (opened, us) = (opened.clone(), us.clone());
            blocking(move || opened.mark(&us)).await?;
        }
        Ok(Err(others_own_it(&self.folder, &others, &us)))
    }

    /// Every file, looked up in the database in chunks.
    async fn census(&self, opened: &Arc<Opened>, now: SystemTime) -> Result<Census, SweepError> {
        let (chunks, mut listed) = mpsc::channel::<Vec<Entry>>(CHUNKS);
        let (folder, size) = (opened.clone(), self.options.batch.max(1));
        let listing = tokio::task::spawn_blocking(move || list(&folder, size, &chunks));
        let mut census = Census::default();
        while let Some(chunk) = listed.recv().await {
            let ids = chunk.iter().filter_map(whole).collect();
            let unknown = sources::unknown(self.store, ids).await?;
            chunk.iter().for_each(|entry| census.count(entry, &unknown, self.options.grace, now));
        }
        listing.await.map_err(lost)?.map_err(|error| self.failed(&error))?;
        Ok(census)
    }

    /// A reason to leave the files alone: they are not this database's.
    async fn foreign(&self, opened: &Arc<Opened>, us: &str, census: &Census) -> Result<Option<String>, SweepError> {
        let (others, ours) = match owner(opened, us).await? {
            Owner::Us => return Ok(None),
            Owner::Nobody => (vec![UNMARKED.to_owned()], census.unknown_old <= census.known),
            // A database that knows every one of them is theirs; another one has some of its own at best.
            Owner::Others(others) => {
                let ours = others == [UNMARKED] && census.unknown_old == 0;
                (others, ours)
            }
        };
        if self.permission != Permission::Look {
            let (opened, us) = (opened.clone(), us.to_owned());
            blocking(move || if ours { opened.adopt(&us).map(drop) } else { opened.mark(UNMARKED) }).await?;
        }
        Ok((!ours).then(|| others_own_it(&self.folder, &others, us)))
    }

    async fn still_ours(&self, opened: &Arc<Opened>, us: &str) -> Result<bool, SweepError> {
        Ok(owner(opened, us).await? == Owner::Us)
    }

    /// What somebody deleted goes without a question.
    async fn throw_deleted_away(
        &self,
        opened: &Arc<Opened>,
        before: i64,
        now: SystemTime,
    ) -> Result<usize, SweepError> {
        let (mut moved, mut after) = (0, None);
        loop {
            let page = sources::deleted(self.store, before, after).await?;
            after = page.last().copied();
            if after.is_none() {
                return Ok(moved);
            }
            let names: Vec<Name> = page.into_iter().map(Name::Whole).collect();
            let opened = opened.clone();
            moved += blocking(move || opened.throw_away(&names, now)).await?.len();
        }
    }

    async fn throw_away(&self, opened: &Arc<Opened>, names: Vec<Name>, now: SystemTime) -> Result<usize, SweepError> {
        let opened = opened.clone();
        let moved = blocking(move || opened.throw_away(&names, now)).await?;
        if !moved.is_empty() {
            let shown = self.folder.join(TRASH);
            log::warn!(
                "files without a source were moved to {} files={} {}",
                shown.display(),
                moved.len(),
                listed(&moved)
            );
        }
        Ok(moved.len())
    }

    /// Puts back what has a source: an older database was here for a while, and now the right one is.
    async fn put_back(&self, opened: &Arc<Opened>) -> Result<usize, SweepError> {
        let mut back = Vec::new();
        for some in trashed(opened).await?.chunks(self.options.batch.max(1)) {
            let ids = some.iter().filter_map(|trashed| id_of(trashed.name)).collect();
            let visible = sources::visible(self.store, ids).await?;
            let mine = |trashed: &&Trashed| id_of(trashed.name).is_some_and(|id| visible.contains(&id));
            let (opened, mine) = (opened.clone(), some.iter().filter(mine).cloned().collect::<Vec<_>>());
            let put_back = blocking(move || {
                let mut put_back = Vec::new();
                for trashed in mine {
                    if opened.put_back(&trashed)? {
                        put_back.push(trashed.name);
                    }
                }
                Ok(put_back)
            });
            back.extend(put_back.await?);
        }
        if !back.is_empty() {
            log::warn!(
                "files that have a source again were put back from the trash files={} {}",
                back.len(),
                listed(&back)
            );
        }
        Ok(back.len())
    }

    async fn empty_trash(&self, opened: &Arc<Opened>, now: SystemTime) -> Result<usize, SweepError> {
        let (age, trashed, opened) = (self.options.trash_age, trashed(opened).await?, opened.clone());
        let removed = blocking(move || {
            let mut removed = Vec::new();
            for old in trashed.iter().filter(|trashed| trashed.is_older(age, now)) {
                if opened.remove_for_good(old)? {
                    removed.push(old.name);
                }
            }
            Ok(removed)
        });
        let removed = removed.await?;
        if !removed.is_empty() {
            log::info!("files of the trash were removed for good files={} {}", removed.len(), listed(&removed));
        }
        Ok(removed.len())
    }

    /// Files carry the time of this machine or of a file server, and either clock may be wrong: old is what is old by both.
    fn now(&self) -> SystemTime {
        let store = SystemTime::UNIX_EPOCH + Duration::from_micros(self.store.now_us().unsigned_abs());
        SystemTime::now().min(store)
    }

    fn failed(&self, error: &io::Error) -> SweepError {
        SweepError::Files(format!("{}: {error}", self.folder.display()))
    }
}

impl Census {
    fn count(&mut self, entry: &Entry, unknown: &[SourceId], grace: Duration, now: SystemTime) {
        let old = |since: SystemTime, age| now.duration_since(since).is_ok_and(|passed| passed >= age);
        let may_go = old(entry.modified, grace);
        let Some(id) = whole(entry) else {
            if may_go && self.parts.len() < MAX_NAMES {
                self.parts.push(entry.name);
            }
            return;
        };
        self.total += 1;
        if !unknown.contains(&id) {
            self.known += 1;
            return;
        }
        self.unknown += usize::from(old(entry.modified, grace.min(IN_FLIGHT)));
        self.unknown_old += usize::from(may_go || old(entry.name.begun(), grace.max(IN_FLIGHT)));
        if may_go && self.strays.len() < MAX_NAMES {
            self.strays.push(entry.name);
        }
    }
}

fn list(folder: &Opened, size: usize, chunks: &mpsc::Sender<Vec<Entry>>) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(size);
    for entry in folder.files()? {
        chunk.push(entry?);
        if chunk.len() == size && chunks.blocking_send(std::mem::take(&mut chunk)).is_err() {
            // Whoever looked up the last one failed, and says why.
            return Ok(());
        }
    }
    // As above.
    let _heard = chunks.blocking_send(chunk);
    Ok(())
}

async fn owner(opened: &Arc<Opened>, us: &str) -> Result<Owner, SweepError> {
    let (opened, us) = (opened.clone(), us.to_owned());
    blocking(move || opened.owner(&us)).await
}

async fn trashed(opened: &Arc<Opened>) -> Result<Vec<Trashed>, SweepError> {
    let opened = opened.clone();
    blocking(move || opened.trashed()).await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, SweepError> {
    let done = tokio::task::spawn_blocking(work).await.map_err(lost)?;
    done.map_err(|error| SweepError::Files(format!("the folder of uploads: {error}")))
}

fn lost(error: tokio::task::JoinError) -> SweepError {
    SweepError::Lost(error.to_string())
}

fn whole(entry: &Entry) -> Option<SourceId> {
    id_of(entry.name)
}

fn id_of(name: Name) -> Option<SourceId> {
    match name {
        Name::Whole(id) => Some(id),
        Name::Part(_) => None,
    }
}

fn held(reason: String, done: FileSweep) -> FileSweep {
    FileSweep { state: UploadsState::Held { reason }, ..done }
}

fn others_own_it(folder: &Path, others: &[String], us: &str) -> String {
    format!(
        "the files in {} belong to another installation ({}), and this database is the installation {us}: nothing in it \
         is removed; give this database a folder of its own or put the database of these files back; `tieout sweep --adopt` \
         makes the folder this database's alone",
        folder.display(),
        others.join(", ")
    )
}

fn too_many(unknown: usize, total: usize) -> String {
    format!(
        "{unknown} of {total} files have no source in this database: none is removed, for it may be an old or a wrong one; \
         `tieout sweep` lists them, `tieout sweep --confirm` moves them to the trash"
    )
}

/// The first names, for a log line.
fn listed(names: &[Name]) -> String {
    let shown: Vec<String> = names.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
    format!("names={}{more}", shown.join(","))
}
