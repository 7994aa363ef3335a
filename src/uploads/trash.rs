//! The trash inside the folder of uploads: one folder a day, from which a file can be put back.
//!
//! Easy to get wrong: the day of a clock that is ahead. A file goes for good only when its day, or its last move by the
//! file system's word, is long enough ago by a time that the caller vouches for.
use super::opened::{Name, Opened};
use crate::protocol::ids::SourceId;
use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::time::{Duration, SystemTime};

/// The trash's name inside the folder of uploads.
pub const TRASH: &str = ".trash";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A file in the trash.
#[derive(Clone, Debug)]
pub struct Trashed {
    /// The day on which it was thrown away, as `2026-11-28`.
    pub day: String,
    /// Its name.
    pub name: Name,
    moved: SystemTime,
}

impl Opened {
    /// Moves these files into the trash of the day of `now`; returns those that were there.
    ///
    /// # Errors
    /// The system's; files before the one at fault were moved.
    pub fn throw_away(&self, names: &[Name], now: SystemTime) -> io::Result<Vec<Name>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let (trash, mut moved) = (self.made(TRASH)?.made(&day_of(now)?)?, Vec::new());
        for name in names {
            if self.move_to(*name, &trash)? {
                moved.push(*name);
            }
        }
        trash.sync()?;
        self.sync()?;
        Ok(moved)
    }

    /// Opens the file of a source, in its place or in the trash.
    ///
    /// # Errors
    /// As [`super::Folder::open`].
    pub fn find(&self, source: SourceId) -> io::Result<File> {
        let name = Name::Whole(source);
        match self.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let trashed = self.trashed()?.into_iter().find(|trashed| trashed.name == name).ok_or(error)?;
                self.day(&trashed.day)?.open(name)
            }
            opened => opened,
        }
    }

    /// What lies in the trash, in no order.
    ///
    /// # Errors
    /// The system's.
    pub fn trashed(&self) -> io::Result<Vec<Trashed>> {
        let mut found = Vec::new();
        let Some(trash) = self.inner(TRASH)? else { return Ok(found) };
        for day in trash.names()? {
            let day = day?;
            if begin_of(&day).is_none() {
                continue;
            }
            let Some(folder) = trash.inner(&day)? else { continue };
            for entry in folder.files()? {
                let entry = entry?;
                found.push(Trashed { day: day.clone(), name: entry.name, moved: entry.changed });
            }
        }
        Ok(found)
    }

    /// A folder of the trash.
    ///
    /// # Errors
    /// The system's; that it is gone is one.
    pub fn day(&self, day: &str) -> io::Result<Self> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("{TRASH}/{day} is gone"));
        self.inner(TRASH)?.ok_or_else(gone)?.inner(day)?.ok_or_else(gone)
    }

    /// Puts a file back in its place unless there is one; `false` when there is, or when it is gone.
    ///
    /// # Errors
    /// The system's.
    pub fn put_back(&self, trashed: &Trashed) -> io::Result<bool> {
        let (day, name) = (self.day(&trashed.day)?, trashed.name.to_string());
        // A second name first: unlike a move it never replaces what is there.
        match rustix::fs::linkat(&day.dir, &name, &self.dir, &name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOENT) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        self.sync()?;
        day.remove(&name)?;
        Ok(true)
    }

    /// Removes a file of the trash for good, and its day with the last one.
    ///
    /// # Errors
    /// The system's.
    pub fn remove_for_good(&self, trashed: &Trashed) -> io::Result<bool> {
        let Some(trash) = self.inner(TRASH)? else { return Ok(false) };
        let Some(day) = trash.inner(&trashed.day)? else { return Ok(false) };
        let removed = day.remove(&trashed.name.to_string())?;
        match rustix::fs::unlinkat(&trash.dir, &trashed.day, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(removed),
            Err(error) => Err(error.into()),
        }
    }
}

impl Trashed {
    /// Whether it has been in the trash for at least `age`.
    pub fn is_older(&self, age: Duration, now: SystemTime) -> bool {
        let by_day = begin_of(&self.day).and_then(|begin| begin.checked_add(DAY));
        let past = |since: SystemTime| now.duration_since(since).is_ok_and(|passed| passed >= age);
        past(self.moved) || by_day.is_some_and(past)
    }
}

fn day_of(now: SystemTime) -> io::Result<String> {
    let now = jiff::Timestamp::try_from(now).map_err(io::Error::other)?;
    Ok(now.strftime("%Y-%m-%d").to_string())
}

fn begin_of(day: &str) -> Option<SystemTime> {
    let date: jiff::civil::Date = day.parse().ok()?;
    let begin = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    (day.len() == 10).then(|| SystemTime::from(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_goes_when_its_day_or_its_move_is_long_ago() {
        let now = begin_of("2026-11-28").unwrap();
        let trashed = |day: &str, moved| Trashed { day: day.into(), name: Name::Whole(SourceId::generate()), moved };
        let week = 7 * DAY;
        assert!(trashed("2026-11-20", now).is_older(week, now));
        assert!(!trashed("2026-11-21", now).is_older(week, now), "it may have come on the evening of the 21st");
        assert!(trashed("2026-11-27", now - week).is_older(week, now));
        assert!(!trashed("2026-12-24", now + week).is_older(week, now));
        assert_eq!(day_of(now).unwrap(), "2026-11-28");
        for other in ["2026-13-01", "x", "", "2026-11-28T00:00:00"] {
            assert_eq!(begin_of(other), None, "{other}");
        }
    }
}
