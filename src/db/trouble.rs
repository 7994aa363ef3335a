//! What lastingly keeps a database that answers from taking writes, met by calls or by the probe: a full disk, no right, damage.
//!
//! It is logged once when it begins and once when it is over, and `/api/ready` shows it. It leaves a database that is away to the
//! supervisor. The one thing easy to get wrong: on a full disk a small write still finds room now and then, so one that
//! succeeds proves nothing while others have just failed.
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::error::SqlState;

/// How long after the last refusal a write that succeeds ends the trouble.
const QUIET: Duration = Duration::from_secs(3);

/// A cause that does not pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasting {
    /// No room.
    Full,
    /// The database takes no writes.
    ReadOnly,
    /// We may not write.
    NoRight,
    /// The storage fails.
    Storage,
    /// What is stored cannot be read.
    Damaged,
}

impl Lasting {
    /// What a server means by its code.
    pub(crate) fn of_server(code: &SqlState) -> Option<Self> {
        Some(match *code {
            SqlState::DISK_FULL => Self::Full,
            SqlState::READ_ONLY_SQL_TRANSACTION => Self::ReadOnly,
            SqlState::INSUFFICIENT_PRIVILEGE => Self::NoRight,
            SqlState::IO_ERROR => Self::Storage,
            SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => Self::Damaged,
            _ => return None,
        })
    }

    /// What SQLite means, whose texts are always the same.
    pub(crate) fn of_sqlite(text: &str) -> Option<Self> {
        let texts = [
            ("database or disk is full", Self::Full),
            ("attempt to write a readonly database", Self::ReadOnly),
            ("disk I/O error", Self::Storage),
            ("database disk image is malformed", Self::Damaged),
            ("file is not a database", Self::Damaged),
        ];
        texts.into_iter().find_map(|(part, cause)| text.contains(part).then_some(cause))
    }
}

#[derive(Debug)]
struct Present {
    cause: Lasting,
    reason: String,
    last_met: Instant,
}

/// The trouble that a database has, if any.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Option<Present>>);

impl Trouble {
    /// It refused something for this cause.
    pub(crate) fn met(&self, cause: Lasting, reason: &str) {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last_met = Instant::now();
        match &mut *present {
            Some(known) if known.cause == cause => known.last_met = last_met,
            _ => {
                log::error!("the store takes no writes reason={reason:?}");
                *present = Some(Present { cause, reason: reason.to_owned(), last_met });
            }
        }
    }

    /// A write succeeded. What is damaged stays so, wherever else there is room.
    pub(crate) fn wrote(&self) {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if present.as_ref().is_some_and(|known| known.cause != Lasting::Damaged && known.last_met.elapsed() >= QUIET) {
            log::info!("the store takes writes again");
            *present = None;
        }
    }

    /// The database was opened anew: what it has is not known.
    pub(crate) fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether it is worth a try whether writes work again.
    pub(crate) fn may_be_over(&self) -> bool {
        let present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        present.as_ref().is_some_and(|known| known.cause != Lasting::Damaged && known.last_met.elapsed() >= QUIET)
    }

    /// What it is, in one sentence.
    pub(crate) fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|known| known.reason.clone())
    }
}
