//! A value and its changes, as callers see them: the state of an actor or a group. The channel is tokio's. Easy to get wrong: what
//! tokio lends out is a lock that the sender waits for, and here the sender is the thread of all actors; so callers get copies.
use tokio::sync::watch;

/// Whoever would change the value is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was watched is gone: no further change comes")]
pub struct WatchEnded;

/// A value, now and on every change, from `Addr::watch`, `Group::watch`, `Group::restarts` and `Runtime::failed`. It hands out copies,
/// so no use of it can hold up an actor. A slow watcher misses intermediate values, never the last.
#[derive(Debug, Clone)]
pub struct Watch<T>(watch::Receiver<T>);

impl<T: Clone> Watch<T> {
    pub(crate) fn new(of: &watch::Sender<T>) -> Self {
        Self(of.subscribe())
    }

    /// The present value.
    pub fn get(&self) -> T {
        self.0.borrow().clone()
    }

    /// The next value that this watcher has not been given by `changed` or `wait_for`, not counting the one there was at its beginning.
    ///
    /// Errors: `WatchEnded` when no change can come any more.
    ///
    /// Cancel safety: dropping the future loses no change.
    pub async fn changed(&mut self) -> Result<T, WatchEnded> {
        self.0.changed().await.map_err(|_| WatchEnded)?;
        Ok(self.0.borrow_and_update().clone())
    }

    /// The present value if it is wanted, or the first that is.
    ///
    /// Errors: `WatchEnded` when none came and no change can come any more.
    ///
    /// Cancel safety: dropping the future loses no change but those that were not wanted.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&T) -> bool) -> Result<T, WatchEnded> {
        loop {
            let value = self.0.borrow_and_update().clone();
            if wanted(&value) {
                return Ok(value);
            }
            self.0.changed().await.map_err(|_| WatchEnded)?;
        }
    }
}
