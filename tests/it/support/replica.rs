//! A replica: the server's binary that need not be ready, can be frozen, and may have a clock of its own. Leaves starting,
//! killing and its log to `process`. Easy to get wrong: a frozen process does not hear SIGTERM; drop thaws it first.
use std::{
    ops::{Deref, DerefMut},
    path::PathBuf,
    time::Duration,
};

use super::{LONG, Options, Server, eventually};

/// A replica, running, frozen or killed. It ends with the value, and with the process that started it.
pub(crate) struct Replica {
    server: Server,
    frozen: bool,
}

impl Replica {
    /// Starts one under this name and waits until it answers; its stores may be away.
    pub(crate) async fn start(name: &str, options: Options) -> Replica {
        let replica = Replica { server: Server::launch(options.env("TIEOUT_REPLICA", name)), frozen: false };
        replica.alive().await;
        replica
    }

    /// Waits until `/api/health` says 200, which it does whatever the stores do.
    pub(crate) async fn alive(&self) {
        eventually(LONG, "the replica to be alive", || async {
            self.assert_running();
            let answer = self.api().try_get("/api/health").await?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{} {}", answer.status, answer.text)) }
        })
        .await;
    }

    /// SIGSTOP: it keeps its connections and says nothing, as a machine that is gone does.
    pub(crate) fn freeze(&mut self) {
        self.signal(libc::SIGSTOP);
        self.frozen = true;
    }

    /// SIGCONT: it goes on, and does not know for how long it was away.
    pub(crate) fn thaw(&mut self) {
        self.signal(libc::SIGCONT);
        self.frozen = false;
    }

    /// SIGKILL, frozen or not.
    pub(crate) fn kill(&mut self) {
        self.frozen = false;
        self.server.kill();
    }

    /// Starts it again on the same address and data, and waits until it is alive. It must not be running.
    pub(crate) async fn start_again(&mut self) {
        self.server.spawn();
        self.alive().await;
    }

    fn signal(&self, signal: i32) {
        self.assert_running();
        // SAFETY: the pid is that of our own child, which has not been reaped.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0, "a signal reaches our own child");
    }
}

impl Deref for Replica {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Replica {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if self.frozen {
            self.thaw();
        }
    }
}

/// These options with a wall clock that goes wrong by so much, ahead or behind. The monotonic clock stays right, as it does on
/// a machine whose time was set badly.
pub(crate) fn with_clock(options: Options, ahead: bool, by: Duration) -> Options {
    let sign = if ahead { '+' } else { '-' };
    options
        .env("LD_PRELOAD", library().display())
        .env("FAKETIME", format!("{sign}{}", by.as_secs()))
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        // Without it file times come out wrong the other way.
        .env("NO_FAKE_STAT", "1")
}

/// libfaketime's build for programs with threads.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("no libfaketime below /usr/lib: install faketime"))
}
