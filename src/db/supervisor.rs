//! The task that keeps the database usable: open, serve, probe, and again after a failure.
//!
//! It is the only writer of the store's status and logs on change only. It leaves what opening means to the engine, and
//! turns and transactions to the pool. The one thing easy to get wrong: callers must learn the reason from the status by
//! the time the pools vanish.
use super::clock::Clock;
use super::meters;
use super::migrate::Plan;
use super::pool::Db;
use super::postgres;
use super::postgres::Writes;
use super::sqlite::opener;
use super::store::Status;
use super::trouble::{Lasting, Trouble};
use rand::Rng;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// First and longest pause between attempts; each pause is drawn from half of it to all of it.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// A probe that takes longer counts as failed.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Consecutive failed probes before the store is declared down: one may only have met a busy moment.
const PROBES_TO_DOWN: u32 = 2;
/// Between two probes, however soon one is wanted.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// Least time between two lines of the log that say for what other reason the database is away.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// How the database is opened and asked.
pub(crate) enum Opener {
    Sqlite(opener::Opener),
    Postgres(Box<postgres::Opener>),
}

impl Opener {
    /// The installation's.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        match self {
            Self::Sqlite(_) => Arc::new(Clock::Own),
            Self::Postgres(opener) => opener.clock(),
        }
    }
}

pub(crate) struct Supervisor {
    pub opener: Opener,
    /// For the log.
    pub place: String,
    pub plan: Plan,
    pub probe_interval: Duration,
    pub status: watch::Sender<Status>,
    pub live: watch::Sender<Option<Arc<Db>>>,
    pub suspect: Arc<Notify>,
    pub reopen: Arc<Notify>,
    pub trouble: Arc<Trouble>,
    pub closing: CancellationToken,
    /// When it was last logged that the reason is another one.
    pub told: Option<Instant>,
}

