//! The marks of installations: which databases the files in the folder belong to.
//!
//! Each installation leaves a file of its own, named by its id, so that nobody overwrites another one's. Easy to get wrong:
//! a folder without marks may be full of files from before there were marks, or of another database.
use super::opened::Opened;
use std::io;

/// The folder of the marks inside that of the uploads.
pub const MARKS: &str = ".installation";
/// Stands for the installation whose files were there before the first mark.
pub const UNMARKED: &str = "unknown";
/// Most marks that are read; that they are two is all that matters.
const MAX_MARKS: usize = 100;

/// Whose files lie in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No installation left a mark.
    Nobody,
    /// This installation alone.
    Us,
    /// These others, perhaps beside this one.
    Others(Vec<String>),
}

impl Opened {
    /// Whose files these are, for the installation of this id.
    ///
    /// # Errors
    /// The system's.
    pub fn owner(&self, us: &str) -> io::Result<Owner> {
        let Some(marks) = self.inner(MARKS)? else { return Ok(Owner::Nobody) };
        let (mut ours, mut others) = (false, Vec::new());
        for name in marks.names()?.take(MAX_MARKS) {
            let name = name?;
            if name == us {
                ours = true;
            } else {
                others.push(name);
            }
        }
        others.sort();
        Ok(match (ours, others.is_empty()) {
            (_, false) => Owner::Others(others),
            (true, true) => Owner::Us,
            (false, true) => Owner::Nobody,
        })
    }

    /// Leaves the mark of this id.
    ///
    /// # Errors
    /// The system's.
    pub fn mark(&self, id: &str) -> io::Result<()> {
        use rustix::fs::{Mode, OFlags};
        let marks = self.made(MARKS)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&marks.dir, id, flags, Mode::RUSR | Mode::WUSR)?;
        marks.sync()?;
        self.sync()
    }

    /// Takes the marks of all others away and leaves that of this id.
    ///
    /// # Errors
    /// The system's.
    pub fn adopt(&self, us: &str) -> io::Result<Vec<String>> {
        let Owner::Others(others) = self.owner(us)? else {
            self.mark(us)?;
            return Ok(Vec::new());
        };
        // Ours first: broken off half-way, the folder still belongs to two.
        self.mark(us)?;
        if let Some(marks) = self.inner(MARKS)? {
            for other in &others {
                marks.remove(other)?;
            }
            marks.sync()?;
        }
        Ok(others)
    }
}
