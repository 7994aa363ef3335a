//! A watchdog's thread, as those see it who stop and join it. What it does is in `watchdog`.
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use tokio::sync::watch;

pub(crate) struct Watchdog {
    stop: Arc<AtomicBool>,
    ended: watch::Receiver<bool>,
    thread: JoinHandle<()>,
}

impl Watchdog {
    /// Starts the thread `name`, which runs `watch` until it is told to stop.
    pub(crate) fn start(name: String, watch: impl FnOnce(Arc<AtomicBool>) + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let (end_tx, ended) = watch::channel(false);
        let thread = thread::Builder::new().name(name).spawn(move || {
            watch(told);
            end_tx.send_replace(true);
        })?;
        Ok(Self { stop, ended, thread })
    }

    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
    }

    pub(crate) fn ended(&self) -> watch::Receiver<bool> {
        self.ended.clone()
    }

    pub(crate) fn join(self) {
        // Its loop catches every panic of a tick; an error has no one left to tell.
        let _ = self.thread.join();
    }
}