impl Supervisor {
    /// Runs until the store is stopped.
    pub(crate) async fn run(mut self) {
        let mut attempt = 0_u32;
        meters::up(false);
        loop {
            match self.bring_up().await {
                Ok(db) => {
                    attempt = 0;
                    self.plan.served = true;
                    match self.serve(Arc::new(db)).await {
                        Some(reason) => self.set(Status::Down { reason }),
                        None => break,
                    }
                }
                Err(status) => self.set(status),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff(attempt)) => attempt = attempt.saturating_add(1),
                () = self.closing.cancelled() => break,
            }
        }
        self.set(Status::Stopped);
    }

    async fn bring_up(&mut self) -> Result<Db, Status> {
        let Self { opener, plan, status, closing, .. } = self;
        let migrating = || {
            // A retry keeps saying what failed until it succeeds.
            status.send_if_modified(|status| {
                let says_why = status.failed();
                if !says_why {
                    *status = Status::Migrating;
                }
                !says_why
            });
        };
        match opener {
            // Nothing here waits for another machine.
            Opener::Sqlite(opener) => opener.open(plan, migrating).await,
            Opener::Postgres(opener) => opener.open(plan, migrating, closing).await,
        }
    }

    /// Ready, and probed; returns why it no longer is, or `None` when the store is being stopped.
    async fn serve(&mut self, db: Arc<Db>) -> Option<String> {
        self.trouble.forget();
        self.live.send_replace(Some(db.clone()));
        self.set(Status::Ready);
        let mut failed = 0;
        let (closing, reopen) = (self.closing.clone(), self.reopen.clone());
        let reason = loop {
            tokio::select! {
                () = closing.cancelled() => break None,
                () = reopen.notified() => break Some("calls that were not answered are given up".into()),
                () = self.suspect.notified() => {}
                () = tokio::time::sleep(self.pause()) => {}
            }
            let probed = tokio::select! {
                probed = self.probe(&db) => probed,
                () = closing.cancelled() => break None,
            };
            match probed {
                Ok(Writes::Elsewhere(reason)) => break Some(reason),
                Ok(writes) => {
                    failed = 0;
                    if let Err(reason) = self.look(&db, writes).await {
                        break Some(reason);
                    }
                }
                Err(reason) => {
                    failed += 1;
                    if failed >= PROBES_TO_DOWN {
                        break Some(reason);
                    }
                    // Ask again at once rather than a probe interval later.
                    self.suspect.notify_one();
                }
            }
        };
        if let Some(reason) = &reason {
            // Callers read the status right after the pools vanish: it must say why by then.
            self.set(Status::Down { reason: reason.clone() });
        }
        self.live.send_replace(None);
        meters::connections(0, 0);
        if reason.is_some() {
            db.close();
        }
        reason
    }

    /// Until the next probe: a call that began a moment ago, and is not answered, is not to wait for more than one.
    fn pause(&self) -> Duration {
        let looks_in = match &self.opener {
            Opener::Sqlite(_) => None,
            Opener::Postgres(opener) => opener.looks_in(),
        };
        looks_in.map_or(self.probe_interval, |soon| self.probe_interval.min(soon.max(LEAST_PAUSE)))
    }

    /// What is looked at while the database answers: connections that stopped working, and writes that are refused.
    /// An error when all connections are to be opened anew.
    async fn look(&mut self, db: &Db, writes: Writes) -> Result<(), String> {
        if let Writes::Refused(reason) = writes {
            self.trouble.met(Lasting::NoRight, &reason);
        }
        let Self { opener, trouble, .. } = self;
        let looked = async {
            if let Opener::Postgres(opener) = opener {
                opener.look(db.starved()).await?;
            }
            if trouble.may_be_over() {
                let tried = match opener {
                    Opener::Sqlite(opener) => opener.try_to_write().await,
                    Opener::Postgres(opener) => opener.try_to_write().await,
                };
                match tried {
                    Ok(()) => trouble.wrote(),
                    Err(reason) => log::debug!("the store takes no writes still reason={reason:?}"),
                }
            }
            Ok(())
        };
        // Not in time: the next probe tells more.
        tokio::time::timeout(PROBE_TIMEOUT, looked).await.unwrap_or(Ok(()))
    }

    async fn probe(&mut self, db: &Db) -> Result<Writes, String> {
        let asked = async {
            match &mut self.opener {
                Opener::Sqlite(opener) => opener.probe().await.map(|()| Writes::Taken),
                Opener::Postgres(opener) => opener.probe().await,
            }
        };
        db.meter();
        match tokio::time::timeout(PROBE_TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(format!("the database did not answer a probe in {PROBE_TIMEOUT:?}")),
        }
    }

    /// Whether another reason may be logged.
    fn told_again(&mut self) -> bool {
        let again = self.told.is_none_or(|told| told.elapsed() >= TOLD_AGAIN);
        if again {
            self.told = Some(Instant::now());
        }
        again
    }

    fn set(&mut self, status: Status) {
        let mut before = None;
        self.status.send_if_modified(|current| {
            let changed = *current != status;
            if changed {
                before = Some(std::mem::replace(current, status.clone()));
            }
            changed
        });
        meters::up(status.is_ready());
        match (&before, &status) {
            (None, _) => {}
            (Some(_), Status::Ready) => log::info!("the store is ready at={}", self.place),
            (Some(before), Status::Down { reason }) if before.failed() => {
                // It is away for another reason now; two that take turns are no news each time.
                let level = if self.told_again() { log::Level::Warn } else { log::Level::Debug };
                log::log!(level, "the store is still down reason={reason:?}");
            }
            (Some(_), Status::Down { reason } | Status::Mismatched { reason }) => {
                log::error!("the store is down reason={reason:?}");
            }
            (Some(_), Status::MigrationFailed { migration, reason }) => {
                log::error!("a migration failed name={migration} reason={reason:?}");
            }
            (Some(_), other) => log::debug!("store status={other:?}"),
        }
    }
}

fn backoff(attempt: u32) -> Duration {
    let longest = BACKOFF.0.saturating_mul(1 << attempt.min(5)).min(BACKOFF.1);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}
