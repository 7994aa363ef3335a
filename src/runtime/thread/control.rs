//! The control thread: runs actix's `System` and the runtime's own tasks (groups, shutdown, timers), and hosts no user actor. Its
//! end is the runtime's. Easy to get wrong: a handler may stop the System, which in actix ends this loop; here it ends with the word of
//! the shutdown alone, for everybody's timers are its timers.
use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
};

use actix_rt::System;
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    handle::state::ShutdownReport,
    sync::once::Once,
    thread::{panics, timer::Timers},
};

/// What the thread gives to those who use it.
pub(crate) struct Control {
    pub(crate) system: System,
    pub(crate) handle: Handle,
    pub(crate) timers: Arc<Timers>,
}

/// The thread itself.
pub(crate) struct ControlThread {
    pub(crate) thread: JoinHandle<()>,
    /// Ends it; the report is everybody's when it has ended.
    pub(crate) quit: oneshot::Sender<ShutdownReport>,
}

/// What is reported when the thread ends: dropped as its last act, also by a panic.
struct Report {
    once: Arc<Once<ShutdownReport>>,
    report: ShutdownReport,
}

impl Drop for Report {
    fn drop(&mut self) {
        self.once.end(std::mem::take(&mut self.report));
    }
}

/// Starts the thread; blocks until it is up.
pub(crate) fn start(name: &str, once: Arc<Once<ShutdownReport>>) -> io::Result<(Control, ControlThread)> {
    let (tx, rx) = mpsc::sync_channel(1);
    let (quit, told) = oneshot::channel();
    let label = format!("{name}-control");
    let thread = thread::Builder::new().name(label.clone()).spawn(move || {
        let leaked_threads = vec![label];
        let mut report = Report { once, report: ShutdownReport { leaked_threads, ..ShutdownReport::default() } };
        // The receiver waits below for as long as this thread lives.
        if let Err(e) = run(&tx, told, &mut report.report) {
            let _ = tx.send(Err(e));
        }
    })?;
    let control = rx.recv().map_err(io::Error::other).flatten();
    match control {
        Ok(control) => Ok((control, ControlThread { thread, quit })),
        Err(e) => {
            // It has nothing left to do, and its panic would be in `e`.
            let _ = thread.join();
            Err(e)
        }
    }
}

fn run(
    tx: &mpsc::SyncSender<io::Result<Control>>,
    told: oneshot::Receiver<ShutdownReport>,
    report: &mut ShutdownReport,
) -> io::Result<()> {
    let tokio = Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build()?);
    let runner = System::with_tokio_rt(|| tokio.clone());
    panics::note_on_this_thread();
    let timers = Timers::new(tokio.handle().clone());
    let control = Control { system: System::current(), handle: tokio.handle().clone(), timers: timers.clone() };
    // As above.
    let _ = tx.send(Ok(control));
    runner.block_on(async {
        // An error says that the runtime was dropped without a shutdown.
        *report = told.await.unwrap_or_default();
        System::current().stop();
        // Queued behind actix's controller: when it has run, all Arbiters that users made have been told. It cannot fail.
        let _ = actix_rt::spawn(async {}).await;
    });
    timers.close();
    drop(runner);
    if let Some(tokio) = Arc::into_inner(tokio) {
        // What a user may have it block on is not waited for.
        tokio.shutdown_background();
    }
    Ok(())
}
