//! Reads of the event log for many at once: whoever asks while a room's log is being read waits for the next read, and one
//! read from the oldest of their offsets serves them all.
//!
//! After a restart thousands of clients come back within a second, each with another offset, and the rings are empty; this
//! is what keeps that from being thousands of queries. It leaves what an answer means to the hub. Easy to get wrong: an
//! answer must be what a read of one's own would have been, so who needs more than the read held waits for another.
use super::reader::{ANSWER_WITHIN, failed, too_late};
use crate::actors::hub::encode::encode;
use crate::actors::rooms::core::MAX_RECOVERED;
use crate::actors::rooms::messages::{History, Purpose};
use crate::actors::rooms::room::Event;
use crate::actors::sockets::commands::Cursor;
use crate::db::events::Recovery;
use crate::db::{Store, StoreError, events};
use crate::protocol::ids::ProjectId;
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, PoisonError},
};
use tokio::time::timeout;

/// One who wants to know what follows an offset.
#[derive(Debug)]
pub(super) struct Wanted {
    /// The incarnation of the hub that asks.
    pub generation: u64,
    /// Why.
    pub purpose: Purpose,
    from: u64,
}

/// A history: a project's log under one epoch.
type Log = (ProjectId, std::sync::Arc<str>);

/// Who waits for which log. An entry stands while a task reads that log.
#[derive(Debug, Default)]
pub(super) struct CatchingUp(Mutex<HashMap<Log, Vec<Wanted>>>);

impl CatchingUp {
    /// Remembers who wants to know; true when nobody reads that log yet, so that the caller has to.
    pub(super) fn wait(&self, project: ProjectId, from: Cursor, generation: u64, purpose: Purpose) -> bool {
        let Cursor { ep, off } = from;
        let wanted = Wanted { generation, purpose, from: off };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.entry((project, ep)) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().push(wanted);
                false
            }
            Entry::Vacant(entry) => {
                entry.insert(vec![wanted]);
                true
            }
        }
    }

    /// All who wait by now; when nobody does, the log is no longer being read.
    fn take(&self, log: &Log) -> Vec<Wanted> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(log) {
            Some(some) if !some.is_empty() => std::mem::take(some),
            _ => {
                waiting.remove(log);
                Vec::new()
            }
        }
    }

    /// Who needs another read.
    pub(super) fn put_back(&self, log: &Log, unserved: Vec<Wanted>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.entry(log.clone()).or_default().extend(unserved);
    }
}

/// A log that is being read. Should the reader panic, whoever asks next reads anew; those who wait are dropped, which answers
/// them.
pub(super) struct Reading<'a> {
    catching_up: &'a CatchingUp,
    log: &'a Log,
    ended: bool,
}

impl<'a> Reading<'a> {
    pub(super) fn new(catching_up: &'a CatchingUp, log: &'a Log) -> Self {
        Self { catching_up, log, ended: false }
    }

    /// All who wait by now; none when nobody does, and the log is no longer being read.
    pub(super) fn next(&mut self) -> Vec<Wanted> {
        let wanted = self.catching_up.take(self.log);
        self.ended = wanted.is_empty();
        wanted
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.catching_up.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.log);
        }
    }
}

/// Reads once for all of `wanted`; gives their answers, and who needs another read: never all of them.
pub(super) async fn read(
    store: &Store,
    (project, ep): &Log,
    wanted: Vec<Wanted>,
    most_bytes: usize,
) -> (Vec<(Wanted, History)>, Vec<Wanted>) {
    let from = wanted.iter().map(|wanted| wanted.from).min().unwrap_or_default();
    let reading = timeout(ANSWER_WITHIN, events::since(store, *project, ep, from, MAX_RECOVERED));
    match reading.await.unwrap_or_else(|_elapsed| Err(too_late())) {
        Ok(Recovery::Recovered { events, head }) => {
            let events: Vec<Event> = events.iter().map(|event| encode(event, most_bytes)).collect();
            let last = events.last().map_or(from, |event| event.off);
            // What they miss begins where this read ended, or later.
            let beyond = |wanted: &Wanted| wanted.from >= last && wanted.from < head && wanted.from != from;
            let (unserved, served): (Vec<_>, Vec<_>) = wanted.into_iter().partition(beyond);
            let answered = served.into_iter().map(|wanted| {
                if wanted.from > head {
                    return (wanted, History::Gone { ep: ep.clone(), off: head });
                }
                // Offsets of one log have no hole.
                let skip = usize::try_from(wanted.from - from).unwrap_or(usize::MAX).min(events.len());
                let history = History::Events { events: events[skip..].to_vec(), head };
                (wanted, history)
            });
            (answered.collect(), unserved)
        }
        Ok(Recovery::Unrecoverable { ep, off, oldest }) => {
            let (lost, unserved): (Vec<_>, Vec<_>) =
                wanted.into_iter().partition(|wanted| wanted.from == from || wanted.from.saturating_add(1) < oldest);
            let gone = || History::Gone { ep: ep.as_str().into(), off };
            (lost.into_iter().map(|wanted| (wanted, gone())).collect(), unserved)
        }
        Err(error) => refused(*project, wanted, &error),
    }
}

/// The answers when there is nothing to be read.
pub(super) fn refused(
    project: ProjectId,
    wanted: Vec<Wanted>,
    error: &StoreError,
) -> (Vec<(Wanted, History)>, Vec<Wanted>) {
    let history = failed(project, error);
    (wanted.into_iter().map(|wanted| (wanted, history.clone())).collect(), Vec::new())
}
